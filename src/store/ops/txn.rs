//! Txn: comparisons, then one of two lists of operations, all at one revision.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::OpError;
use super::range::{Range, RangeResult};
use super::write::{DeleteRange, Put};
use crate::store::key_range::KeyRange;
use crate::store::lease::{LeaseId, Leases};
use crate::store::record::Record;
use crate::store::revision::Revision;
use crate::store::snapshot::{ReadError, Snapshot, View};
use crate::store::transaction::Transaction;
use crate::store::writer::Writer;

/// A transaction.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    /// All must hold for the success side to be taken.
    pub compare: Vec<Compare>,
    /// Operations if they do.
    pub success: Vec<Op>,
    /// Operations if one does not.
    pub failure: Vec<Op>,
}

/// A comparison of every key in a range with a value.
#[derive(Clone, Debug)]
pub struct Compare {
    /// Which keys.
    pub range: KeyRange,
    /// What the key's field must be in relation to the target.
    pub relation: Relation,
    /// The field and what it is compared with.
    pub target: Target,
}

/// How a field must relate to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same.
    Equal,
    /// Above it.
    Greater,
    /// Below it.
    Less,
    /// Not the same.
    NotEqual,
}

/// A field of a key and the number or value that it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The number of changes, 0 if the key does not exist.
    Version(i64),
    /// The revision of creation, 0 if the key does not exist.
    Create(Revision),
    /// The revision of the last change, 0 if the key does not exist.
    Mod(Revision),
    /// The lease, 0 if the key does not exist.
    Lease(LeaseId),
    /// The value. No comparison with a key that does not exist holds.
    Value(Bytes),
}

/// One operation of a transaction.
#[derive(Clone, Debug)]
pub enum Op {
    /// Reads at a revision, zero for the state that the transaction has made so far.
    Range(Range, Revision),
    /// Puts a key.
    Put(Put),
    /// Deletes keys.
    DeleteRange(DeleteRange),
    /// Runs a transaction inside.
    Txn(Txn),
}

/// What an operation answered.
#[derive(Clone, Debug)]
pub enum OpResult {
    /// What was read.
    Range(RangeResult),
    /// What the key was before.
    Put(Option<Arc<Record>>),
    /// What was deleted.
    DeleteRange(Vec<Arc<Record>>),
    /// The inner transaction's answer.
    Txn(TxnResult),
}

/// The answer of a transaction.
#[derive(Clone, Debug, Default)]
pub struct TxnResult {
    /// Whether every comparison held.
    pub succeeded: bool,
    /// Answers of the operations that were run, in order, each with the revision as it was after the operation: the
    /// transaction's from its first change on.
    pub results: Vec<(OpResult, Revision)>,
}

impl Txn {
    /// Whether the transaction can change nothing.
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| match op {
            Op::Range(..) => true,
            Op::Put(_) | Op::DeleteRange(_) => false,
            Op::Txn(inner) => inner.is_read_only(),
        })
    }

    /// Whether it has a put anywhere.
    fn may_put(&self) -> bool {
        self.success.iter().chain(&self.failure).any(|op| match op {
            Op::Put(_) => true,
            Op::Range(..) | Op::DeleteRange(_) => false,
            Op::Txn(inner) => inner.may_put(),
        })
    }

    /// The checks that need no state: keys and duplicate puts. How many operations there may be is decided where they come
    /// from.
    pub fn check(&self) -> Result<(), OpError> {
        self.check_each_put()?;
        check_duplicates(&self.success)?;
        check_duplicates(&self.failure)?;
        Ok(())
    }

    fn check_each_put(&self) -> Result<(), OpError> {
        for op in self.success.iter().chain(&self.failure) {
            match op {
                Op::Put(put) => put.check()?,
                Op::Txn(inner) => inner.check_each_put()?,
                Op::Range(..) | Op::DeleteRange(_) => {}
            }
        }
        Ok(())
    }

    /// Runs a transaction that only reads, at one point in time.
    pub fn read(&self, snapshot: &Snapshot) -> Result<TxnResult, OpError> {
        self.check_ranges(snapshot)?;
        let mut transaction = Transaction::new(snapshot.revision(), snapshot.index().clone());
        self.run(&mut transaction, snapshot)
    }

    /// The side that the comparisons choose, and whether they held. The comparisons of inner transactions see the state
    /// before the whole transaction, as in etcd.
    fn side(&self, history: &Snapshot) -> (bool, &[Op]) {
        let succeeded = self.compare.iter().all(|compare| compare.holds(history.current()));
        (succeeded, if succeeded { &self.success } else { &self.failure })
    }

    /// Whether all puts that will run can be done. All of them are looked at before any range, as by etcd, so that of
    /// several errors a client gets the same one.
    fn check_puts(&self, history: &Snapshot, leases: &Leases) -> Result<(), OpError> {
        self.side(history).1.iter().try_for_each(|op| match op {
            // In this order, other than outside of a transaction.
            Op::Put(put) => put.check_existing(history.current()).and_then(|()| put.check_lease(leases)),
            Op::Txn(inner) => inner.check_puts(history, leases),
            Op::Range(..) | Op::DeleteRange(_) => Ok(()),
        })
    }

    /// Whether all revisions that will be read can be.
    fn check_ranges(&self, history: &Snapshot) -> Result<(), OpError> {
        self.side(history).1.iter().try_for_each(|op| match op {
            Op::Range(_, Revision::ZERO) | Op::Put(_) | Op::DeleteRange(_) => Ok(()),
            // A negative revision means now, but inside of a transaction etcd compares it with the floor first.
            Op::Range(_, revision) if *revision < history.compacted() => Err(ReadError::Compacted.into()),
            Op::Range(_, revision) => history.at(*revision).map(drop).map_err(Into::into),
            Op::Txn(inner) => inner.check_ranges(history),
        })
    }

    /// Runs the side that the comparisons choose.
    fn run(&self, transaction: &mut Transaction, history: &Snapshot) -> Result<TxnResult, OpError> {
        let (succeeded, ops) = self.side(history);
        let mut results = Vec::with_capacity(ops.len());
        for op in ops {
            let result = op.run(transaction, history)?;
            let revision = if transaction.is_empty() { history.revision() } else { transaction.revision() };
            results.push((result, revision));
        }
        Ok(TxnResult { succeeded, results })
    }
}

impl Op {
    fn run(&self, transaction: &mut Transaction, history: &Snapshot) -> Result<OpResult, OpError> {
        Ok(match self {
            Self::Range(range, revision) => {
                let now = *revision <= Revision::ZERO;
                let view = if now { transaction.view() } else { history.at(*revision)? };
                OpResult::Range(range.read(view))
            }
            Self::Put(put) => {
                // Once more: a deletion before it may have taken what it wants to keep, on which etcd dies.
                put.check_existing(transaction.view())?;
                OpResult::Put(put.apply(transaction))
            }
            Self::DeleteRange(delete) => {
                delete.check_state(transaction.view())?;
                OpResult::DeleteRange(transaction.delete_range(&delete.range))
            }
            Self::Txn(inner) => OpResult::Txn(inner.run(transaction, history)?),
        })
    }
}

impl Compare {
    fn holds(&self, view: View<'_>) -> bool {
        let mut keys = view.range(&self.range).peekable();
        if keys.peek().is_none() {
            return self.holds_for(None);
        }
        keys.all(|record| self.holds_for(Some(record)))
    }

    fn holds_for(&self, record: Option<&Arc<Record>>) -> bool {
        let ordering = match &self.target {
            Target::Version(version) => record.map_or(0, |record| record.version).cmp(version),
            Target::Create(revision) => record.map_or(Revision::ZERO, |record| record.create_revision).cmp(revision),
            Target::Mod(revision) => record.map_or(Revision::ZERO, |record| record.mod_revision).cmp(revision),
            Target::Lease(lease) => record.map_or(LeaseId::NONE, |record| record.lease).cmp(lease),
            Target::Value(value) => match record {
                Some(record) => record.value.cmp(value),
                None => return false,
            },
        };
        match self.relation {
            Relation::Equal => ordering.is_eq(),
            Relation::Greater => ordering.is_gt(),
            Relation::Less => ordering.is_lt(),
            Relation::NotEqual => ordering.is_ne(),
        }
    }
}

/// What one side of a transaction writes: keys put, and ranges deleted.
#[derive(Default)]
struct Writes {
    puts: HashSet<Bytes>,
    deletes: Vec<KeyRange>,
}

impl Writes {
    fn put(&mut self, key: &Bytes) -> Result<(), OpError> {
        let clash = self.deletes.iter().any(|range| range.contains(key)) || !self.puts.insert(key.clone());
        if clash { Err(OpError::DuplicateKey) } else { Ok(()) }
    }
}

/// Refuses a put of a key that is put or deleted elsewhere in the same list. The two sides of an inner transaction
/// may name the same key, as only one of them runs; deletions may overlap.
///
/// Looks at deletions, then at inner transactions in their order, then at puts, as etcd does. So a put in an inner
/// transaction and a deletion in a later one go unseen, and so does a range without an end; clients may count on it.
fn check_duplicates(ops: &[Op]) -> Result<Writes, OpError> {
    let mut all = Writes::default();
    for op in ops {
        if let Op::DeleteRange(delete) = op
            && delete.range.end().is_some()
        {
            all.deletes.push(delete.range.clone());
        }
    }
    for op in ops {
        let Op::Txn(inner) = op else { continue };
        let (success, failure) = (check_duplicates(&inner.success)?, check_duplicates(&inner.failure)?);
        for key in &success.puts {
            all.put(key)?;
        }
        for key in failure.puts.difference(&success.puts) {
            all.put(key)?;
        }
        all.deletes.extend(success.deletes);
        all.deletes.extend(failure.deletes);
    }
    for op in ops {
        if let Op::Put(put) = op {
            all.put(&put.key)?;
        }
    }
    Ok(all)
}

impl Writer {
    /// Runs a transaction: all of it at one revision, or nothing.
    pub fn txn(&mut self, txn: &Txn) -> Result<TxnResult, OpError> {
        // As by etcd, even if what would be done is only to read, or to delete.
        let may_put = txn.may_put();
        if may_put {
            self.quota().check()?;
        }
        txn.check()?;
        txn.check_puts(self.snapshot(), self.leases())?;
        txn.check_ranges(self.snapshot())?;
        let mut transaction = self.begin();
        let result = txn.run(&mut transaction, self.snapshot())?;
        if may_put {
            self.commit_within_quota(transaction)?;
        } else {
            self.commit(transaction);
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryOnly, Restored, Retention};

    #[test]
    fn a_put_that_keeps_what_the_transaction_has_deleted_undoes_all_of_it() {
        let (mut writer, _) = Writer::new(Restored::empty_at(Revision(1)), Retention::default(), Box::new(MemoryOnly));
        let put = |key: &'static str, ignore_value| Put {
            key: key.into(),
            value: Bytes::new(),
            lease: LeaseId::NONE,
            ignore_value,
            ignore_lease: false,
        };
        writer.put(&put("a", false)).expect("fine");
        let range = KeyRange::from_wire("a".into(), Bytes::from_static(b"\0"));
        let success = vec![Op::Put(put("b", false)), Op::DeleteRange(DeleteRange { range }), Op::Put(put("a", true))];
        let refused = writer.txn(&Txn { success, ..Txn::default() });
        assert_eq!(refused.expect_err("it has nothing to keep"), OpError::KeyNotFound);
        assert_eq!((writer.snapshot().revision(), writer.snapshot().len()), (Revision(2), 1));
    }
}
