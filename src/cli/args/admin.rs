//! Flags about the admin port.

use std::path::PathBuf;

use clap::Args;

/// The admin port.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Admin port")]
pub(in crate::cli) struct AdminArgs {
    /// File with a token of 32 characters or more that whoever changes something over the admin port must show; read
    /// anew every time. Without one only a port on a loopback address takes changes
    #[arg(long, env = "CONFCAST_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub(in crate::cli) admin_token_file: Option<PathBuf>,
    /// Show streams, interests and the view at /debug of the admin port, to those who may change something
    #[arg(long, env = "CONFCAST_ADMIN_DEBUG")]
    pub(in crate::cli) admin_debug: bool,
}

/// What to log.
#[derive(Debug, Args)]
pub(in crate::cli) struct LogLevelArgs {
    /// What the server is to log from now on: a level, or levels by module as in info,confcast::xds=debug; without it,
    /// what it logs is printed
    #[arg(value_name = "LEVELS")]
    pub(in crate::cli) levels: Option<String>,
    /// The server's admin port
    #[arg(long, default_value = "http://127.0.0.1:9379", value_name = "URL")]
    pub(in crate::cli) endpoint: String,
    /// File with the token that the server was given with --admin-token-file
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) token_file: Option<PathBuf>,
}
