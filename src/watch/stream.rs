//! What others may know of a watch stream while its own task works on it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::store::Revision;

/// How a stream reaches its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Over gRPC.
    Grpc,
    /// Over the gateway, in JSON.
    Gateway,
    /// Within the program that embeds the server.
    Program,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Grpc, Self::Gateway, Self::Program];

    /// Its name, also in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Gateway => "gateway",
            Self::Program => "program",
        }
    }
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    pub(super) waker: AtomicWaker,
    /// How it reaches its client.
    pub protocol: Protocol,
    /// Where its client is; none for one in the same program.
    pub client: Option<IpAddr>,
    /// When it was opened.
    pub opened: Instant,
}

impl Stream {
    pub(super) fn new(protocol: Protocol, client: Option<IpAddr>) -> Self {
        Self { waker: AtomicWaker::new(), protocol, client, opened: Instant::now() }
    }
}

/// How far a watcher has come. Written by its stream alone, and read by whoever wants to know what is behind.
#[derive(Debug)]
pub struct Cursor {
    /// The next revision that was not looked at yet.
    next: AtomicI64,
    /// The store's revision when the watcher came, if it had something to catch up with.
    missed: Revision,
}

impl Cursor {
    /// At `next`, in a store at `revision`.
    pub(super) fn new(next: Revision, revision: Revision) -> Self {
        let missed = if next <= revision { revision } else { Revision::ZERO };
        Self { next: AtomicI64::new(next.0), missed }
    }

    /// The next revision that was not looked at yet.
    pub fn next(&self) -> Revision {
        Revision(self.next.load(Ordering::Relaxed))
    }

    pub(super) fn advance(&self, next: Revision) {
        self.next.store(next.0, Ordering::Relaxed);
    }

    /// Revisions up to the last one that has something for the watcher, if streams were woken for `woken` last; zero
    /// for one that has seen all that there is for it, however much has happened elsewhere.
    pub fn behind(&self, woken: Revision) -> u64 {
        let last = woken.max(self.missed);
        u64::try_from(last.next().0 - self.next().0).unwrap_or(0)
    }
}
