//! Settings of TLS on the served port.

use std::path::PathBuf;

/// What clients are shown, and what is asked of them. Files are in PEM, and read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Files with a certificate chain and its key. The first pair is shown to clients that name no server, or one that
    /// no certificate is for.
    pub certificates: Vec<(PathBuf, PathBuf)>,
    /// File with the certificates that clients' are signed by; none to ask clients for nothing.
    pub client_ca: Option<PathBuf>,
    /// Whether clients must show one.
    pub client_certificates: ClientCertificates,
    /// Which name in a client's certificate is its user's.
    pub name: CertificateName,
    /// Whether clients in clear text are served on the same port. Default no.
    pub clear_text: bool,
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// There is no connection without one.
    #[default]
    Required,
    /// One that is shown must be good.
    Optional,
}

/// Which name in a client's certificate is its user's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name of the subject, as for etcd.
    #[default]
    CommonName,
    /// The first alternative name (DNS name, URI or mail address) that is the name of a user.
    AlternativeName,
}
