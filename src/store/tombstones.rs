//! The last deletion of each deleted key, among the history that has left the log.

use bytes::Bytes;
use imbl::OrdMap;

use super::key_range::KeyRange;
use super::revision::Revision;

/// Most deletions that are remembered one by one.
const CAPACITY: usize = 100_000;

/// Tells whether a range lost a deletion when the log was cut, so that a watcher of a quiet range is not told to
/// reload because of changes elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Tombstones {
    revisions: OrdMap<Bytes, Revision>,
    /// Deletions up to here are not remembered and must be assumed.
    unknown_through: Revision,
}

impl Tombstones {
    /// For a history of which nothing up to `revision` is known.
    pub fn unknown_through(revision: Revision) -> Self {
        // An etcd is at 1 before anything has happened.
        let unknown_through = if revision == Revision(1) { Revision::ZERO } else { revision };
        Self { revisions: OrdMap::new(), unknown_through }
    }

    /// Records that `key` was deleted at `revision`.
    pub(super) fn insert(&mut self, key: Bytes, revision: Revision) {
        if self.revisions.len() >= CAPACITY {
            *self = Self::unknown_through(revision);
        } else {
            self.revisions.insert(key, revision);
        }
    }

    /// Forgets the deletion of `key`, which exists again: its record tells of the last change.
    pub(super) fn remove(&mut self, key: &[u8]) {
        self.revisions.remove(key);
    }

    /// Whether a key of `range` may have been deleted at `revision` or later.
    pub(super) fn any_since(&self, range: &KeyRange, revision: Revision) -> bool {
        revision <= self.unknown_through
            || (!range.is_empty()
                && self.revisions.range::<_, [u8]>(range.bounds()).any(|(_, deleted)| *deleted >= revision))
    }
}
