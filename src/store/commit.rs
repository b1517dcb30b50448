//! A commit: one revision and its events, an element of the log.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::index::Index;
use super::record::Record;
use super::revision::Revision;

/// One change of one key.
#[derive(Clone, Debug)]
pub struct Event {
    /// What the key became; the record of a deletion if it was deleted.
    pub record: Arc<Record>,
    /// What the key was before the commit.
    pub previous: Option<Arc<Record>>,
}

impl Event {
    /// Whether the key was deleted.
    pub fn is_delete(&self) -> bool {
        self.record.is_deletion()
    }

    /// The key.
    pub fn key(&self) -> &Bytes {
        &self.record.key
    }
}

/// Bytes that a commit takes apart from its records and the index's leaves, as measured.
const COMMIT: usize = 1536;

/// Bytes of a leaf of the index, of which a change of a key makes a new one.
const LEAF: usize = 2560;

/// Keys in a leaf, at least and on average.
const KEYS: usize = 32;

/// All events of one revision, in the order in which they happened, and the state after them.
#[derive(Debug)]
pub struct Commit {
    /// The revision before it. In a mirror that has lost its place, what happened in between is not known one by one.
    after: Revision,
    revision: Revision,
    events: Box<[Event]>,
    index: Index,
    size: usize,
    memory: usize,
    growth: isize,
    at: Instant,
}

impl Commit {
    /// `index` is the state after it, with by how many bytes its records take more memory than those before.
    pub(super) fn new(
        (after, revision): (Revision, Revision),
        events: Vec<Event>,
        (index, growth): (Index, isize),
        at: Instant,
    ) -> Self {
        let size = events.iter().map(|event| event.record.size()).sum();
        let records: usize = events.iter().map(|event| event.record.memory()).sum();
        let memory = COMMIT + records + LEAF * events.len().min(index.len() / KEYS + 1);
        Self { after, revision, events: events.into(), index, size, memory, growth, at }
    }

    /// The revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether `revision` is one that the commit stands for together with others, so that neither the state at it nor
    /// what happened from it on is known.
    pub fn hides(&self, revision: Revision) -> bool {
        self.after < revision && revision < self.revision
    }

    /// Whether the commit stands for more than its own revision.
    pub fn is_repair(&self) -> bool {
        self.after.next() < self.revision
    }

    /// The events. None only if the commit stands for several revisions that have undone each other.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Bytes of keys and values in the events.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Bytes of memory that it takes, by estimate: the records that it made, and the parts of the index that it does not
    /// share with the commits before.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// By how many bytes the records that are there after it take more memory than those before it.
    pub(super) fn growth(&self) -> isize {
        self.growth
    }

    /// When the commit was made.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The state after the commit.
    pub(super) fn index(&self) -> &Index {
        &self.index
    }
}
