//! Leases: keys that disappear when their holder stops renewing them.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::commit::Event;
use super::journal::Entry;
use super::record::Record;

/// Id of a lease, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// Not attached to a lease.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Shortest time to live in seconds: what etcd gives with its default election time.
pub const MIN_TTL: i64 = 2;

/// Longest time to live in seconds, etcd's bound.
pub const MAX_TTL: i64 = 9_000_000_000;

/// A lease and the keys attached to it.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Time to live as granted, in seconds.
    pub ttl: i64,
    /// When the lease ends unless it is renewed.
    pub deadline: Instant,
    /// The keys that go with it.
    pub keys: BTreeSet<Bytes>,
}

impl Lease {
    /// Whole seconds left at `now`, never negative.
    pub fn remaining(&self, now: Instant) -> i64 {
        i64::try_from(self.deadline.saturating_duration_since(now).as_secs()).unwrap_or(i64::MAX)
    }
}

/// All leases. Owned by the sequencer, which is the only one that changes or reads them.
#[derive(Debug, Default)]
pub struct Leases {
    leases: HashMap<LeaseId, Lease>,
    /// The lease of each key that has one.
    holders: HashMap<Bytes, LeaseId>,
}

impl Leases {
    /// The lease with this id.
    pub fn get(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// Ids of all leases, in the order in which they will end.
    pub fn ids(&self) -> Vec<LeaseId> {
        let mut ends: Vec<_> = self.leases.iter().map(|(id, lease)| (lease.deadline, *id)).collect();
        ends.sort_unstable();
        ends.into_iter().map(|(_, id)| id).collect()
    }

    /// Number of leases.
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there are no leases.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Ids of the leases whose time is over at `now`.
    pub fn expired(&self, now: Instant) -> Vec<LeaseId> {
        let mut ids: Vec<_> =
            self.leases.iter().filter(|(_, lease)| lease.deadline <= now).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// Adds a lease without keys.
    pub(super) fn insert(&mut self, id: LeaseId, ttl: i64, now: Instant) {
        self.leases.insert(id, Lease { ttl, deadline: now + seconds(ttl), keys: BTreeSet::new() });
    }

    /// Renews a lease for its full time to live, which it returns.
    pub(super) fn renew(&mut self, id: LeaseId, now: Instant) -> Option<i64> {
        let lease = self.leases.get_mut(&id)?;
        lease.deadline = now + seconds(lease.ttl);
        Some(lease.ttl)
    }

    /// Removes a lease.
    pub(super) fn remove(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        for key in &lease.keys {
            self.holders.remove(key);
        }
        Some(lease)
    }

    /// Takes back what `entries` have done to the leases, and attaches the keys as `records` have them. A lease that was
    /// to end lives for its full time once more.
    pub(super) fn undo<'a>(&mut self, entries: &[Entry], records: impl Iterator<Item = &'a Record>, now: Instant) {
        for entry in entries.iter().rev() {
            match entry {
                Entry::LeaseGranted(id, _) => drop(self.leases.remove(id)),
                Entry::LeaseRemoved(id, ttl) => self.insert(*id, *ttl, now),
                Entry::Commit(_) | Entry::Compacted(_) | Entry::Replaced(..) | Entry::Auth(_) | Entry::Cluster(_) => {}
            }
        }
        self.holders.clear();
        self.leases.values_mut().for_each(|lease| lease.keys.clear());
        for record in records {
            self.attach(record.lease, &record.key);
        }
    }

    /// Attaches and detaches a key as an event tells.
    pub(super) fn follow(&mut self, event: &Event) {
        self.attach(event.record.lease, event.key());
    }

    /// Attaches a key to this lease and to no other.
    pub(super) fn attach(&mut self, id: LeaseId, key: &Bytes) {
        let before = self.holders.get(key).copied().unwrap_or(LeaseId::NONE);
        if before == id {
            return;
        }
        if let Some(lease) = self.leases.get_mut(&before) {
            lease.keys.remove(key);
            self.holders.remove(key);
        }
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.keys.insert(key.clone());
            self.holders.insert(key.clone(), id);
        }
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(ttl.unsigned_abs())
}
