//! The writer: the one place where the store changes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::journal::{Entry, Journal, JournalError};
use super::key_range::KeyRange;
use super::lease::Leases;
use super::ops::OpError;
use super::quota::Quota;
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
    quota: Quota,
    journal: Box<dyn Journal>,
    /// Whether the revision has gone on without a commit.
    passed: bool,
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
        let (published_to, pending) = (published.clone(), Vec::new());
        let quota = Quota::new(retention.memory);
        let writer =
            Self { working, published: published_to, pending, leases, retention, quota, journal, passed: false };
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

    /// How much clients may write.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Commits what a client writes, if there is room for it.
    pub(super) fn commit_within_quota(&mut self, transaction: Transaction) -> Result<Revision, OpError> {
        if !transaction.is_empty() {
            self.quota.admit(self.working.keys_memory(), transaction.growth())?;
        }
        Ok(self.commit(transaction))
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
        if transaction.is_empty() {
            return self.working.revision();
        }
        self.push(transaction)
    }

    /// Commits what a mirror has missed as a whole. It has the revision of the transaction, be there events or not:
    /// what has undone itself has happened.
    pub fn commit_repair(&mut self, transaction: Transaction) -> Revision {
        self.push(transaction)
    }

    /// Goes on to a revision in which nothing has happened that the store keeps, as a mirror of some keys does. The
    /// journal is not told: the state is what it was, and after a restart the store is a little behind.
    pub fn pass(&mut self, revision: Revision) {
        self.passed |= self.working.pass(revision);
    }

    fn push(&mut self, transaction: Transaction) -> Revision {
        let commit = Arc::new(transaction.into_commit(self.working.revision(), Instant::now()));
        let revision = commit.revision();
        debug_assert!(revision > self.working.revision(), "transactions are committed in order");
        for event in commit.events() {
            self.leases.follow(event);
        }
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
    pub fn flush(&mut self) -> Result<(), JournalError> {
        let passed = std::mem::take(&mut self.passed);
        if self.pending.is_empty() {
            if passed {
                self.published.store(Arc::new(self.working.clone()));
            }
            return Ok(());
        }
        let written = self.journal.append(&self.pending);
        let entries = std::mem::take(&mut self.pending);
        match written {
            Ok(()) => {
                self.published.store(Arc::new(self.working.clone()));
                Ok(())
            }
            Err(error) => {
                self.working = Snapshot::clone(&self.published.load());
                let all = KeyRange::all();
                let records = self.working.range(&all).map(Arc::as_ref);
                self.leases.undo(&entries, records, Instant::now());
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::store::{LeaseId, Origin};

    /// A journal that is full when it is told to be.
    #[derive(Clone, Debug, Default)]
    struct Limited(Arc<AtomicBool>);

    impl Journal for Limited {
        fn append(&mut self, _: &[Entry]) -> Result<(), JournalError> {
            if self.0.load(Ordering::Relaxed) { Err(JournalError::Full) } else { Ok(()) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_written_has_not_happened_to_leases_either() {
        let journal = Limited::default();
        let full = journal.0.clone();
        let restored = Restored::empty_at(Revision(1));
        let (mut writer, _published) = Writer::new(restored, Retention::default(), Box::new(journal));
        writer.lease_grant(LeaseId(7), 60, LeaseId::NONE).expect("granted");
        let mut transaction = writer.begin();
        transaction.put("a".into(), "1".into(), LeaseId(7), Origin::Client);
        writer.commit(transaction);
        writer.flush().expect("written");

        full.store(true, Ordering::Relaxed);
        writer.lease_grant(LeaseId(8), 60, LeaseId::NONE).expect("granted");
        tokio::time::advance(std::time::Duration::from_secs(61)).await;
        assert_eq!(writer.expire_leases(), 2);
        writer.flush().expect_err("full");
        assert_eq!(writer.leases().ids(), [LeaseId(7)], "one was not granted, the other has not ended");
        assert!(writer.snapshot().get(b"a").is_some());

        full.store(false, Ordering::Relaxed);
        tokio::time::advance(std::time::Duration::from_secs(61)).await;
        assert_eq!(writer.expire_leases(), 1);
        writer.flush().expect("written");
        assert!(writer.leases().is_empty() && writer.snapshot().get(b"a").is_none(), "its key went with it");
    }
}
