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
    /// File with the certificate chain that the admin port shows, in PEM: it then speaks TLS. Read again when it changes
    #[arg(long, env = "CONFCAST_ADMIN_TLS_CERT", value_name = "FILE")]
    pub(in crate::cli) admin_tls_cert: Option<PathBuf>,
    /// File with the key of --admin-tls-cert, in PEM
    #[arg(long, env = "CONFCAST_ADMIN_TLS_KEY", value_name = "FILE")]
    pub(in crate::cli) admin_tls_key: Option<PathBuf>,
    /// File with the certificates that those of clients of the admin port are signed by, in PEM; who shows none may only
    /// see /livez and /readyz
    #[arg(long, env = "CONFCAST_ADMIN_CLIENT_CA", value_name = "FILE")]
    pub(in crate::cli) admin_client_ca: Option<PathBuf>,
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
    #[command(flatten)]
    pub(in crate::cli) tls: ClientTlsArgs,
}

/// TLS to a server's admin port.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "TLS, for endpoints with https://")]
pub(in crate::cli) struct ClientTlsArgs {
    /// File with the certificates that the server's is signed by, in PEM
    #[arg(long, env = "CONFCAST_CA", value_name = "FILE")]
    pub(in crate::cli) ca: Option<PathBuf>,
    /// File with a certificate to be shown, in PEM; needs --key
    #[arg(long, env = "CONFCAST_CERT", value_name = "FILE", requires = "key")]
    pub(in crate::cli) cert: Option<PathBuf>,
    /// File with the key of --cert, in PEM
    #[arg(long, env = "CONFCAST_KEY", value_name = "FILE", requires = "cert")]
    pub(in crate::cli) key: Option<PathBuf>,
    /// Name in the server's certificate, if it is not that of the URL
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) server_name: Option<String>,
}
