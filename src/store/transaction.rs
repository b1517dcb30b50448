//! Changes in the making: everything that will be one commit.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::commit::{Commit, Event};
use super::index::Index;
use super::key_range::KeyRange;
use super::lease::LeaseId;
use super::record::{Origin, Record};
use super::revision::Revision;
use super::snapshot::View;

/// Collects the events of the next revision. Reads see the changes made so far.
///
/// Dropping it changes nothing.
#[derive(Debug)]
pub struct Transaction {
    revision: Revision,
    index: Index,
    events: Vec<Event>,
    /// By how many bytes the records in the index take more memory than before.
    growth: isize,
}

impl Transaction {
    pub(super) fn new(revision: Revision, index: Index) -> Self {
        Self { revision, index, events: Vec::new(), growth: 0 }
    }

    /// The revision that the changes will have.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether nothing was changed so far, so that there will be no commit.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// By how many bytes the records take more memory than before.
    pub(super) fn growth(&self) -> isize {
        self.growth
    }

    /// The keys as they are with the changes made so far.
    pub fn view(&self) -> View<'_> {
        View::new(&self.index)
    }

    /// Writes a key and returns what it was before.
    pub fn put(&mut self, key: Bytes, value: Bytes, lease: LeaseId, origin: Origin) -> Option<Arc<Record>> {
        let (created, version) =
            self.index.get(&key).map_or((self.revision, 1), |old| (old.create_revision, old.version + 1));
        let record = Arc::new(Record::new(key, value, (created, self.revision, version), lease, origin));
        let replaced = self.index.insert(record.clone());
        self.push(record, replaced.clone());
        replaced
    }

    /// Deletes a key and returns what it was; nothing happens when it does not exist.
    pub fn delete(&mut self, key: &[u8]) -> Option<Arc<Record>> {
        let previous = self.index.remove(key)?;
        let record = Arc::new(Record::deletion(previous.key.clone(), self.revision));
        self.push(record, Some(previous.clone()));
        Some(previous)
    }

    fn push(&mut self, record: Arc<Record>, replaced: Option<Arc<Record>>) {
        self.note_growth(&record, replaced.as_deref());
        // A key that is changed twice: watchers are shown what it was before all of it, and a new one is shown as new.
        let previous = match replaced {
            _ if record.create_revision == self.revision => None,
            Some(own) if own.mod_revision == self.revision => {
                let first = self.events.iter().find(|event| event.record.key == record.key);
                first.and_then(|event| event.previous.clone())
            }
            other => other,
        };
        self.events.push(Event { record, previous });
    }

    /// Takes over a record of a history that is mirrored, with its own numbers. An event that is known already, or is
    /// older than what is there, changes nothing.
    pub fn adopt(&mut self, record: Record) {
        if self.index.get(&record.key).is_some_and(|own| own.mod_revision >= record.mod_revision) {
            return;
        }
        let record = Arc::new(record);
        let previous = self.index.insert(record.clone());
        self.note_growth(&record, previous.as_deref());
        self.events.push(Event { record, previous });
    }

    fn note_growth(&mut self, record: &Record, replaced: Option<&Record>) {
        let kept = if record.is_deletion() { 0 } else { record.memory() };
        let gone = replaced.map_or(0, Record::memory);
        self.growth = self.growth.saturating_add_unsigned(kept).saturating_sub_unsigned(gone);
    }

    /// Brings the events into the order of their revisions, which a mirror's may be out of.
    pub fn sort(&mut self) {
        self.events.sort_by_key(|event| event.record.mod_revision);
    }

    /// Deletes the keys of `range` and returns what they were, by ascending key.
    pub fn delete_range(&mut self, range: &KeyRange) -> Vec<Arc<Record>> {
        let doomed: Vec<_> = self.index.range(range).cloned().collect();
        for record in &doomed {
            self.delete(&record.key);
        }
        doomed
    }

    pub(super) fn into_commit(self, after: Revision, at: Instant) -> Commit {
        Commit::new((after, self.revision), self.events, (self.index, self.growth), at)
    }
}
