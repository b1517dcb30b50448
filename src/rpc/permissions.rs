//! What a caller must be allowed to do for a request to be run: etcd's rules.

use super::node::Node;
use super::status::EtcdError;
use crate::auth::{AuthError, Caller};
use crate::pb::etcdserverpb::request_op::Request as WireOp;
use crate::pb::etcdserverpb::{DeleteRangeRequest, PutRequest, TxnRequest};
use crate::store::{KeyRange, LeaseId};

/// A put needs the right to write, and to read if it shows the previous pair.
pub(super) fn put(caller: &Caller, request: &PutRequest) -> Result<(), AuthError> {
    let key = KeyRange::single(request.key.clone());
    caller.may_write(&key)?;
    if request.prev_kv { caller.may_read(&key) } else { Ok(()) }
}

/// A deletion needs the right to write, and to read if it shows the previous pairs.
pub(super) fn delete(caller: &Caller, request: &DeleteRangeRequest) -> Result<(), AuthError> {
    let range = KeyRange::from_wire(request.key.clone(), request.range_end.clone());
    caller.may_write(&range)?;
    if request.prev_kv { caller.may_read(&range) } else { Ok(()) }
}

/// A transaction needs the rights for everything in it, whichever side is run. Returns the leases that it attaches
/// keys to.
pub(super) fn txn(caller: &Caller, request: &TxnRequest) -> Result<Vec<LeaseId>, AuthError> {
    caller.must_be_known()?;
    for compare in &request.compare {
        caller.may_read(&KeyRange::from_wire(compare.key.clone(), compare.range_end.clone()))?;
    }
    let mut leases = Vec::new();
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(WireOp::RequestRange(range)) => {
                caller.may_read(&KeyRange::from_wire(range.key.clone(), range.range_end.clone()))?;
            }
            Some(WireOp::RequestPut(request)) => {
                put(caller, request)?;
                leases.push(LeaseId(request.lease));
            }
            Some(WireOp::RequestDeleteRange(request)) => delete(caller, request)?,
            Some(WireOp::RequestTxn(request)) => leases.extend(txn(caller, request)?),
            None => {}
        }
    }
    Ok(leases)
}

impl Node {
    /// Whoever puts a key under a lease, or ends it, decides over all keys of the lease, and must be allowed to write
    /// them.
    pub(super) async fn may_write_keys_of(&self, caller: &Caller, lease: LeaseId) -> Result<(), EtcdError> {
        if lease == LeaseId::NONE || matches!(caller, Caller::Trusted) {
            return Ok(());
        }
        let keys = self.keys_of(lease).await?;
        Ok(keys.into_iter().try_for_each(|key| caller.may_write(&KeyRange::single(key)))?)
    }

    /// Whoever asks for the keys of a lease must be allowed to read them.
    pub(super) async fn may_read_keys_of(&self, caller: &Caller, lease: LeaseId) -> Result<(), EtcdError> {
        if matches!(caller, Caller::Trusted) {
            return Ok(());
        }
        let keys = self.keys_of(lease).await?;
        Ok(keys.into_iter().try_for_each(|key| caller.may_read(&KeyRange::single(key)))?)
    }

    async fn keys_of(&self, lease: LeaseId) -> Result<Vec<bytes::Bytes>, EtcdError> {
        let status = self.store.submit(move |writer| writer.lease_status(lease)).await?;
        Ok(status.map(|status| status.keys).unwrap_or_default())
    }
}
