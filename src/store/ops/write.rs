//! Put, `DeleteRange` and Compact.

use std::sync::Arc;

use bytes::Bytes;

use super::OpError;
use crate::store::key_range::KeyRange;
use crate::store::lease::{LeaseId, Leases};
use crate::store::record::{Origin, Record};
use crate::store::revision::Revision;
use crate::store::snapshot::{ReadError, View};
use crate::store::transaction::Transaction;
use crate::store::writer::Writer;

/// A Put by a client.
#[derive(Clone, Debug)]
pub struct Put {
    /// The key, not empty.
    pub key: Bytes,
    /// The new value; must be empty with `ignore_value`.
    pub value: Bytes,
    /// The lease to attach to; must be none with `ignore_lease`.
    pub lease: LeaseId,
    /// Keep the value that the key has.
    pub ignore_value: bool,
    /// Keep the lease that the key has.
    pub ignore_lease: bool,
}

/// A `DeleteRange` by a client.
#[derive(Clone, Debug)]
pub struct DeleteRange {
    /// Which keys.
    pub range: KeyRange,
}

impl Put {
    /// The checks that need no state.
    pub fn check(&self) -> Result<(), OpError> {
        if self.key.is_empty() {
            Err(OpError::EmptyKey)
        } else if self.ignore_value && !self.value.is_empty() {
            Err(OpError::ValueProvided)
        } else if self.ignore_lease && self.lease != LeaseId::NONE {
            Err(OpError::LeaseProvided)
        } else {
            Ok(())
        }
    }

    /// Whether the lease exists.
    pub(super) fn check_lease(&self, leases: &Leases) -> Result<(), OpError> {
        let known = self.lease == LeaseId::NONE || leases.get(self.lease).is_some();
        if known { Ok(()) } else { Err(OpError::LeaseNotFound) }
    }

    /// The checks against the key that the put will find.
    pub(super) fn check_existing(&self, view: View<'_>) -> Result<(), OpError> {
        let existing = view.get(&self.key);
        if (self.ignore_value || self.ignore_lease) && existing.is_none() {
            return Err(OpError::KeyNotFound);
        }
        existing.filter(|old| !self.repeats(old)).map_or(Ok(()), |old| check_client_may_change(old))
    }

    /// Does the put, after [`check_lease`](Self::check_lease) and [`check_existing`](Self::check_existing).
    pub(super) fn apply(&self, transaction: &mut Transaction) -> Option<Arc<Record>> {
        let existing = transaction.view().get(&self.key).cloned();
        if let Some(old) = &existing
            && old.origin == Origin::Source
        {
            // Only a repetition of what the source holds gets here, and it changes nothing: `apisix init` puts the
            // directory placeholders anew at each start, and an event for each would make every worker rebuild.
            return existing;
        }
        let (mut value, mut lease) = (self.value.clone(), self.lease);
        if let Some(old) = &existing {
            if self.ignore_value {
                value = old.value.clone();
            }
            if self.ignore_lease {
                lease = old.lease;
            }
        }
        transaction.put(self.key.clone(), value, lease, Origin::Client)
    }

    /// Whether the put would leave a key of the source just as it is.
    fn repeats(&self, old: &Record) -> bool {
        old.origin == Origin::Source && !self.ignore_value && self.value == old.value && self.lease == old.lease
    }
}

impl DeleteRange {
    pub(super) fn check_state(&self, view: View<'_>) -> Result<(), OpError> {
        view.range(&self.range).try_for_each(|record| check_client_may_change(record))
    }
}

fn check_client_may_change(record: &Record) -> Result<(), OpError> {
    match record.origin {
        Origin::Client => Ok(()),
        Origin::Source => Err(OpError::OwnedBySource(String::from_utf8_lossy(&record.key).into_owned())),
    }
}

impl Writer {
    /// Puts a key. Returns what it was before.
    pub fn put(&mut self, put: &Put) -> Result<Option<Arc<Record>>, OpError> {
        put.check()?;
        // First, as by etcd. What changes nothing needs no room.
        if let Err(full) = self.quota().check()
            && !self.snapshot().get(&put.key).is_some_and(|old| put.repeats(old))
        {
            return Err(full);
        }
        let mut transaction = self.begin();
        put.check_lease(self.leases())?;
        put.check_existing(transaction.view())?;
        let previous = put.apply(&mut transaction);
        self.commit_within_quota(transaction)?;
        Ok(previous)
    }

    /// Deletes keys. Returns what they were, by ascending key.
    pub fn delete_range(&mut self, delete: &DeleteRange) -> Result<Vec<Arc<Record>>, OpError> {
        let mut transaction = self.begin();
        delete.check_state(transaction.view())?;
        let deleted = transaction.delete_range(&delete.range);
        self.commit(transaction);
        Ok(deleted)
    }

    /// Gives up the history before `revision`.
    pub fn compact_to(&mut self, revision: Revision) -> Result<(), OpError> {
        if revision > self.snapshot().revision() {
            return Err(ReadError::Future.into());
        }
        if revision <= self.snapshot().compacted() {
            return Err(ReadError::Compacted.into());
        }
        self.compact(revision);
        Ok(())
    }
}
