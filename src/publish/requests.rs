//! Requests and answers in etcd's messages.

use bytes::Bytes;

use super::exchange::{Answer, Candidate, Fence, Standing};
use super::held::Change;
use super::keys::Keys;
use super::plan::{Action, Step};
use crate::apisix::placeholders;
use crate::pb::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::pb::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, ResponseHeader, ResponseOp,
    TxnRequest, TxnResponse, request_op, response_op,
};
use crate::pb::mvccpb::KeyValue;
use crate::store::{KeyRange, Revision};

/// Takes a place in the queue, or finds the one that is there.
pub fn enter(lease: i64, key: &Bytes, value: &Bytes) -> TxnRequest {
    let put = PutRequest { key: key.clone(), value: value.clone(), lease, ..PutRequest::default() };
    TxnRequest { compare: vec![created(key, Revision::ZERO)], success: vec![put_op(put)], failure: vec![look_up(key)] }
}

/// The answer to [`enter`].
pub fn entered(response: &TxnResponse) -> Option<Answer> {
    if response.succeeded {
        return Some(Answer::Entered { created: revision(response.header.as_ref()) });
    }
    found(response).map(|standing| Answer::Entered { created: standing.created })
}

/// Everybody in the queue.
pub fn look(keys: &Keys) -> RangeRequest {
    RangeRequest { keys_only: true, ..range(&keys.queue()) }
}

/// The answer to [`look`].
pub fn looked(response: RangeResponse) -> Answer {
    let revision = revision(response.header.as_ref());
    let candidate = |pair: KeyValue| Candidate { key: pair.key, created: Revision(pair.create_revision) };
    Answer::Queue { revision, candidates: response.kvs.into_iter().map(candidate).collect() }
}

/// All keys of a range.
pub fn range(range: &KeyRange) -> RangeRequest {
    let range_end = range.end().unwrap_or_else(|| Bytes::from_static(b"\0"));
    RangeRequest { key: range.start().clone(), range_end, ..RangeRequest::default() }
}

/// A key-value pair that was read.
pub fn entry(pair: KeyValue) -> Change {
    Change { key: pair.key, value: Some(pair.value), revision: Revision(pair.mod_revision) }
}

/// The write of a leader.
pub fn write(keys: &Keys, fence: &Fence, steps: &[Step]) -> TxnRequest {
    let mut compare = vec![created(&fence.key, fence.term), written(&fence.key, fence.written)];
    // Changes the key's mod revision and nothing else, so that a write that was sent before and comes later is refused.
    let touch = PutRequest { key: fence.key.clone(), ignore_value: true, ignore_lease: true, ..PutRequest::default() };
    let mut success = vec![put_op(touch)];
    for step in steps {
        compare.push(written(&step.key, step.expected));
        let mark = keys.mark(&step.key);
        match &step.action {
            Action::Put(value) => {
                success.push(put(&step.key, value.bytes.clone()));
                success.push(put(&mark, value.fingerprint.to_text()));
            }
            Action::Delete => success.extend([delete(&step.key), delete(&mark)]),
            Action::Placeholder => success.push(put(&step.key, Bytes::from_static(placeholders::VALUE))),
            Action::Mark(fingerprint) => success.push(put(&mark, fingerprint.to_text())),
            Action::Unmark => success.push(delete(&mark)),
        }
    }
    TxnRequest { compare, success, failure: vec![look_up(&fence.key)] }
}

/// The answer to [`write()`].
pub fn wrote(response: &TxnResponse) -> Answer {
    if response.succeeded {
        return Answer::Written { revision: revision(response.header.as_ref()) };
    }
    Answer::Refused { standing: found(response) }
}

/// When a key was written, if it was found.
pub fn standing(pairs: &[KeyValue]) -> Option<Standing> {
    pairs.first().map(|pair| Standing { created: Revision(pair.create_revision), written: Revision(pair.mod_revision) })
}

/// The revision in a header.
pub fn revision(header: Option<&ResponseHeader>) -> Revision {
    Revision(header.map_or(0, |header| header.revision))
}

fn found(response: &TxnResponse) -> Option<Standing> {
    match response.responses.first() {
        Some(ResponseOp { response: Some(response_op::Response::ResponseRange(range)) }) => standing(&range.kvs),
        _ => None,
    }
}

fn created(key: &Bytes, revision: Revision) -> Compare {
    compare(key, CompareTarget::Create, TargetUnion::CreateRevision(revision.0))
}

fn written(key: &Bytes, revision: Revision) -> Compare {
    compare(key, CompareTarget::Mod, TargetUnion::ModRevision(revision.0))
}

fn compare(key: &Bytes, target: CompareTarget, value: TargetUnion) -> Compare {
    let result = CompareResult::Equal.into();
    Compare { result, target: target.into(), key: key.clone(), range_end: Bytes::new(), target_union: Some(value) }
}

fn look_up(key: &Bytes) -> RequestOp {
    let request = RangeRequest { key: key.clone(), keys_only: true, ..RangeRequest::default() };
    RequestOp { request: Some(request_op::Request::RequestRange(request)) }
}

fn put(key: &Bytes, value: Bytes) -> RequestOp {
    put_op(PutRequest { key: key.clone(), value, ..PutRequest::default() })
}

fn put_op(request: PutRequest) -> RequestOp {
    RequestOp { request: Some(request_op::Request::RequestPut(request)) }
}

fn delete(key: &Bytes) -> RequestOp {
    let request = DeleteRangeRequest { key: key.clone(), ..DeleteRangeRequest::default() };
    RequestOp { request: Some(request_op::Request::RequestDeleteRange(request)) }
}
