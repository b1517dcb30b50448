//! Settings of a mirror.

use std::path::PathBuf;

use super::{SettingsError, several, wrong};
use crate::cli::args::upstream::{UpstreamArgs, WhenUpstreamAway};
use crate::config::upstream::{HISTORY, UpstreamConfig};
use crate::upstream::Client;

/// What the file says of it.
#[derive(Debug, Default)]
pub(super) struct FromFile {
    pub(super) endpoints: Vec<String>,
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) prefixes: Vec<String>,
    pub(super) history: Option<u32>,
    pub(super) when_away: Option<WhenUpstreamAway>,
    pub(super) open_reads: Option<bool>,
}

/// Checks them, and that the files that they name can be used.
pub(super) fn resolve(args: UpstreamArgs, file: FromFile) -> Result<UpstreamConfig, SettingsError> {
    let identity = match (args.upstream_cert.or(file.cert), args.upstream_key.or(file.key)) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((cert, key)),
        (Some(_), None) => return Err(wrong("--upstream-cert", "needs --upstream-key as well")),
        (None, Some(_)) => return Err(wrong("--upstream-key", "needs --upstream-cert as well")),
    };
    let user = match (args.upstream_user.or(file.user), args.upstream_password_file.or(file.password_file)) {
        (None, None) => None,
        (Some(user), Some(file)) => {
            std::fs::metadata(&file)
                .map_err(|error| wrong("--upstream-password-file", format!("{}: {error}", file.display())))?;
            Some((user, file))
        }
        (Some(_), None) => return Err(wrong("--upstream-user", "needs --upstream-password-file as well")),
        (None, Some(_)) => return Err(wrong("--upstream-password-file", "needs --upstream-user as well")),
    };
    let prefixes = several(args.upstream_prefix, file.prefixes);
    if prefixes.iter().any(String::is_empty) {
        return Err(wrong("--upstream-prefix", "is empty; leave it out to serve all keys"));
    }
    let when_away = args.when_upstream_away.or(file.when_away);
    Ok(UpstreamConfig {
        endpoints: several(args.upstream, file.endpoints),
        ca: args.upstream_ca.or(file.ca),
        identity,
        user,
        prefixes,
        when_away: when_away.map(Into::into).unwrap_or_default(),
        history: args.upstream_history.or(file.history).unwrap_or(HISTORY),
        open_reads: args.upstream_open_reads.or(file.open_reads).unwrap_or_default(),
    })
}

/// Refuses what no connection could be made with.
pub(super) fn check(config: &UpstreamConfig) -> Result<(), SettingsError> {
    Client::check(config).map_err(|error| wrong("--source etcd", error))
}
