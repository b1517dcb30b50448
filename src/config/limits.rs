//! Limits on what clients may hold at the same time, and on what they may ask for.

/// The limits. [`usize::MAX`] stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections on the port for clients. Default 250,000.
    pub connections: usize,
    /// Of these, from one address. Default none, as gateways may come through one.
    pub connections_per_address: usize,
    /// Watch streams on one connection of HTTP/2. Default 10,000; over HTTP/1.1 there is never more than one.
    pub watch_streams: usize,
    /// Requests at the same time on one connection of HTTP/2, watch streams among them: etcd's `--max-concurrent-streams`.
    /// Default 0, for [`CALLS`] more than there may be watch streams.
    pub concurrent_streams: usize,
    /// Watchers on one watch stream. Default 10,000.
    pub watchers: usize,
    /// Leases. Default 100,000.
    pub leases: usize,
    /// Bytes of a request that writes: etcd's `--max-request-bytes`. Default 1.5 MiB, as etcd's.
    pub request_bytes: usize,
    /// Operations on each side of a transaction, those of inner ones among them, and comparisons: etcd's `--max-txn-ops`.
    /// Default 128, as etcd's.
    pub txn_ops: usize,
    /// Bytes of keys and values in the answer to what only reads. Default none.
    pub answer_bytes: usize,
    /// Bytes of a request's headers. Default 16 KiB.
    pub header_bytes: usize,
    /// Fields in a request's headers. Default 100.
    pub header_fields: usize,
    /// Levels at which JSON is refused. Default [`JSON_DEPTH`], which is the most.
    pub json_depth: usize,
    /// Failed log-ins of one user from one address, in a minute. Default 10.
    pub failed_logins: usize,
}

/// Requests other than watches that a connection of HTTP/2 may have at the same time, if nothing else is said. A client
/// that knows HTTP/2 waits with more; each that has begun costs 8 KiB, whether it goes on or not. etcd has no such limit.
pub const CALLS: usize = 4096;

/// Levels of JSON that the parser takes on the stack of a thread.
pub const JSON_DEPTH: usize = 128;

/// etcd's room for what surrounds a request in a message.
const AROUND: usize = 512 << 10;

impl Limits {
    /// Bytes of a message on the wire.
    pub fn message_bytes(&self) -> usize {
        self.request_bytes.saturating_add(AROUND)
    }

    /// Bytes of a body of the gateway: a message of the largest size, whose bytes are a third longer in base64.
    pub fn body_bytes(&self) -> usize {
        (self.message_bytes() / 3).saturating_mul(4).saturating_add(4096)
    }

    /// Requests at the same time on one connection of HTTP/2.
    pub fn streams(&self) -> usize {
        match self.concurrent_streams {
            0 => self.watch_streams.saturating_add(CALLS),
            streams => streams,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 250_000,
            connections_per_address: usize::MAX,
            watch_streams: 10_000,
            concurrent_streams: 0,
            watchers: 10_000,
            leases: 100_000,
            request_bytes: 1_572_864,
            txn_ops: 128,
            answer_bytes: usize::MAX,
            header_bytes: 16 << 10,
            header_fields: 100,
            json_depth: JSON_DEPTH,
            failed_logins: 10,
        }
    }
}
