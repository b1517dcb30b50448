//! Random requests. Revisions in them are relative, and become those of each server when they are sent.

use bytes::Bytes;
use confcast::pb::etcdserverpb::compare::TargetUnion;
use confcast::pb::etcdserverpb::request_op::Request as Op;
use confcast::pb::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Stands for the current revision in a request; what is below or above it is as far before or after.
pub const NOW: i64 = 1_000_000;

/// One step of a history.
#[derive(Clone, Debug)]
pub enum Step {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(LeaseRevokeRequest),
    KeepAlive(LeaseKeepAliveRequest),
    TimeToLive(LeaseTimeToLiveRequest),
    Leases(LeaseLeasesRequest),
    /// Opens a gRPC stream with a first watcher.
    Watch(WatchCreateRequest),
    /// Makes another watcher on one of the streams.
    More(prop::sample::Index, WatchCreateRequest),
    /// Cancels a watcher on one of the streams.
    Cancel(prop::sample::Index, i64),
    /// Opens a stream of the gateway with all that is ever asked on it.
    GatewayWatch(Vec<WatchCreateRequest>),
}

/// A step, and whether its unary request goes through the gateway.
pub type History = Vec<(Step, bool)>;

pub fn history() -> impl Strategy<Value = History> {
    let step = prop_oneof![
        10 => range().prop_map(Step::Range),
        10 => put().prop_map(Step::Put),
        4 => delete().prop_map(Step::Delete),
        8 => txn(2).prop_map(|mut txn| {
            spare(&mut txn);
            Step::Txn(txn)
        }),
        1 => (revision(), any::<bool>())
            .prop_map(|(revision, physical)| Step::Compact(CompactionRequest { revision, physical })),
        2 => (lease(), select(vec![100, 200, 9_000_000_001]))
            .prop_map(|(id, ttl)| Step::Grant(LeaseGrantRequest { id: id.max(1), ttl })),
        1 => lease().prop_map(|id| Step::Revoke(LeaseRevokeRequest { id })),
        1 => lease().prop_map(|id| Step::KeepAlive(LeaseKeepAliveRequest { id })),
        1 => (lease(), any::<bool>())
            .prop_map(|(id, keys)| Step::TimeToLive(LeaseTimeToLiveRequest { id, keys })),
        1 => Just(Step::Leases(LeaseLeasesRequest {})),
        2 => watch().prop_map(Step::Watch),
        2 => (any::<prop::sample::Index>(), watch()).prop_map(|(stream, watch)| Step::More(stream, watch)),
        1 => (any::<prop::sample::Index>(), -1..4_i64).prop_map(|(stream, id)| Step::Cancel(stream, id)),
        1 => vec(watch(), 1..3).prop_map(Step::GatewayWatch),
    ];
    vec((step, any::<bool>()), 1..90)
}

fn bytes(text: &'static [u8]) -> Bytes {
    Bytes::from_static(text)
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        12 => select(vec!["a", "b", "c", "d", "a/1", "a/2"]).prop_map(Bytes::from),
        1 => Just(bytes(b"\0")),
        1 => Just(bytes(b"\xff\xfe")),
        1 => Just(Bytes::new()),
    ]
}

fn keys() -> impl Strategy<Value = (Bytes, Bytes)> {
    prop_oneof![
        4 => key().prop_map(|key| (key, Bytes::new())),
        2 => (key(), key()),
        1 => key().prop_map(|key| (key, bytes(b"\0"))),
        1 => Just((bytes(b"a/"), bytes(b"a0"))),
        1 => Just((bytes(b"\0"), bytes(b"\0"))),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => select(vec!["1", "2", "3"]).prop_map(Bytes::from),
        1 => Just(Bytes::new()),
        1 => Just(bytes(b"\0\xff\"\\<&\n")),
        1 => (0..3000_usize).prop_map(|length| vec![b'x'; length].into()),
    ]
}

fn lease() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0), 3 => 1..4_i64]
}

/// Any, now, some revisions ago, or ahead.
fn revision() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 1 => Just(-1), 4 => (0..12_i64).prop_map(|back| NOW - back), 1 => Just(NOW + 1)]
}

/// A bound, mostly none.
fn bound() -> impl Strategy<Value = i64> {
    prop_oneof![16 => Just(0), 1 => Just(-1), 2 => (0..12_i64).prop_map(|back| NOW - back)]
}

fn range() -> impl Strategy<Value = RangeRequest> {
    let numbers = (-1..4_i64, revision(), 0..3_i32, 0..5_i32);
    let flags = (any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    (keys(), numbers, flags, (bound(), bound(), bound(), bound())).prop_map(
        |((key, range_end), (limit, revision, order, target), (serializable, keys_only, count_only), bounds)| {
            RangeRequest {
                key,
                range_end,
                limit,
                revision,
                sort_order: order,
                sort_target: target,
                serializable,
                keys_only,
                count_only,
                min_mod_revision: bounds.0,
                max_mod_revision: bounds.1,
                min_create_revision: bounds.2,
                max_create_revision: bounds.3,
            }
        },
    )
}

fn put() -> impl Strategy<Value = PutRequest> {
    let ignore = (prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    (key(), value(), lease(), any::<bool>(), ignore).prop_map(
        |(key, value, lease, prev_kv, (ignore_value, ignore_lease))| {
            // Mostly in the way in which it makes sense.
            let value = if ignore_value && prev_kv { Bytes::new() } else { value };
            let lease = if ignore_lease && prev_kv { 0 } else { lease };
            PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease }
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (keys(), any::<bool>()).prop_map(|((key, range_end), prev_kv)| DeleteRangeRequest { key, range_end, prev_kv })
}

fn compare() -> impl Strategy<Value = Compare> {
    let target = prop_oneof![
        (0..3_i64).prop_map(TargetUnion::Version),
        revision().prop_map(TargetUnion::CreateRevision),
        revision().prop_map(TargetUnion::ModRevision),
        value().prop_map(TargetUnion::Value),
        lease().prop_map(TargetUnion::Lease),
    ];
    let named = prop::option::weighted(0.1, 0..5_i32);
    (keys(), 0..4_i32, target, named).prop_map(|((key, range_end), result, target, named)| {
        let own = match target {
            TargetUnion::Version(_) => 0,
            TargetUnion::CreateRevision(_) => 1,
            TargetUnion::ModRevision(_) => 2,
            TargetUnion::Value(_) => 3,
            TargetUnion::Lease(_) => 4,
        };
        Compare { result, target: named.unwrap_or(own), key, range_end, target_union: Some(target) }
    })
}

fn txn(depth: u32) -> BoxedStrategy<TxnRequest> {
    let leaf = prop_oneof![
        3 => range().prop_map(Op::RequestRange),
        5 => put().prop_map(Op::RequestPut),
        2 => delete().prop_map(Op::RequestDeleteRange),
    ];
    let op = if depth == 0 {
        leaf.boxed()
    } else {
        prop_oneof![8 => leaf, 1 => txn(depth - 1).prop_map(Op::RequestTxn)].boxed()
    };
    let ops = vec(prop::option::weighted(0.98, op).prop_map(|request| RequestOp { request }), 0..4);
    (vec(compare(), 0..3), ops.clone(), ops)
        .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
        .boxed()
}

/// Takes out what etcd dies of: a put that keeps the value of a key which the transaction has deleted. Only a deletion
/// without an end can come before such a put.
fn spare(txn: &mut TxnRequest) {
    fn ops(txn: &mut TxnRequest) -> impl Iterator<Item = &mut Op> {
        txn.success.iter_mut().chain(&mut txn.failure).filter_map(|op| op.request.as_mut())
    }
    fn deletes_to_the_end(txn: &mut TxnRequest) -> bool {
        ops(txn).any(|op| match op {
            Op::RequestDeleteRange(delete) => delete.range_end.as_ref() == b"\0",
            Op::RequestTxn(inner) => deletes_to_the_end(inner),
            _ => false,
        })
    }
    fn keep_nothing(txn: &mut TxnRequest) {
        ops(txn).for_each(|op| match op {
            Op::RequestPut(put) => (put.ignore_value, put.ignore_lease) = (false, false),
            Op::RequestTxn(inner) => keep_nothing(inner),
            _ => {}
        });
    }
    if deletes_to_the_end(txn) {
        keep_nothing(txn);
    }
}

fn watch() -> impl Strategy<Value = WatchCreateRequest> {
    let start =
        prop_oneof![4 => Just(0), 4 => (0..12_i64).prop_map(|back| NOW - back), 1 => (1..4_i64).prop_map(|n| NOW + n)];
    let id = prop_oneof![3 => Just(0), 1 => 1..4_i64, 1 => Just(-7)];
    let filters = prop_oneof![4 => Just(vec![]), 1 => Just(vec![0]), 1 => Just(vec![1]), 1 => Just(vec![1, 0])];
    (keys(), start, id, filters, (any::<bool>(), any::<bool>())).prop_map(
        |((key, range_end), start_revision, watch_id, filters, (prev_kv, fragment))| WatchCreateRequest {
            key,
            range_end,
            start_revision,
            progress_notify: false,
            filters,
            prev_kv,
            watch_id,
            fragment,
        },
    )
}

/// Puts the revisions of a server, whose current one this is, into a request.
pub trait At: Clone {
    fn set(&mut self, now: i64);

    fn at(&self, now: i64) -> Self {
        let mut request = self.clone();
        request.set(now);
        request
    }
}

fn shift(revision: &mut i64, now: i64) {
    if *revision > NOW / 2 {
        *revision += now - NOW;
    }
}

impl At for RangeRequest {
    fn set(&mut self, now: i64) {
        shift(&mut self.revision, now);
        shift(&mut self.min_mod_revision, now);
        shift(&mut self.max_mod_revision, now);
        shift(&mut self.min_create_revision, now);
        shift(&mut self.max_create_revision, now);
    }
}

impl At for TxnRequest {
    fn set(&mut self, now: i64) {
        for compare in &mut self.compare {
            if let Some(TargetUnion::CreateRevision(revision) | TargetUnion::ModRevision(revision)) =
                &mut compare.target_union
            {
                shift(revision, now);
            }
        }
        for op in self.success.iter_mut().chain(&mut self.failure) {
            match &mut op.request {
                Some(Op::RequestRange(range)) => range.set(now),
                Some(Op::RequestTxn(txn)) => txn.set(now),
                _ => {}
            }
        }
    }
}

impl At for CompactionRequest {
    fn set(&mut self, now: i64) {
        shift(&mut self.revision, now);
    }
}

impl At for WatchCreateRequest {
    fn set(&mut self, now: i64) {
        shift(&mut self.start_revision, now);
    }
}

macro_rules! without_revisions {
    ($($request:ident),*) => { $(impl At for $request { fn set(&mut self, _: i64) {} })* };
}
without_revisions!(
    PutRequest,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    LeaseKeepAliveRequest,
    LeaseTimeToLiveRequest,
    LeaseLeasesRequest
);
