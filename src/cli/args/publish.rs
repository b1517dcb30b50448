//! Flags of a replica that publishes.

use clap::Args;

/// Publishing into an etcd.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Publishing into an etcd (--publish)")]
pub(in crate::cli) struct PublishArgs {
    /// Write the source's configuration into the etcd at --upstream; of several replicas one is elected to do so
    #[arg(long, env = "CONFCAST_PUBLISH", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(in crate::cli) publish: Option<bool>,
    /// Name of this replica among the candidates, for people [default: the listen address]
    #[arg(long, env = "CONFCAST_PUBLISH_NAME", value_name = "NAME")]
    pub(in crate::cli) publish_name: Option<String>,
    /// Seconds after which another replica takes over from one that has died; 2 or more [default: 5]
    #[arg(long, env = "CONFCAST_PUBLISH_LEASE_SECONDS", value_name = "SECONDS")]
    pub(in crate::cli) publish_lease_seconds: Option<u64>,
    /// Whether replicas that are not elected follow the source too: warm or cold [default: warm]
    #[arg(long, env = "CONFCAST_PUBLISH_STANDBY", value_name = "HOW")]
    pub(in crate::cli) publish_standby: Option<String>,
    /// What happens to others' objects where published ones belong: keep or take [default: keep]
    #[arg(long, env = "CONFCAST_PUBLISH_FOREIGN", value_name = "WHAT")]
    pub(in crate::cli) publish_foreign: Option<String>,
    /// Most operations in a transaction: etcd's --max-txn-ops [default: 128]
    #[arg(long, env = "CONFCAST_PUBLISH_MAX_OPERATIONS", value_name = "NUMBER")]
    pub(in crate::cli) publish_max_operations: Option<usize>,
    /// Most bytes of a request: etcd's --max-request-bytes [default: 1572864]
    #[arg(long, env = "CONFCAST_PUBLISH_MAX_BYTES", value_name = "BYTES")]
    pub(in crate::cli) publish_max_bytes: Option<usize>,
}
