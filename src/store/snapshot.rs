//! The immutable state and history that readers see.

use std::sync::Arc;

use bytes::Bytes;
use imbl::Vector;
use tokio::time::Instant;

use super::commit::Commit;
use super::index::Index;
use super::key_range::KeyRange;
use super::record::Record;
use super::retention::Retention;
use super::revision::Revision;
use super::tombstones::Tombstones;

/// The store at one revision: its keys, and the log of how they came to be. Never changes.
#[derive(Clone, Debug)]
pub struct Snapshot {
    revision: Revision,
    /// Floor that a client set by a Compact request.
    compacted: Revision,
    index: Index,
    log: Vector<Arc<Commit>>,
    log_bytes: usize,
    /// Bytes of memory of the log.
    log_memory: usize,
    /// Bytes of memory of the records in the index.
    keys_memory: usize,
    base: Base,
    /// How often another history has taken the place of this one.
    history: u64,
    /// The greatest revision of the histories before, which their clients may still come with.
    forgotten: Revision,
}

/// The state before the first commit of the log.
#[derive(Clone, Debug)]
struct Base {
    revision: Revision,
    index: Index,
    /// Bytes of memory of the records in it.
    memory: usize,
    tombstones: Tombstones,
}

/// Why a revision cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is older than the history that is kept.
    #[error("required revision has been compacted")]
    Compacted,
    /// It has not happened yet.
    #[error("required revision is a future revision")]
    Future,
}

/// The keys as they were at some revision.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    index: &'a Index,
}

impl<'a> View<'a> {
    pub(super) fn new(index: &'a Index) -> Self {
        Self { index }
    }

    /// The record of `key`.
    pub fn get(self, key: &[u8]) -> Option<&'a Arc<Record>> {
        self.index.get(key)
    }

    /// The records in `range`, by ascending key.
    pub fn range(self, range: &KeyRange) -> impl Iterator<Item = &'a Arc<Record>> {
        self.index.range(range)
    }
}

impl Snapshot {
    /// The state of a store whose history begins after `revision` with these keys.
    pub(super) fn starting_at(revision: Revision, index: Index, tombstones: Tombstones) -> Self {
        let memory = index.range(&KeyRange::all()).map(|record| record.memory()).sum();
        let base = Base { revision, index: index.clone(), memory, tombstones };
        let (log, forgotten) = (Vector::new(), Revision::ZERO);
        Self {
            revision,
            compacted: Revision::NEVER,
            index,
            log,
            log_bytes: 0,
            log_memory: 0,
            keys_memory: memory,
            base,
            history: 0,
            forgotten,
        }
    }

    /// The state of another history, after this one.
    pub(super) fn replace_history(&mut self, revision: Revision, records: Vec<Arc<Record>>) {
        let mut index = Index::default();
        for record in records {
            index.insert(record);
        }
        let forgotten = self.forgotten.max(self.revision);
        let history = self.history + 1;
        let new = Self::starting_at(revision, index, Tombstones::unknown_through(revision));
        *self = Self { history, forgotten, ..new };
    }

    /// Number of the history, which is another one when a mirrored etcd was replaced or restored. A revision means
    /// something within one history only.
    pub fn history(&self) -> u64 {
        self.history
    }

    /// Whether a watcher that asks to start at `revision` has missed what cannot be told, although the log may begin
    /// before: in a mirror that had lost its place, or that follows another history now.
    pub fn is_unknown_start(&self, revision: Revision) -> bool {
        if revision > self.revision {
            return revision > self.revision.next() && revision <= self.forgotten.next();
        }
        self.log.get(self.position(revision)).is_some_and(|commit| commit.hides(revision.previous()))
    }

    /// The revision of the last commit; in a mirror of some keys also a later one without.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The floor of the last Compact request: reads, and watches that start below it, are refused.
    /// [`Revision::NEVER`] if there was none.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// The first revision from which on the log holds every commit.
    pub fn log_start(&self) -> Revision {
        self.base.revision.next()
    }

    /// Number of commits in the log, and of the bytes of their events.
    pub fn log_size(&self) -> (usize, usize) {
        (self.log.len(), self.log_bytes)
    }

    /// Bytes of memory that keys take without history, by the same estimate as [`memory`](Self::memory).
    pub fn keys_memory(&self) -> usize {
        self.keys_memory
    }

    /// Bytes of memory that keys and history take, by an estimate that is rather too high. Each record counts once: those
    /// that the log begins with, and those that its commits have made.
    pub fn memory(&self) -> usize {
        self.base.memory + self.log_memory
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The current keys.
    pub fn current(&self) -> View<'_> {
        View::new(&self.index)
    }

    /// The record of `key`.
    pub fn get(&self, key: &[u8]) -> Option<&Arc<Record>> {
        self.index.get(key)
    }

    /// The records in `range`, by ascending key.
    pub fn range(&self, range: &KeyRange) -> impl Iterator<Item = &Arc<Record>> {
        self.index.range(range)
    }

    /// The keys as they were at `revision`; zero and below mean now.
    pub fn at(&self, revision: Revision) -> Result<View<'_>, ReadError> {
        if revision <= Revision::ZERO || revision == self.revision {
            return Ok(self.current());
        }
        if revision > self.revision {
            return Err(ReadError::Future);
        }
        if revision < self.compacted || revision < self.base.revision {
            return Err(ReadError::Compacted);
        }
        let after = self.position(revision.next());
        if self.log.get(after).is_some_and(|commit| commit.hides(revision)) {
            return Err(ReadError::Compacted);
        }
        let index =
            after.checked_sub(1).and_then(|last| self.log.get(last)).map_or(&self.base.index, |commit| commit.index());
        Ok(View::new(index))
    }

    /// The commits at `from` and later, oldest first. Those before [`log_start`](Self::log_start) are gone.
    pub fn commits_from(&self, from: Revision) -> impl Iterator<Item = &Arc<Commit>> {
        let start = self.position(from);
        self.log.focus().narrow(start..).into_iter()
    }

    /// Whether every event in `range` at `from` and later is still in the log, so that a watcher can start there.
    ///
    /// A range in which nothing changed lost nothing, however old `from` is.
    pub fn has_history(&self, range: &KeyRange, from: Revision) -> bool {
        from > self.base.revision
            || !(self.base.tombstones.any_since(range, from)
                || self.base.index.range(range).any(|record| record.mod_revision >= from))
    }

    /// The floor to name when [`has_history`](Self::has_history) says no: a watch from there can be served.
    pub fn floor(&self) -> Revision {
        self.compacted.max(self.log_start())
    }

    /// Position in the log of the first commit at `revision` or later.
    fn position(&self, revision: Revision) -> usize {
        let (mut low, mut high) = (0, self.log.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.log[middle].revision() < revision { low = middle + 1 } else { high = middle }
        }
        low
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// Appends a commit and drops what retention no longer wants.
    pub(super) fn push(&mut self, commit: Arc<Commit>, retention: &Retention) {
        debug_assert!(commit.revision() > self.revision, "revisions only grow");
        self.revision = commit.revision();
        self.index = commit.index().clone();
        self.log_bytes += commit.size();
        self.log_memory += commit.memory();
        self.keys_memory = self.keys_memory.saturating_add_signed(commit.growth());
        let now = commit.at();
        self.log.push_back(commit);
        self.trim(retention, now);
    }

    /// Goes on to a revision without a commit. False if it is not a later one.
    pub(super) fn pass(&mut self, revision: Revision) -> bool {
        let is_later = revision > self.revision;
        self.revision = self.revision.max(revision);
        is_later
    }

    /// Raises the floor to `revision`, which must be known to lie between the floor and the current revision.
    pub(super) fn compact(&mut self, revision: Revision) {
        self.compacted = revision;
        while self.log.front().is_some_and(|commit| commit.revision() < revision) {
            self.drop_oldest();
        }
    }

    fn trim(&mut self, retention: &Retention, now: Instant) {
        while self.log.len() > 1
            && (self.log.len() > retention.commits
                || self.log_bytes > retention.bytes
                || self.memory() > retention.memory
                || self.log.front().is_some_and(|commit| now.duration_since(commit.at()) > retention.age))
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(commit) = self.log.pop_front() else { return };
        self.log_bytes -= commit.size();
        self.log_memory -= commit.memory();
        if commit.is_repair() {
            self.base.tombstones = Tombstones::unknown_through(commit.revision());
        }
        for event in commit.events() {
            if event.is_delete() {
                self.base.tombstones.insert(event.key().clone(), commit.revision());
            } else {
                self.base.tombstones.remove(event.key());
            }
        }
        self.base.revision = commit.revision();
        self.base.memory = self.base.memory.saturating_add_signed(commit.growth());
        self.base.index = commit.index().clone();
    }
}

/// What a store continues from: the content of a data directory.
#[derive(Debug)]
pub struct Restored {
    /// The last revision.
    pub revision: Revision,
    /// Floor of the last Compact request, [`Revision::NEVER`] if there was none.
    pub compacted: Revision,
    /// The keys.
    pub records: Vec<Record>,
    /// Keys that were deleted, with the revision of the deletion.
    pub tombstones: Vec<(Bytes, Revision)>,
    /// Deletions up to here are not listed.
    pub deleted_unknown_through: Revision,
    /// Leases with their time to live in seconds.
    pub leases: Vec<(super::LeaseId, i64)>,
    /// What [`Writer::keep_auth`](super::Writer::keep_auth) was given last.
    pub auth: Option<Bytes>,
}

impl Restored {
    /// An empty store whose first commit will be after `revision`. What was before is not known, so that a watcher
    /// from then is told to reload.
    pub fn empty_at(revision: Revision) -> Self {
        Self {
            revision,
            compacted: Revision::NEVER,
            records: Vec::new(),
            tombstones: Vec::new(),
            deleted_unknown_through: revision,
            leases: Vec::new(),
            auth: None,
        }
    }

    pub(super) fn snapshot(self) -> Snapshot {
        let mut index = Index::default();
        for record in self.records {
            index.insert(Arc::new(record));
        }
        let mut tombstones = Tombstones::unknown_through(self.deleted_unknown_through);
        for (key, revision) in self.tombstones {
            tombstones.insert(key, revision);
        }
        let mut snapshot = Snapshot::starting_at(self.revision, index, tombstones);
        snapshot.compacted = self.compacted;
        snapshot
    }
}

#[cfg(test)]
mod tests;
