//! Flags of a mirror.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::config::upstream::WhenAway;

/// Where what is mirrored comes from.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "The etcd (--source etcd, --publish)")]
pub(in crate::cli) struct UpstreamArgs {
    /// URL of a member of the etcd, or of another confcast, http:// or https://; repeat for several
    #[arg(long, env = "CONFCAST_UPSTREAM", value_name = "URL", value_delimiter = ',')]
    pub(in crate::cli) upstream: Vec<String>,
    /// Certificates that the members' are signed by, in PEM
    #[arg(long, env = "CONFCAST_UPSTREAM_CA", value_name = "FILE")]
    pub(in crate::cli) upstream_ca: Option<PathBuf>,
    /// Certificate by which this server is known to them, in PEM; needs --upstream-key
    #[arg(long, env = "CONFCAST_UPSTREAM_CERT", value_name = "FILE")]
    pub(in crate::cli) upstream_cert: Option<PathBuf>,
    /// Key of --upstream-cert, in PEM
    #[arg(long, env = "CONFCAST_UPSTREAM_KEY", value_name = "FILE")]
    pub(in crate::cli) upstream_key: Option<PathBuf>,
    /// User that may read everything there; needs --upstream-password-file
    #[arg(long, env = "CONFCAST_UPSTREAM_USER", value_name = "NAME")]
    pub(in crate::cli) upstream_user: Option<String>,
    /// File with the user's password, read for each new token
    #[arg(long, env = "CONFCAST_UPSTREAM_PASSWORD_FILE", value_name = "FILE")]
    pub(in crate::cli) upstream_password_file: Option<PathBuf>,
    /// Serve only keys that begin with this, and refuse requests for others; repeat for several [default: all keys]
    #[arg(long, env = "CONFCAST_UPSTREAM_PREFIX", value_name = "PREFIX", value_delimiter = ',')]
    pub(in crate::cli) upstream_prefix: Vec<String>,
    /// Revisions of the past to ask for at a start without data, so that watches that were begun at another replica go
    /// on here; 0 to begin with the present [default: 10000]
    #[arg(long, env = "CONFCAST_UPSTREAM_HISTORY", value_name = "COUNT")]
    pub(in crate::cli) upstream_history: Option<u32>,
    /// What to do with linearizable reads while no member can be reached [default: serve]
    #[arg(long, env = "CONFCAST_WHEN_UPSTREAM_AWAY", value_enum, value_name = "WHAT")]
    pub(in crate::cli) when_upstream_away: Option<WhenUpstreamAway>,
    /// Let everybody read here although the etcd has users; without it nothing is served from such an etcd
    #[arg(long, env = "CONFCAST_UPSTREAM_OPEN_READS", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(in crate::cli) upstream_open_reads: Option<bool>,
}

/// What a mirror does without its etcd.
#[derive(Clone, Copy, Debug, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum WhenUpstreamAway {
    /// Answer with what was last known
    Serve,
    /// Answer UNAVAILABLE
    Refuse,
}

impl From<WhenUpstreamAway> for WhenAway {
    fn from(what: WhenUpstreamAway) -> Self {
        match what {
            WhenUpstreamAway::Serve => Self::Serve,
            WhenUpstreamAway::Refuse => Self::Refuse,
        }
    }
}
