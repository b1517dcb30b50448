//! Flags about TLS on the served port.

use std::path::PathBuf;

use clap::Args;

/// TLS on the port for clients.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "TLS on the port for clients")]
pub(in crate::cli) struct TlsArgs {
    /// File with the certificate chain that clients are shown, in PEM; repeat for several, of which the name that a
    /// client asks for chooses, or else the first. Read again when it changes
    #[arg(long, env = "CONFCAST_TLS_CERT", value_name = "FILE", value_delimiter = ',')]
    pub(in crate::cli) tls_cert: Vec<PathBuf>,
    /// File with the key of --tls-cert, in PEM; as many as there are certificates
    #[arg(long, env = "CONFCAST_TLS_KEY", value_name = "FILE", value_delimiter = ',')]
    pub(in crate::cli) tls_key: Vec<PathBuf>,
    /// Also serve clients without TLS on the same port
    #[arg(long, env = "CONFCAST_TLS_OPTIONAL")]
    pub(in crate::cli) tls_optional: bool,
    /// File with the certificates that those of clients are signed by, in PEM
    #[arg(long, env = "CONFCAST_CLIENT_CA", value_name = "FILE")]
    pub(in crate::cli) client_ca: Option<PathBuf>,
    /// Whether clients must show a certificate: required or optional [default: required, with --client-ca]
    #[arg(long, env = "CONFCAST_CLIENT_CERT", value_name = "WHEN")]
    pub(in crate::cli) client_cert: Option<String>,
    /// Which name in a client's certificate is its user's: common-name or alternative-name [default: common-name]
    #[arg(long, env = "CONFCAST_CLIENT_CERT_NAME", value_name = "NAME")]
    pub(in crate::cli) client_cert_name: Option<String>,
}
