//! A model of etcd: what its documentation promises, and nothing that it does not.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use confcast::pb::etcdserverpb::compare::{CompareTarget, TargetUnion};
use confcast::pb::etcdserverpb::request_op::Request;
use confcast::pb::etcdserverpb::{
    Compare, RangeRequest, RangeResponse, ResponseHeader, ResponseOp, TxnRequest, TxnResponse, response_op,
};
use confcast::pb::mvccpb::KeyValue;
use confcast::publish::Limits;
use confcast::publish::held::Change;
use confcast::store::{KeyRange, Revision};
use tokio::time::Instant;

/// What etcd refuses with.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    LeaseGone,
    TooLarge,
}

/// One revision, and what it changed.
#[derive(Clone, Debug)]
pub struct Commit {
    pub revision: Revision,
    pub changes: Vec<Change>,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    ends: Instant,
}

/// The state.
#[derive(Debug, Default)]
pub struct Etcd {
    pub revision: i64,
    pub compacted: i64,
    pub keys: BTreeMap<Bytes, KeyValue>,
    pub commits: Vec<Commit>,
    leases: BTreeMap<i64, Lease>,
    granted: i64,
    /// Number of commits that were taken by [`news`](Etcd::news).
    told: usize,
}

/// etcd looks at leases twice a second.
pub const LEASE_TICK: Duration = Duration::from_millis(500);

impl Etcd {
    fn header(&self) -> ResponseHeader {
        ResponseHeader { revision: self.revision, ..ResponseHeader::default() }
    }

    pub fn grant(&mut self, ttl: Duration, now: Instant) -> i64 {
        self.granted += 1;
        self.leases.insert(self.granted, Lease { ttl, ends: now + ttl });
        self.granted
    }

    /// How long the lease lives from now on; zero if it is gone.
    pub fn keep(&mut self, id: i64, now: Instant) -> Duration {
        let Some(lease) = self.leases.get_mut(&id) else { return Duration::ZERO };
        lease.ends = now + lease.ttl;
        lease.ttl
    }

    pub fn revoke(&mut self, id: i64) {
        if self.leases.remove(&id).is_none() {
            return;
        }
        let keys: Vec<_> = self.keys.values().filter(|pair| pair.lease == id).map(|pair| pair.key.clone()).collect();
        if !keys.is_empty() {
            let changes = keys.into_iter().map(|key| (key, None)).collect();
            self.commit(changes);
        }
    }

    pub fn expire(&mut self, now: Instant) {
        let over: Vec<_> = self.leases.iter().filter(|(_, lease)| lease.ends <= now).map(|(id, _)| *id).collect();
        over.into_iter().for_each(|id| self.revoke(id));
    }

    pub fn range(&self, request: &RangeRequest) -> RangeResponse {
        let range = KeyRange::from_wire(request.key.clone(), request.range_end.clone());
        let kvs: Vec<_> = self.keys.values().filter(|pair| range.contains(&pair.key)).cloned().collect();
        RangeResponse { header: Some(self.header()), count: kvs.len().try_into().expect("few"), more: false, kvs }
    }

    pub fn txn(&mut self, request: &TxnRequest, limits: Limits) -> Result<TxnResponse, Refusal> {
        let most = request.compare.len().max(request.success.len()).max(request.failure.len());
        if most > limits.operations || prost::Message::encoded_len(request) > limits.bytes {
            return Err(Refusal::TooLarge);
        }
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        let operations = if succeeded { &request.success } else { &request.failure };
        let (mut responses, mut changes) = (Vec::new(), Vec::new());
        for operation in operations {
            match operation.request.as_ref().expect("an operation") {
                Request::RequestRange(range) => {
                    let response = response_op::Response::ResponseRange(self.range(range));
                    responses.push(ResponseOp { response: Some(response) });
                }
                Request::RequestPut(put) => {
                    let there = self.keys.get(&put.key);
                    assert!(there.is_some() || !put.ignore_value, "key not found");
                    let lease = if put.ignore_lease { there.map_or(0, |pair| pair.lease) } else { put.lease };
                    if lease != 0 && !self.leases.contains_key(&lease) {
                        return Err(Refusal::LeaseGone);
                    }
                    let old = || there.expect("it is there").value.clone();
                    let value = if put.ignore_value { old() } else { put.value.clone() };
                    changes.push((put.key.clone(), Some((value, lease))));
                }
                Request::RequestDeleteRange(delete) => {
                    if self.keys.contains_key(&delete.key) {
                        changes.push((delete.key.clone(), None));
                    }
                }
                Request::RequestTxn(_) => unreachable!("publishers send none"),
            }
        }
        if !changes.is_empty() {
            self.commit(changes);
        }
        Ok(TxnResponse { header: Some(self.header()), succeeded, responses })
    }

    /// A write of somebody else.
    pub fn write(&mut self, key: &Bytes, value: Option<Bytes>) {
        if value.is_some() || self.keys.contains_key(key) {
            self.commit(vec![(key.clone(), value.map(|value| (value, 0)))]);
        }
    }

    /// Commits since the last call.
    pub fn news(&mut self) -> Vec<Commit> {
        let news = self.commits[self.told..].to_vec();
        self.told = self.commits.len();
        news
    }

    fn holds(&self, compare: &Compare) -> bool {
        let pair = self.keys.get(&compare.key);
        match (compare.target(), compare.target_union.as_ref()) {
            (CompareTarget::Create, Some(TargetUnion::CreateRevision(wanted))) => {
                pair.map_or(0, |pair| pair.create_revision) == *wanted
            }
            (CompareTarget::Mod, Some(TargetUnion::ModRevision(wanted))) => {
                pair.map_or(0, |pair| pair.mod_revision) == *wanted
            }
            other => unreachable!("publishers do not compare {other:?}"),
        }
    }

    fn commit(&mut self, changes: Vec<(Bytes, Option<(Bytes, i64)>)>) {
        self.revision += 1;
        let revision = Revision(self.revision);
        let mut commit = Commit { revision, changes: Vec::new() };
        for (key, change) in changes {
            let value = change.as_ref().map(|(value, _)| value.clone());
            assert!(commit.changes.iter().all(|other| other.key != key), "duplicate key given in txn request");
            commit.changes.push(Change { key: key.clone(), value, revision });
            match change {
                None => drop(self.keys.remove(&key)),
                Some((value, lease)) => {
                    let old = self.keys.get(&key);
                    let create_revision = old.map_or(self.revision, |old| old.create_revision);
                    let version = old.map_or(1, |old| old.version + 1);
                    let pair = KeyValue {
                        key: key.clone(),
                        value,
                        lease,
                        create_revision,
                        version,
                        mod_revision: self.revision,
                    };
                    self.keys.insert(key, pair);
                }
            }
        }
        self.commits.push(commit);
    }
}
