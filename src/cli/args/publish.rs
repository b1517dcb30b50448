//! Flags of a replica that publishes.

use std::path::PathBuf;

use clap::Args;

/// Publishing into an etcd.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct PublishArgs {
    /// Write the source's configuration into the etcd at --upstream; of several replicas one is elected to do so
    #[arg(long, env = "CONFCAST_PUBLISH", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(in crate::cli) publish: Option<bool>,
    /// Endpoint of the etcd, http:// or https://; repeat for several
    #[arg(long, env = "CONFCAST_UPSTREAM", value_name = "URL", value_delimiter = ',')]
    pub(in crate::cli) upstream: Vec<String>,
    /// File with the certificates that the etcd's are signed by, in PEM
    #[arg(long, env = "CONFCAST_UPSTREAM_CA", value_name = "FILE")]
    pub(in crate::cli) upstream_ca: Option<PathBuf>,
    /// File with a client certificate for the etcd, in PEM; needs --upstream-key
    #[arg(long, env = "CONFCAST_UPSTREAM_CERT", value_name = "FILE")]
    pub(in crate::cli) upstream_cert: Option<PathBuf>,
    /// File with the key of --upstream-cert, in PEM
    #[arg(long, env = "CONFCAST_UPSTREAM_KEY", value_name = "FILE")]
    pub(in crate::cli) upstream_key: Option<PathBuf>,
    /// User of the etcd; needs --upstream-password-file
    #[arg(long, env = "CONFCAST_UPSTREAM_USER", value_name = "NAME")]
    pub(in crate::cli) upstream_user: Option<String>,
    /// File with the password of --upstream-user
    #[arg(long, env = "CONFCAST_UPSTREAM_PASSWORD_FILE", value_name = "FILE")]
    pub(in crate::cli) upstream_password_file: Option<PathBuf>,
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
