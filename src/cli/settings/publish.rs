//! Settings of a replica that publishes, checked.

use std::time::Duration;

use super::{File, SettingsError, wrong};
use crate::cli::args::publish::PublishArgs;
use crate::config::upstream::UpstreamConfig;
use crate::config::{Config, PublishConfig, Source};
use crate::publish::keys::SIDE;
use crate::publish::{Foreign, Limits, Settings, Standby};

/// Shortest lease in seconds: etcd raises shorter ones.
const LEAST_LEASE: u64 = 2;

/// Flags before the file.
pub(super) fn merge(flags: PublishArgs, file: &mut File) -> PublishArgs {
    PublishArgs {
        publish: flags.publish.or(file.publish.take()),
        publish_name: flags.publish_name.or(file.publish_name.take()),
        publish_lease_seconds: flags.publish_lease_seconds.or(file.publish_lease_seconds.take()),
        publish_standby: flags.publish_standby.or(file.publish_standby.take()),
        publish_foreign: flags.publish_foreign.or(file.publish_foreign.take()),
        publish_max_operations: flags.publish_max_operations.or(file.publish_max_operations.take()),
        publish_max_bytes: flags.publish_max_bytes.or(file.publish_max_bytes.take()),
    }
}

/// What is published where; none without `--publish`.
pub(super) fn resolve(
    args: &PublishArgs,
    config: &Config,
    upstream: UpstreamConfig,
) -> Result<Option<PublishConfig>, SettingsError> {
    if args.publish != Some(true) {
        return Ok(None);
    }
    if matches!(config.source, Source::None | Source::Etcd(_)) {
        return Err(wrong("--publish", "needs a source, such as --xds-server or --xds-file"));
    }
    if upstream.endpoints.is_empty() {
        return Err(wrong("--publish", "needs --upstream, such as http://etcd:2379"));
    }
    super::upstream::check(&upstream)?;
    let prefix = config.prefix.as_str();
    if prefix == SIDE || prefix.starts_with(&format!("{SIDE}/")) {
        return Err(wrong("--prefix", format!("{SIDE} is where publishers keep their own keys; use another one")));
    }
    let lease = args.publish_lease_seconds.unwrap_or(5);
    if lease < LEAST_LEASE {
        return Err(wrong("--publish-lease-seconds", "etcd makes no shorter leases than 2"));
    }
    let standby = match args.publish_standby.as_deref() {
        None | Some("warm") => Standby::Warm,
        Some("cold") => Standby::Cold,
        Some(other) => return Err(wrong("--publish-standby", format!("{other:?} is not known; use warm or cold"))),
    };
    let foreign = match args.publish_foreign.as_deref() {
        None | Some("keep") => Foreign::Keep,
        Some("take") => Foreign::Take,
        Some(other) => return Err(wrong("--publish-foreign", format!("{other:?} is not known; use keep or take"))),
    };
    let default = Limits::default();
    let limits = Limits {
        operations: args.publish_max_operations.unwrap_or(default.operations),
        bytes: args.publish_max_bytes.unwrap_or(default.bytes),
    };
    if limits.operations < 4 || limits.bytes < 64 << 10 {
        return Err(wrong("--publish-max-operations, --publish-max-bytes", "use at least 4 and 65536"));
    }
    let settings = Settings {
        prefix: prefix.to_owned(),
        name: args.publish_name.clone().unwrap_or_else(|| config.listen.to_string()),
        lease: Duration::from_secs(lease),
        standby,
        foreign,
        limits,
    };
    Ok(Some(PublishConfig { upstream, settings }))
}
