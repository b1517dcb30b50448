//! What a request brings along that tells whose it is.

use std::net::IpAddr;
use std::sync::Arc;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it comes from.
    pub address: IpAddr,
    /// The names in the certificate that it has shown, of which the first that is a user's counts.
    pub names: Vec<String>,
}

/// What a request brings along.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// A token.
    pub token: Option<String>,
    /// Who is at the other end of the connection; none for requests of the server itself and of programs that embed it.
    pub peer: Option<Arc<Peer>>,
}

impl Credentials {
    /// The names in the client's certificate.
    pub fn names(&self) -> &[String] {
        self.peer.as_ref().map_or(&[], |peer| &peer.names)
    }
}
