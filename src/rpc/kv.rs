//! The KV service: Put, `DeleteRange`, Txn, Compact, and the forms of Range that are part of a transaction.

use std::pin::Pin;
use std::sync::Arc;

use prost::Message;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::node::Node;
use super::permissions;
use super::range::{self, Content, Form};
use super::range_cache::Key;
use super::sizes::{self, held};
use super::status::EtcdError;
use crate::auth::Caller;
use crate::pb::etcdserverpb::kv_server::Kv;
use crate::pb::etcdserverpb::range_request::{SortOrder, SortTarget as WireTarget};
use crate::pb::etcdserverpb::request_op::Request as WireOp;
use crate::pb::etcdserverpb::response_op::Response as WireResult;
use crate::pb::etcdserverpb::{
    CompactionRequest, CompactionResponse, Compare as WireCompare, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, RequestOp, ResponseHeader, ResponseOp, TxnRequest,
    TxnResponse, compare,
};
use crate::pb::mvccpb::KeyValue;
use crate::serve::memory::Hold;
use crate::serve::rope::Rope;
use crate::store::ops::txn::{Relation, Target};
use crate::store::ops::{
    Compare, DeleteRange, Op, OpError, OpResult, Put, Range, RangeResult, Sort, SortTarget, Txn, TxnResult,
};
use crate::store::{KeyRange, LeaseId, Record, Revision};
use crate::upstream::MIRROR;

/// Bytes of keys and values in one piece of a streamed answer, about.
const PIECE: usize = 512 << 10;

impl Node {
    /// Reads keys.
    pub fn range(&self, caller: &Caller, request: &RangeRequest) -> Result<(RangeResult, Revision), EtcdError> {
        let snapshot = self.read()?;
        let range = read_range(request)?;
        self.must_keep(&range.range)?;
        caller.may_read(&range.range)?;
        let result = range.read(snapshot.at(Revision(request.revision))?);
        Ok((result, snapshot.revision()))
    }

    /// Reads keys into a message. Large ranges come from bytes that everyone shares.
    pub fn range_message(
        &self,
        caller: &Caller,
        request: &RangeRequest,
        form: Form,
        hold: Option<&Hold>,
    ) -> Result<Rope, EtcdError> {
        self.read()?;
        let range = read_range(request)?;
        self.must_keep(&range.range)?;
        if request.revision == 0 && range.is_plain() {
            caller.may_read(&range.range)?;
            let key = Key { range: range.range, keys_only: range.keys_only, form };
            self.range_must_fit(&key)?;
            if let Some(kept) = self.ranges.read(&key, &self.store, &self.memory)? {
                // It may have grown since it was looked at.
                self.must_fit(kept.bytes)?;
                return range::message(&self.identity(), &Content::from(kept), form);
            }
        }
        let (result, revision) = self.range(caller, request)?;
        // Adding up costs something for each record.
        if hold.is_some() || self.bounds_answers() {
            let length = sizes::of_result(&result, form);
            self.must_fit(length)?;
            hold.map_or(Ok(()), |hold| hold.grow(length))?;
        }
        range::message(&self.identity(), &Content::of(&result, form, revision), form)
    }

    /// Puts a key.
    pub async fn put(&self, caller: &Caller, request: PutRequest) -> Result<PutResponse, EtcdError> {
        self.must_be_small(&request)?;
        let prev_kv = request.prev_kv;
        let put = read_put(&request);
        put.check()?;
        permissions::put(caller, &request)?;
        self.may_write_keys_of(caller, put.lease).await?;
        let (previous, revision) = self.change(move |writer| writer.put(&put)).await?;
        Ok(put_response(self.header(revision), previous.as_deref(), prev_kv))
    }

    /// Deletes keys.
    pub async fn delete_range(
        &self,
        caller: &Caller,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, EtcdError> {
        let prev_kv = request.prev_kv;
        let delete = read_delete(&request)?;
        permissions::delete(caller, &request)?;
        let (deleted, revision) = self.change(move |writer| writer.delete_range(&delete)).await?;
        Ok(delete_response(self.header(revision), &deleted, prev_kv))
    }

    /// Runs a transaction.
    pub async fn txn(&self, caller: &Caller, request: TxnRequest) -> Result<TxnResponse, EtcdError> {
        let txn = read_txn(&request, self.live.get().limits.txn_ops)?;
        self.must_be_small(&request)?;
        txn.check()?;
        for lease in permissions::txn(caller, &request)? {
            self.may_write_keys_of(caller, lease).await?;
        }
        let reads = txn.is_read_only();
        let (result, revision) = if reads {
            let snapshot = self.read()?;
            (txn.read(&snapshot)?, snapshot.revision())
        } else {
            self.change(move |writer| writer.txn(&txn)).await?
        };
        let response = TxnResponse { header: self.header(revision), ..txn_response(&request, result) };
        // Its values are shared with the store until it is written. What has changed something is told in any case.
        if reads && self.bounds_answers() {
            self.must_fit(response.encoded_len())?;
        }
        Ok(response)
    }

    /// Gives up history.
    pub async fn compact(&self, caller: &Caller, request: CompactionRequest) -> Result<CompactionResponse, EtcdError> {
        caller.must_be_known()?;
        let ((), revision) = self.change(move |writer| writer.compact_to(Revision(request.revision))).await?;
        Ok(CompactionResponse { header: self.header(revision) })
    }
}

#[tonic::async_trait]
impl Kv for Node {
    type RangeStreamStream = Pin<Box<dyn Stream<Item = Result<RangeStreamResponse, Status>> + Send>>;

    async fn range_stream(&self, request: Request<RangeRequest>) -> Result<Response<Self::RangeStreamStream>, Status> {
        let caller = self.caller(&request);
        let of_mirror = request.metadata().contains_key(MIRROR);
        self.catch_up(request.get_ref(), of_mirror).await?;
        let (result, revision) = Self::range(self, &caller, request.get_ref())?;
        let last =
            RangeResponse { header: self.header(revision), kvs: Vec::new(), more: result.more, count: count(&result) };
        let pieces = Pieces { result, next: 0 }.chain(std::iter::once(last));
        let messages = pieces.map(|piece| Ok(RangeStreamResponse { range_response: Some(piece) }));
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        // The port answers this call itself from shared bytes; this is for those who mount the service elsewhere.
        let caller = self.caller(&request);
        let of_mirror = request.metadata().contains_key(MIRROR);
        self.catch_up(request.get_ref(), of_mirror).await?;
        let (result, revision) = Self::range(self, &caller, request.get_ref())?;
        Ok(Response::new(RangeResponse { header: self.header(revision), ..range_response(&result) }))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        Ok(Response::new(Self::put(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let (hold, caller) = (Hold::of(request.extensions()), self.caller(&request));
        held(hold, Self::delete_range(self, &caller, request.into_inner()).await?)
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let (hold, caller) = (Hold::of(request.extensions()), self.caller(&request));
        held(hold, Self::txn(self, &caller, request.into_inner()).await?)
    }

    async fn compact(&self, request: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        Ok(Response::new(Self::compact(self, &self.caller(&request), request.into_inner()).await?))
    }
}

fn read_range(request: &RangeRequest) -> Result<Range, EtcdError> {
    if request.key.is_empty() {
        return Err(OpError::EmptyKey.into());
    }
    let invalid = |_| EtcdError::new(tonic::Code::InvalidArgument, "etcdserver: invalid sort option");
    let order = SortOrder::try_from(request.sort_order).map_err(invalid)?;
    let target = match WireTarget::try_from(request.sort_target).map_err(invalid)? {
        WireTarget::Key => SortTarget::Key,
        WireTarget::Version => SortTarget::Version,
        WireTarget::Create => SortTarget::Create,
        WireTarget::Mod => SortTarget::Mod,
        WireTarget::Value => SortTarget::Value,
    };
    // Keys come in ascending order anyway.
    let sort = (order != SortOrder::None || target != SortTarget::Key).then_some(Sort {
        target,
        descending: order == SortOrder::Descend,
        explicit: order != SortOrder::None,
    });
    Ok(Range {
        range: KeyRange::from_wire(request.key.clone(), request.range_end.clone()),
        limit: request.limit,
        sort,
        min_mod: Revision(request.min_mod_revision),
        max_mod: Revision(request.max_mod_revision),
        min_create: Revision(request.min_create_revision),
        max_create: Revision(request.max_create_revision),
        keys_only: request.keys_only,
        count_only: request.count_only,
    })
}

fn read_put(request: &PutRequest) -> Put {
    Put {
        key: owned(&request.key),
        value: owned(&request.value),
        lease: LeaseId(request.lease),
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

/// A copy of just these bytes: what a decoder returns is a slice of the whole request, which a stored value would keep.
fn owned(bytes: &bytes::Bytes) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes)
}

fn read_delete(request: &DeleteRangeRequest) -> Result<DeleteRange, EtcdError> {
    if request.key.is_empty() {
        return Err(OpError::EmptyKey.into());
    }
    Ok(DeleteRange { range: KeyRange::from_wire(request.key.clone(), request.range_end.clone()) })
}

/// Reads a transaction with at most `limit` operations, and checks each as it comes: of several errors the client gets
/// the one that etcd would have found first.
fn read_txn(request: &TxnRequest, limit: usize) -> Result<Txn, EtcdError> {
    let longest = request.compare.len().max(request.success.len()).max(request.failure.len());
    let rest = limit.checked_sub(longest).ok_or_else(sizes::too_many_ops)?;
    let ops = |ops: &[RequestOp]| ops.iter().map(|op| read_op(op, rest)).collect::<Result<Vec<_>, _>>();
    Ok(Txn {
        compare: request.compare.iter().map(read_compare).collect::<Result<_, _>>()?,
        success: ops(&request.success)?,
        failure: ops(&request.failure)?,
    })
}

fn read_op(op: &RequestOp, limit: usize) -> Result<Op, EtcdError> {
    Ok(match op.request.as_ref().ok_or(OpError::KeyNotFound)? {
        WireOp::RequestRange(range) => Op::Range(read_range(range)?, Revision(range.revision)),
        WireOp::RequestPut(put) => {
            let put = read_put(put);
            put.check()?;
            Op::Put(put)
        }
        WireOp::RequestDeleteRange(delete) => Op::DeleteRange(read_delete(delete)?),
        WireOp::RequestTxn(txn) => Op::Txn(read_txn(txn, limit)?),
    })
}

fn read_compare(compare: &WireCompare) -> Result<Compare, EtcdError> {
    if compare.key.is_empty() {
        return Err(OpError::EmptyKey.into());
    }
    let relation = match compare.result() {
        compare::CompareResult::Equal => Relation::Equal,
        compare::CompareResult::Greater => Relation::Greater,
        compare::CompareResult::Less => Relation::Less,
        compare::CompareResult::NotEqual => Relation::NotEqual,
    };
    // A number given for another field than the target counts as zero, as in etcd.
    let union = compare.target_union.as_ref();
    let target = match compare.target() {
        compare::CompareTarget::Version => Target::Version(match union {
            Some(compare::TargetUnion::Version(version)) => *version,
            _ => 0,
        }),
        compare::CompareTarget::Create => Target::Create(Revision(match union {
            Some(compare::TargetUnion::CreateRevision(revision)) => *revision,
            _ => 0,
        })),
        compare::CompareTarget::Mod => Target::Mod(Revision(match union {
            Some(compare::TargetUnion::ModRevision(revision)) => *revision,
            _ => 0,
        })),
        compare::CompareTarget::Lease => Target::Lease(LeaseId(match union {
            Some(compare::TargetUnion::Lease(lease)) => *lease,
            _ => 0,
        })),
        compare::CompareTarget::Value => Target::Value(match union {
            Some(compare::TargetUnion::Value(value)) => value.clone(),
            _ => bytes::Bytes::new(),
        }),
    };
    Ok(Compare { range: KeyRange::from_wire(compare.key.clone(), compare.range_end.clone()), relation, target })
}

/// A pair as a message.
pub(super) fn pair(record: &Record) -> KeyValue {
    KeyValue {
        key: record.key.clone(),
        create_revision: record.create_revision.0,
        mod_revision: record.mod_revision.0,
        version: record.version,
        value: record.value.clone(),
        lease: record.lease.0,
    }
}

fn range_response(result: &RangeResult) -> RangeResponse {
    let kvs = result.records.iter().map(|record| pair_of(result, record)).collect();
    RangeResponse { header: None, kvs, more: result.more, count: count(result) }
}

/// The pair as the request wants it.
fn pair_of(result: &RangeResult, record: &Record) -> KeyValue {
    let value = if result.keys_only { bytes::Bytes::new() } else { record.value.clone() };
    KeyValue { value, ..pair(record) }
}

fn count(result: &RangeResult) -> i64 {
    i64::try_from(result.count).unwrap_or(i64::MAX)
}

/// The pairs of an answer, some at a time.
struct Pieces {
    result: RangeResult,
    next: usize,
}

impl Iterator for Pieces {
    type Item = RangeResponse;

    fn next(&mut self) -> Option<RangeResponse> {
        let mut kvs = Vec::new();
        let mut size = 0;
        while let Some(record) = self.result.records.get(self.next).filter(|_| size < PIECE) {
            size += record.size();
            kvs.push(pair_of(&self.result, record));
            self.next += 1;
        }
        (!kvs.is_empty()).then(|| RangeResponse { kvs, ..RangeResponse::default() })
    }
}

fn put_response(header: Option<ResponseHeader>, previous: Option<&Record>, prev_kv: bool) -> PutResponse {
    PutResponse { header, prev_kv: previous.filter(|_| prev_kv).map(pair) }
}

fn delete_response(header: Option<ResponseHeader>, deleted: &[Arc<Record>], prev_kv: bool) -> DeleteRangeResponse {
    DeleteRangeResponse {
        header,
        deleted: i64::try_from(deleted.len()).unwrap_or(i64::MAX),
        prev_kvs: deleted.iter().filter(|_| prev_kv).map(|record| pair(record)).collect(),
    }
}

/// The response to a transaction, apart from its header. Responses inside have headers with nothing but the revision,
/// and inner transactions an empty one, as etcd's have.
fn txn_response(request: &TxnRequest, result: TxnResult) -> TxnResponse {
    let ops = if result.succeeded { &request.success } else { &request.failure };
    let responses = ops.iter().zip(result.results).map(|(op, (result, revision))| {
        let inner = Some(ResponseHeader { revision: revision.0, ..ResponseHeader::default() });
        let response = match (op.request.as_ref(), result) {
            (_, OpResult::Range(result)) => {
                WireResult::ResponseRange(RangeResponse { header: inner, ..range_response(&result) })
            }
            (Some(WireOp::RequestPut(put)), OpResult::Put(previous)) => {
                WireResult::ResponsePut(put_response(inner, previous.as_deref(), put.prev_kv))
            }
            (Some(WireOp::RequestDeleteRange(delete)), OpResult::DeleteRange(deleted)) => {
                WireResult::ResponseDeleteRange(delete_response(inner, &deleted, delete.prev_kv))
            }
            (Some(WireOp::RequestTxn(txn)), OpResult::Txn(result)) => {
                let header = Some(ResponseHeader::default());
                WireResult::ResponseTxn(TxnResponse { header, ..txn_response(txn, result) })
            }
            // Results come in the order of the operations.
            _ => return ResponseOp::default(),
        };
        ResponseOp { response: Some(response) }
    });
    TxnResponse { header: None, succeeded: result.succeeded, responses: responses.collect() }
}
