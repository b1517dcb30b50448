//! What a request brings along that tells whose it is.

use std::net::{IpAddr, Ipv6Addr};
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

/// What counts as one address: of IPv6 a whole network, as one client has that many.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let network = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::2"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
    }
}
