//! Following changes to their watchers.
//!
//! Nothing is noted for it while events are delivered. Now and then it is asked how far the watchers are, more and more
//! seldom: a time that is told is at most an eighth later than it was, and a millisecond.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use super::export::OpenError;
use super::export::{self, Exporter};
use super::{Change, Traces, Written};
use crate::config::traces::TracesConfig;
use crate::store::{Revision, Snapshot};
use crate::watch::{Delivery, Hub};

/// Changes that are followed at the same time. Others wait in the queue, and beyond it are left out.
const MOST: usize = 64;

/// How long a change is followed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest time between two looks at the watchers.
const LOOK: Duration = Duration::from_millis(500);

/// Keys that are told of a change.
const KEYS: usize = 16;

/// Bytes of a key that are told.
const KEY: usize = 256;

/// What has become of a change.
#[derive(Debug)]
pub(super) struct Journey {
    pub(super) change: Change,
    /// The first keys, in the order of their events.
    pub(super) keys: Vec<String>,
    /// Number of events.
    pub(super) events: usize,
    /// None if nobody watches any of it.
    pub(super) delivered: Option<Delivered>,
}

/// What has become of it at its watchers.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// How many are to get it.
    pub(super) watchers: usize,
    /// When one had it.
    pub(super) first: Option<Instant>,
    /// When all had it.
    pub(super) last: Option<Instant>,
    /// How many had not when nobody waited any longer, and when that was.
    pub(super) behind: Option<(usize, Instant)>,
}

/// Traces of a server, and what exports them.
#[derive(Debug)]
pub struct Follower {
    changes: mpsc::Receiver<Change>,
    exporter: Exporter,
}

/// Begins to trace. Needs a runtime.
pub fn start(config: &TracesConfig) -> Result<(Traces, Follower), OpenError> {
    let exporter = export::open(config)?;
    let (traces, changes) = Traces::of(config.sample);
    Ok((traces, Follower { changes, exporter }))
}

/// A journey that goes on.
struct Underway {
    journey: Journey,
    delivery: Delivery,
    look: Instant,
}

impl Follower {
    /// Follows changes until `token` is cancelled, and exports what it has.
    pub async fn run(mut self, hub: Arc<Hub>, token: CancellationToken) {
        let mut underway: Vec<Underway> = Vec::new();
        loop {
            let look = underway.iter().map(|one| one.look).min();
            // All can be dropped and asked again without a loss.
            let change = tokio::select! {
                () = token.cancelled() => break,
                Some(change) = self.changes.recv(), if underway.len() < MOST => Some(change),
                () = sleep_until(look) => None,
            };
            if let Some(change) = change {
                underway.extend(self.begin(change, &hub));
            }
            let now = Instant::now();
            let (due, rest) = underway.into_iter().partition(|one| one.look <= now);
            underway = rest;
            underway.extend(Vec::into_iter(due).filter_map(|one| self.look(one, false)));
        }
        underway.into_iter().for_each(|one| drop(self.look(one, true)));
        let exporter = self.exporter;
        // Waits for the collector.
        let _ = tokio::task::spawn_blocking(move || exporter.close()).await;
    }

    /// Exports a change that nobody is to get, or returns what is to be looked at at once.
    fn begin(&self, change: Change, hub: &Hub) -> Option<Underway> {
        let (mut keys, mut events, mut delivery) = (Vec::new(), 0, None);
        if let Written::Store(first, last) = change.written {
            let snapshot = hub.store().snapshot();
            (keys, events) = self::keys(&snapshot, first, last);
            delivery = Delivery::of(hub, &snapshot, first, last);
        }
        let mut journey = Journey { change, keys, events, delivered: None };
        let Some(delivery) = delivery else {
            self.exporter.export(&journey);
            return None;
        };
        journey.delivered = Some(Delivered { watchers: delivery.watchers(), ..Delivered::default() });
        Some(Underway { journey, delivery, look: Instant::now() })
    }

    /// Exports a change if all watchers have it, or if this is the last look.
    fn look(&self, mut one: Underway, last: bool) -> Option<Underway> {
        let now = Instant::now();
        let since = now.saturating_duration_since(one.journey.change.committed.ended);
        let progress = one.delivery.look();
        let delivered = one.journey.delivered.get_or_insert_default();
        if progress.first {
            delivered.first.get_or_insert(now);
        }
        if progress.all {
            delivered.last = Some(now);
        } else if last || since > PATIENCE {
            delivered.behind = Some((one.delivery.behind(), now));
        } else {
            one.look = now + (since / 8).clamp(Duration::from_millis(1), LOOK);
            return Some(one);
        }
        self.exporter.export(&one.journey);
        None
    }
}

/// The first keys of the commits, and how many events they have.
fn keys(snapshot: &Snapshot, first: Revision, last: Revision) -> (Vec<String>, usize) {
    let (mut keys, mut events) = (Vec::new(), 0);
    for commit in snapshot.commits_from(first).take_while(|commit| commit.revision() <= last) {
        events += commit.events().len();
        let room = KEYS - keys.len();
        let text = |key: &[u8]| String::from_utf8_lossy(&key[..key.len().min(KEY)]).into_owned();
        keys.extend(commit.events().iter().take(room).map(|event| text(event.key())));
    }
    (keys, events)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
