//! Limits on what clients may hold at the same time.

/// The limits. [`usize::MAX`] stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections on the port for clients. Default 250,000.
    pub connections: usize,
    /// Of these, from one address. Default none, as gateways may come through one.
    pub connections_per_address: usize,
    /// Watch streams on one connection of HTTP/2. Default 10,000; over HTTP/1.1 there is never more than one.
    pub watch_streams: usize,
    /// Watchers on one watch stream. Default 10,000.
    pub watchers: usize,
    /// Leases. Default 100,000.
    pub leases: usize,
    /// Failed log-ins of one user from one address, in a minute. Default 10.
    pub failed_logins: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 250_000,
            connections_per_address: usize::MAX,
            watch_streams: 10_000,
            watchers: 10_000,
            leases: 100_000,
            failed_logins: 10,
        }
    }
}
