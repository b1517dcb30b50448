//! Which requests a mirror of some prefixes passes on: those that are about its own keys.

use bytes::Bytes;
use prost::Message;
use tonic::Status;

use super::prefixes::Prefixes;
use crate::pb::etcdserverpb::request_op::Request as Op;
use crate::pb::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest};
use crate::pb::v3electionpb::{CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest};
use crate::pb::v3lockpb::{LockRequest, UnlockRequest};
use crate::store::KeyRange;

/// Services whose calls name no key. A lease ends all of its keys, wherever they are; whoever does so knows its id.
const WITHOUT_KEYS: [&str; 2] = ["/etcdserverpb.Lease/", "/etcdserverpb.Auth/"];

/// Whether the call of this path names keys.
pub(super) fn names_keys(path: &str) -> bool {
    !WITHOUT_KEYS.iter().any(|service| path.starts_with(service))
}

/// Refuses a call that is about a key which is not mirrored.
pub(super) fn check(prefixes: &Prefixes, path: &str, message: &[u8]) -> Result<(), Status> {
    if prefixes.is_everything() || !names_keys(path) {
        return Ok(());
    }
    let keys = keys(path, message).map_err(|error| Status::invalid_argument(format!("grpc: {error}")))?;
    if keys.iter().all(|range| prefixes.cover(range)) {
        return Ok(());
    }
    Err(Status::invalid_argument(prefixes.refusal()))
}

/// The keys that a call reads or writes. All of them if it cannot be told, as of Compact.
fn keys(path: &str, message: &[u8]) -> Result<Vec<KeyRange>, prost::DecodeError> {
    // A lock and an election have their keys below their names.
    let below = |name: Bytes| vec![KeyRange::prefix([name.as_ref(), b"/"].concat())];
    let leader = |leader: Option<LeaderKey>| vec![KeyRange::single(leader.unwrap_or_default().key)];
    Ok(match path {
        "/etcdserverpb.KV/Put" => vec![KeyRange::single(PutRequest::decode(message)?.key)],
        "/etcdserverpb.KV/DeleteRange" => vec![of_delete(DeleteRangeRequest::decode(message)?)],
        "/etcdserverpb.KV/Txn" => of_txn(TxnRequest::decode(message)?),
        "/v3lockpb.Lock/Lock" => below(LockRequest::decode(message)?.name),
        "/v3lockpb.Lock/Unlock" => vec![KeyRange::single(UnlockRequest::decode(message)?.key)],
        "/v3electionpb.Election/Campaign" => below(CampaignRequest::decode(message)?.name),
        "/v3electionpb.Election/Leader" | "/v3electionpb.Election/Observe" => {
            below(LeaderRequest::decode(message)?.name)
        }
        "/v3electionpb.Election/Proclaim" => leader(ProclaimRequest::decode(message)?.leader),
        "/v3electionpb.Election/Resign" => leader(ResignRequest::decode(message)?.leader),
        _ => vec![KeyRange::all()],
    })
}

fn of_delete(request: DeleteRangeRequest) -> KeyRange {
    KeyRange::from_wire(request.key, request.range_end)
}

/// Of both sides, whichever is run.
fn of_txn(request: TxnRequest) -> Vec<KeyRange> {
    let mut keys: Vec<_> =
        request.compare.into_iter().map(|compare| KeyRange::from_wire(compare.key, compare.range_end)).collect();
    for op in request.success.into_iter().chain(request.failure) {
        match op.request {
            Some(Op::RequestRange(RangeRequest { key, range_end, .. })) => {
                keys.push(KeyRange::from_wire(key, range_end));
            }
            Some(Op::RequestPut(put)) => keys.push(KeyRange::single(put.key)),
            Some(Op::RequestDeleteRange(delete)) => keys.push(of_delete(delete)),
            Some(Op::RequestTxn(txn)) => keys.extend(of_txn(txn)),
            None => {}
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::etcdserverpb::{CompactionRequest, Compare, RequestOp};

    fn passes(path: &str, message: &impl Message) -> bool {
        check(&Prefixes::of(&["/a/".into()]), path, &message.encode_to_vec()).is_ok()
    }

    #[test]
    fn every_key_of_a_transaction_counts() {
        let put = |key: &'static str| Op::RequestPut(PutRequest { key: key.into(), ..PutRequest::default() });
        let op = |request: Op| RequestOp { request: Some(request) };
        let txn = |success: Op, failure: Op, compare: &'static str| TxnRequest {
            compare: vec![Compare { key: compare.into(), ..Compare::default() }],
            success: vec![op(success)],
            failure: vec![op(failure)],
        };
        let nested = |key| Op::RequestTxn(txn(put("/a/1"), put(key), "/a/1"));
        let range = |end: &'static str| {
            Op::RequestRange(RangeRequest { key: "/a/".into(), range_end: end.into(), ..RangeRequest::default() })
        };
        let goes = |request: &TxnRequest| passes("/etcdserverpb.KV/Txn", request);
        assert!(goes(&txn(put("/a/1"), nested("/a/2"), "/a/3")) && goes(&txn(range("/a0"), put("/a/1"), "/a/1")));
        assert!(!goes(&txn(put("/b/1"), put("/a/1"), "/a/1")) && !goes(&txn(put("/a/1"), put("/b/1"), "/a/1")));
        assert!(!goes(&txn(put("/a/1"), put("/a/1"), "/b/1")) && !goes(&txn(nested("/b/1"), put("/a/1"), "/a/1")));
        assert!(!goes(&txn(range("/b0"), put("/a/1"), "/a/1")));
    }

    #[test]
    fn calls_that_name_their_keys_in_other_ways() {
        let lock = |name: &'static str| LockRequest { name: name.into(), lease: 0 };
        assert!(passes("/v3lockpb.Lock/Lock", &lock("/a/lock")) && !passes("/v3lockpb.Lock/Lock", &lock("/lock")));
        assert!(passes("/v3lockpb.Lock/Lock", &lock("/a")), "its keys are below the name");
        let campaign = |name: &'static str| CampaignRequest { name: name.into(), ..CampaignRequest::default() };
        assert!(passes("/v3electionpb.Election/Campaign", &campaign("/a/e")));
        assert!(!passes("/v3electionpb.Election/Campaign", &campaign("e")));
        assert!(!passes("/v3electionpb.Election/Resign", &ResignRequest::default()));
        assert!(!passes("/etcdserverpb.KV/Compact", &CompactionRequest::default()));
        assert!(!passes("/etcdserverpb.KV/OfSomeLaterRelease", &CompactionRequest::default()));
        assert!(passes("/etcdserverpb.Lease/LeaseGrant", &CompactionRequest::default()));
    }
}
