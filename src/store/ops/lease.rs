//! Lease operations.

use bytes::Bytes;
use tokio::time::Instant;

use super::OpError;
use crate::store::journal::Entry;
use crate::store::lease::{LeaseId, MAX_TTL, MIN_TTL};
use crate::store::writer::Writer;

/// What is known of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseStatus {
    /// Seconds left.
    pub remaining: i64,
    /// Seconds as granted.
    pub granted: i64,
    /// Keys attached to it, ascending.
    pub keys: Vec<Bytes>,
}

impl Writer {
    /// Grants a lease of `ttl` seconds. `id` zero asks for `fresh`, an id that the caller drew at random. Returns id
    /// and time to live as granted.
    pub fn lease_grant(&mut self, id: LeaseId, ttl: i64, fresh: LeaseId) -> Result<(LeaseId, i64), OpError> {
        self.quota().check()?;
        let id = if id == LeaseId::NONE { fresh } else { id };
        if ttl > MAX_TTL {
            return Err(OpError::LeaseTtlTooLarge);
        }
        if self.leases().get(id).is_some() {
            return Err(OpError::LeaseExists);
        }
        let ttl = ttl.max(MIN_TTL);
        self.leases_mut().insert(id, ttl, Instant::now());
        self.journal(Entry::LeaseGranted(id, ttl));
        Ok((id, ttl))
    }

    /// Ends a lease and deletes its keys, by ascending key and at one revision.
    pub fn lease_revoke(&mut self, id: LeaseId) -> Result<(), OpError> {
        let lease = self.leases_mut().remove(id).ok_or(OpError::LeaseNotFound)?;
        let mut transaction = self.begin();
        for key in &lease.keys {
            if transaction.view().get(key).is_some_and(|record| record.lease == id) {
                transaction.delete(key);
            }
        }
        self.commit(transaction);
        self.journal(Entry::LeaseRemoved(id, lease.ttl));
        Ok(())
    }

    /// Renews a lease and returns its time to live; none if there is no such lease.
    pub fn lease_keep_alive(&mut self, id: LeaseId) -> Option<i64> {
        self.leases_mut().renew(id, Instant::now())
    }

    /// What is known of a lease; none if there is no such lease.
    pub fn lease_status(&self, id: LeaseId) -> Option<LeaseStatus> {
        let lease = self.leases().get(id)?;
        let remaining = lease.remaining(Instant::now());
        Some(LeaseStatus { remaining, granted: lease.ttl, keys: lease.keys.iter().cloned().collect() })
    }

    /// Ends the leases whose time is over, each at a revision of its own. Returns how many there were.
    pub fn expire_leases(&mut self) -> usize {
        let expired = self.leases().expired(Instant::now());
        for id in &expired {
            // The id was listed a moment ago and nothing else runs here.
            let _ = self.lease_revoke(*id);
        }
        expired.len()
    }
}
