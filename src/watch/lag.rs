//! How far the slowest watchers are behind.
//!
//! Asked now and then by those who look after the server. Nothing is noted for it while events are delivered: a watcher
//! is behind if its cursor has not passed the revision for which its interest was woken last.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::hub::Hub;
use super::interest::Interest;
use crate::store::{Revision, Snapshot};

/// Commits that are looked at in all to find out since when watchers are behind. Nearly always the first is it, as most
/// interests are in nearly all that happens.
const LOOK: usize = 100_000;

/// How far watchers are behind what there is for them. One that has seen that is not, however much has happened to keys
/// that it does not watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Streams with a watcher that is behind.
    pub streams: usize,
    /// Revisions that the slowest watcher is behind.
    pub revisions: u64,
    /// For how long the event has been there that a watcher waits for the longest.
    pub age: Duration,
}

impl Hub {
    /// How far watchers are behind. Looks at every one of them.
    pub fn lag(&self) -> Lag {
        let snapshot = self.store().snapshot();
        let (mut lag, mut behind, mut look) = (Lag::default(), HashSet::new(), LOOK);
        // What is no longer in the log cannot be waited for. Numbers before a store's first revision stand for nothing.
        let most = u64::try_from(snapshot.revision().next().0 - snapshot.log_start().0).unwrap_or_default().max(1);
        for interest in self.all_interests() {
            let woken = interest.woken_at();
            let mut slowest: Option<Revision> = None;
            interest.for_each_watcher(|stream, cursor| {
                let revisions = cursor.behind(woken);
                if revisions > 0 {
                    lag.revisions = lag.revisions.max(revisions.min(most));
                    slowest = Some(slowest.map_or(cursor.next(), |other| other.min(cursor.next())));
                    behind.insert(Arc::as_ptr(stream));
                }
            });
            if let Some(cursor) = slowest {
                lag.age = lag.age.max(waiting(&interest, &snapshot, cursor, &mut look));
            }
        }
        lag.streams = behind.len();
        lag
    }
}

/// Since when there has been something for a watcher of the interest that has seen all before `cursor`; a little too
/// long if it takes long to find out. `look` is how many commits may still be looked at.
fn waiting(interest: &Interest, snapshot: &Snapshot, cursor: Revision, look: &mut usize) -> Duration {
    let mut waiting = Duration::ZERO;
    for commit in snapshot.commits_from(cursor) {
        waiting = commit.at().elapsed();
        let wanted = commit.is_repair() || commit.events().iter().any(|event| interest.scope().wants(event));
        if wanted || *look == 0 {
            break;
        }
        *look -= 1;
    }
    waiting
}
