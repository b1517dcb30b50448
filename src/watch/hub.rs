//! The hub: wakes the streams that a commit concerns.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;
use metrics::counter;
use tokio_util::sync::CancellationToken;

use super::interest::Interest;
use super::registry::Registry;
use super::session::Session;
use super::stream::Protocol;
use crate::store::{Revision, Snapshot, Store};
use crate::telemetry;
use crate::telemetry::striped::Striped;

/// How often an idle watcher that asked for progress notifications gets one, as etcd's default.
pub const PROGRESS_INTERVAL: Duration = Duration::from_mins(10);

/// Where watchers meet the store.
#[derive(Debug)]
pub struct Hub(Arc<Shared>);

/// What every stream refers to.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) registry: Arc<Registry>,
    pub(super) progress_interval: Duration,
    pub(super) counts: Counts,
}

/// Numbers of what is running, on cache lines of their own as every stream touches them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// By protocol.
    pub(super) streams: [CachePadded<AtomicUsize>; Protocol::ALL.len()],
    pub(super) watchers: CachePadded<AtomicUsize>,
    /// What was sent: the numbers of [`Sent`], protocol by protocol.
    pub(super) sent: Striped<{ SENT * Protocol::ALL.len() }>,
}

/// Numbers in [`Sent`].
pub(super) const SENT: usize = 3;

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Responses with events, each of which would have to be encoded if streams did not share them.
    pub deliveries: u64,
    /// The events in them.
    pub events: u64,
    /// Bytes, with the responses that have no events.
    pub bytes: u64,
}

impl Hub {
    /// A hub over `store`.
    pub fn new(store: Store) -> Self {
        Self::with_progress_interval(store, PROGRESS_INTERVAL)
    }

    /// A hub with another time between progress notifications.
    pub fn with_progress_interval(store: Store, progress_interval: Duration) -> Self {
        Self(Arc::new(Shared { store, registry: Arc::default(), progress_interval, counts: Counts::default() }))
    }

    /// The state of a new watch stream of this program's own.
    pub fn session(&self) -> Session {
        self.session_of(Protocol::Program, None)
    }

    /// The state of a new watch stream, and whose it is.
    pub fn session_of(&self, protocol: Protocol, client: Option<IpAddr>) -> Session {
        Session::new(self.0.clone(), protocol, client)
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Where the interests are.
    pub(super) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Number of open watch streams.
    pub fn streams(&self) -> usize {
        Protocol::ALL.into_iter().map(|protocol| self.streams_of(protocol)).sum()
    }

    /// Number of those of a protocol.
    pub fn streams_of(&self, protocol: Protocol) -> usize {
        self.0.counts.streams[protocol as usize].load(Ordering::Relaxed)
    }

    /// What was sent on the streams of a protocol since the start.
    pub fn sent(&self, protocol: Protocol) -> Sent {
        let [deliveries, events, bytes] =
            [0, 1, 2].map(|place| self.0.counts.sent.sum(protocol as usize * SENT + place));
        Sent { deliveries, events, bytes }
    }

    /// Number of watchers on them.
    pub fn watchers(&self) -> usize {
        self.0.counts.watchers.load(Ordering::Relaxed)
    }

    /// Number of different interests among the watchers.
    pub fn interests(&self) -> usize {
        self.0.registry.len()
    }

    /// Every interest of a running watcher.
    pub fn all_interests(&self) -> Vec<Arc<Interest>> {
        self.0.registry.interests()
    }

    /// Number of frames that are kept for watchers that are behind the others of their interest.
    pub fn frames(&self) -> usize {
        let mut sum = 0;
        self.0.registry.for_each(|interest| sum += interest.frames());
        sum
    }

    /// Wakes streams after each commit until `token` is cancelled or the store ends.
    ///
    /// A stream registers before it looks at the store, and this looks for streams after the store has published, so
    /// that no commit falls between the two.
    pub async fn run(&self, token: CancellationToken) {
        let mut changes = self.0.store.changes();
        let snapshot = self.0.store.snapshot();
        let (mut next, mut history) = (snapshot.revision().next(), snapshot.history());
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
            let snapshot = self.0.store.snapshot();
            if std::mem::replace(&mut history, snapshot.history()) == snapshot.history() {
                count(&snapshot, next);
                self.wake(&snapshot, next);
            } else {
                self.0.registry.for_each(Interest::wake_anyway);
            }
            next = snapshot.revision().next();
        }
    }

    /// Wakes the streams concerned by the commits at `from` and later.
    pub fn wake(&self, snapshot: &Snapshot, from: Revision) {
        if from < snapshot.log_start() {
            // Commits have left the log before they were looked at: anyone may be concerned.
            return self.0.registry.for_each(|interest| interest.wake(snapshot.revision()));
        }
        let lengths = self.0.registry.prefix_lengths();
        for commit in snapshot.commits_from(from) {
            if commit.is_repair() {
                // Mirrors are told of it whatever it changed.
                self.0.registry.for_each(|interest| interest.wake(snapshot.revision()));
            }
            for event in commit.events() {
                self.0.registry.find(event.key(), &lengths, |interest| interest.wake(snapshot.revision()));
            }
        }
    }
}

/// Counts the commits at `from` and later that are still in the log.
fn count(snapshot: &Snapshot, from: Revision) {
    let (mut commits, mut puts, mut deletes) = (0, 0, 0);
    for commit in snapshot.commits_from(from) {
        let deleted = commit.events().iter().filter(|event| event.is_delete()).count();
        commits += 1;
        deletes += deleted as u64;
        puts += (commit.events().len() - deleted) as u64;
    }
    counter!(telemetry::store::COMMITS).increment(commits);
    counter!(telemetry::etcd::PUTS).increment(puts);
    counter!(telemetry::etcd::DELETES).increment(deletes);
}
