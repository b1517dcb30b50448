//! Leases against a plain model: which keys each holds, when it ends, and what a restart keeps.
#![allow(clippy::print_stdout, missing_docs)]

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use confcast::persist::DataDir;
use confcast::store::ops::{DeleteRange, OpError, Put};
use confcast::store::{KeyRange, LeaseId, Retention, Revision, Writer};
use confcast::wire::Identity;
use proptest::prelude::*;
use tokio::time::{Instant, advance};

#[derive(Clone, Debug)]
enum Step {
    Grant(i64, i64),
    Revoke(i64),
    KeepAlive(i64),
    Put(u8, i64),
    Delete(u8, u8),
    Wait(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 1..5_i64;
    prop_oneof![
        4 => (id(), 0..20_i64).prop_map(|(id, ttl)| Step::Grant(id, ttl)),
        1 => id().prop_map(Step::Revoke),
        2 => id().prop_map(Step::KeepAlive),
        6 => (0..6_u8, 0..5_i64).prop_map(|(key, lease)| Step::Put(key, lease)),
        2 => (0..6_u8, 0..7_u8).prop_map(|(from, to)| Step::Delete(from, to)),
        3 => (0..12_u64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

fn key(number: u8) -> Bytes {
    format!("k{number}").into()
}

/// A lease: its time to live, when it ends, and its keys.
type Lease = (i64, Instant, BTreeSet<Bytes>);

#[derive(Default)]
struct Model {
    leases: BTreeMap<i64, Lease>,
    keys: BTreeMap<Bytes, i64>,
    revision: i64,
}

impl Model {
    fn detach(&mut self, key: &Bytes) {
        for (_, _, keys) in self.leases.values_mut() {
            keys.remove(key);
        }
    }

    fn end(&mut self, id: i64) {
        let Some((_, _, keys)) = self.leases.remove(&id) else { return };
        for key in &keys {
            self.keys.remove(key);
        }
        self.revision += i64::from(!keys.is_empty());
    }
}

fn open(path: &std::path::Path) -> Writer {
    let identity = Identity { cluster_id: 1, member_id: 1, raft_term: 2 };
    let opened = DataDir::open(path, Revision(0), identity).expect("it opens");
    Writer::new(opened.restored, Retention::default(), Box::new(opened.dir)).0
}

async fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = open(dir.path());
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Grant(id, ttl) => {
                let granted = writer.lease_grant(LeaseId(id), ttl, LeaseId::NONE);
                let ttl = ttl.max(2);
                let end = Instant::now() + Duration::from_secs(ttl.unsigned_abs());
                match model.leases.entry(id) {
                    Entry::Occupied(_) => assert_eq!(granted, Err(OpError::LeaseExists)),
                    Entry::Vacant(place) => {
                        assert_eq!(granted, Ok((LeaseId(id), ttl)));
                        place.insert((ttl, end, BTreeSet::new()));
                    }
                }
            }
            Step::Revoke(id) => {
                let revoked = writer.lease_revoke(LeaseId(id));
                assert_eq!(revoked.is_ok(), model.leases.contains_key(&id));
                model.end(id);
            }
            Step::KeepAlive(id) => {
                let kept = writer.lease_keep_alive(LeaseId(id));
                let lease = model.leases.get_mut(&id);
                assert_eq!(kept, lease.as_ref().map(|(ttl, ..)| *ttl));
                if let Some((ttl, end, _)) = lease {
                    *end = Instant::now() + Duration::from_secs(ttl.unsigned_abs());
                }
            }
            Step::Put(number, lease) => {
                let put = Put {
                    key: key(number),
                    value: Bytes::new(),
                    lease: LeaseId(lease),
                    ignore_value: false,
                    ignore_lease: false,
                };
                let done = writer.put(&put).map(drop);
                let known = lease == 0 || model.leases.contains_key(&lease);
                assert_eq!(done, if known { Ok(()) } else { Err(OpError::LeaseNotFound) });
                if known {
                    model.detach(&key(number));
                    model.keys.insert(key(number), lease);
                    if let Some((_, _, keys)) = model.leases.get_mut(&lease) {
                        keys.insert(key(number));
                    }
                    model.revision += 1;
                }
            }
            Step::Delete(from, to) => {
                let range = KeyRange::from_wire(key(from), key(to));
                let gone: Vec<_> = model.keys.keys().filter(|key| range.contains(key)).cloned().collect();
                for key in &gone {
                    model.detach(key);
                    model.keys.remove(key);
                }
                model.revision += i64::from(!gone.is_empty());
                writer.delete_range(&DeleteRange { range }).expect("allowed");
            }
            Step::Wait(seconds) => {
                advance(Duration::from_secs(seconds)).await;
                let over: Vec<_> =
                    model.leases.iter().filter(|(_, lease)| lease.1 <= Instant::now()).map(|(id, _)| *id).collect();
                let ended = writer.expire_leases();
                assert_eq!(ended, over.len());
                over.into_iter().for_each(|id| model.end(id));
            }
            Step::Restart => {
                drop(writer);
                writer = open(dir.path());
                // A holder could not renew its lease meanwhile.
                for (ttl, end, _) in model.leases.values_mut() {
                    *end = Instant::now() + Duration::from_secs(ttl.unsigned_abs());
                }
            }
        }
        writer.flush().expect("durable");
        check(&writer, &model);
    }
}

fn check(writer: &Writer, model: &Model) {
    assert_eq!(writer.leases().len(), model.leases.len());
    let all = model.leases.keys().map(|id| (*id, writer.lease_status(LeaseId(*id))));
    for (id, status) in all {
        let (ttl, end, keys) = &model.leases[&id];
        let status = status.expect("it is there");
        assert_eq!((status.granted, status.keys), (*ttl, keys.iter().cloned().collect()));
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        assert_eq!(status.remaining.unsigned_abs(), left);
    }
    let snapshot = writer.snapshot();
    assert_eq!(snapshot.revision().0, model.revision);
    let records: BTreeMap<_, _> =
        snapshot.range(&KeyRange::all()).map(|record| (record.key.clone(), record.lease.0)).collect();
    assert_eq!(records, model.keys);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn leases_hold_their_keys_and_end_in_time(steps in prop::collection::vec(step(), 1..60)) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(run(steps));
    }
}
