//! Flags about users.

use std::path::PathBuf;

use clap::Args;

/// Users.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Users")]
pub(in crate::cli) struct UserArgs {
    /// File with users and what they may read and write, in TOML, instead of those of the etcd Auth API; read again when
    /// it changes. `confcast hash-password` makes the hashes for it
    #[arg(long, env = "CONFCAST_USERS_FILE", value_name = "FILE")]
    pub(in crate::cli) users_file: Option<PathBuf>,
}
