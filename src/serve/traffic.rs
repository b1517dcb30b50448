//! Bytes to and from clients, counted where they enter and leave the sockets.

use std::sync::LazyLock;

use crate::telemetry::striped::Striped;

static COUNTERS: LazyLock<Striped<4>> = LazyLock::new(Striped::default);

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Version {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    /// Counts bytes that a socket has taken.
    pub(crate) fn sent(self, bytes: usize) {
        COUNTERS.add(2 * self as usize, [bytes as u64]);
    }

    /// Counts bytes that came.
    pub(crate) fn received(self, bytes: usize) {
        COUNTERS.add(2 * self as usize + 1, [bytes as u64]);
    }

    /// Bytes that were sent and received since the start.
    pub fn totals(self) -> [u64; 2] {
        [0, 1].map(|place| COUNTERS.sum(2 * self as usize + place))
    }
}
