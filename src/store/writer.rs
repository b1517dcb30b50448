//! The writer: the one place where the store changes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::commit::{Commit, Event};
use super::index::Index;
use super::journal::{Entry, Journal, JournalError};
use super::lease::Leases;
use super::record::Record;
use super::retention::Retention;
use super::revision::Revision;
use super::snapshot::{Restored, Snapshot};
use super::transaction::Transaction;

/// Holds the state that is about to be published. Owned by the sequencer; jobs get it by turns.
#[derive(Debug)]
pub struct Writer {
    /// The state with the changes that are not published yet.
    working: Snapshot,
    published: Arc<ArcSwap<Snapshot>>,
    /// What the journal must have before `working` is published.
    pending: Vec<Entry>,
    leases: Leases,
    retention: Retention,
    journal: Box<dyn Journal>,
}

impl Writer {
    /// A writer that continues from `restored`, and the place where it publishes snapshots.
    pub fn new(
        mut restored: Restored,
        retention: Retention,
        journal: Box<dyn Journal>,
    ) -> (Self, Arc<ArcSwap<Snapshot>>) {
        let mut leases = Leases::default();
        let now = Instant::now();
        // A lease starts anew with its full time, as its holder could not renew it while the server was away.
        for (id, ttl) in std::mem::take(&mut restored.leases) {
            leases.insert(id, ttl, now);
        }
        for record in &restored.records {
            leases.attach(record.lease, &record.key);
        }
        let working = restored.snapshot();
        let published = Arc::new(ArcSwap::from_pointee(working.clone()));
        let writer = Self { working, published: published.clone(), pending: Vec::new(), leases, retention, journal };
        (writer, published)
    }

    /// The state with all changes made so far.
    pub fn snapshot(&self) -> &Snapshot {
        &self.working
    }

    /// The leases.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The leases for changing; pair each change with a [`journal`](Self::journal) entry.
    pub(super) fn leases_mut(&mut self) -> &mut Leases {
        &mut self.leases
    }

    /// Starts the next commit.
    pub fn begin(&self) -> Transaction {
        Transaction::new(self.working.revision().next(), self.working.index().clone())
    }

    /// Starts a commit of a history that is mirrored, which has revisions of its own.
    pub fn begin_at(&self, revision: Revision) -> Transaction {
        Transaction::new(revision, self.working.index().clone())
    }

    /// Gives up everything, history included, for the state of another history. Watchers are told to reload.
    pub fn replace_history(&mut self, revision: Revision, records: Vec<Record>) {
        for record in &records {
            self.leases.attach(record.lease, &record.key);
        }
        let records: Vec<_> = records.into_iter().map(Arc::new).collect();
        self.pending.push(Entry::Replaced(revision, records.clone().into()));
        self.working.replace_history(revision, records);
    }

    /// Commits a transaction. One without events leaves the revision as it is (`INV-4`).
    pub fn commit(&mut self, transaction: Transaction) -> Revision {
        let (revision, index, events) = transaction.into_parts();
        if events.is_empty() {
            return self.working.revision();
        }
        self.push(revision, index, events)
    }

    /// Commits what a mirror has missed as a whole. It has the revision of the transaction, be there events or not:
    /// what has undone itself has happened.
    pub fn commit_repair(&mut self, transaction: Transaction) -> Revision {
        let (revision, index, events) = transaction.into_parts();
        self.push(revision, index, events)
    }

    fn push(&mut self, revision: Revision, index: Index, events: Vec<Event>) -> Revision {
        debug_assert!(revision > self.working.revision(), "transactions are committed in order");
        for event in &events {
            self.leases.follow(event);
        }
        let commit = Arc::new(Commit::new((self.working.revision(), revision), events, index, Instant::now()));
        self.pending.push(Entry::Commit(commit.clone()));
        self.working.push(commit, &self.retention);
        revision
    }

    /// Raises the floor of the history. The caller has checked the revision.
    pub(super) fn compact(&mut self, revision: Revision) {
        self.working.compact(revision);
        self.pending.push(Entry::Compacted(revision));
    }

    /// Adds an entry that the journal must have with the next flush.
    pub(super) fn journal(&mut self, entry: Entry) {
        self.pending.push(entry);
    }

    /// Keeps what the keeper of the users needs after a restart. The store does not look into it.
    pub fn keep_auth(&mut self, users: bytes::Bytes) {
        self.journal(Entry::Auth(users));
    }

    /// Keeps of which cluster the history is, for a mirror that starts again without its etcd.
    pub fn keep_cluster(&mut self, id: u64) {
        self.journal(Entry::Cluster(id));
    }

    /// Makes all changes since the last call durable and then visible. On an error they are undone.
    ///
    /// Leases are the exception: they are kept as they are in memory, which is harmless, as a lease whose grant was
    /// lost has no keys and runs out.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let written = self.journal.append(&self.pending);
        self.pending.clear();
        match written {
            Ok(()) => {
                self.published.store(Arc::new(self.working.clone()));
                Ok(())
            }
            Err(error) => {
                self.working = Snapshot::clone(&self.published.load());
                Err(error)
            }
        }
    }
}
