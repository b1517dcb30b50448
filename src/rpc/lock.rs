//! The Lock service of `v3lockpb`: a lock is the first place in a queue.

use tonic::{Request, Response, Status};

use super::node::Node;
use super::status::EtcdError;
use crate::auth::Caller;
use crate::pb::etcdserverpb::DeleteRangeRequest;
use crate::pb::v3lockpb::lock_server::Lock;
use crate::pb::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use crate::store::LeaseId;

impl Node {
    /// Waits until the lock is the caller's. Returns the key that stands for it, which exists for as long.
    pub async fn lock(&self, caller: &Caller, request: LockRequest) -> Result<LockResponse, EtcdError> {
        self.read()?;
        let place = self.enter(caller, &request.name, LeaseId(request.lease), bytes::Bytes::new()).await;
        let place = place.map_err(EtcdError::of_recipe)?;
        let expired = || EtcdError::new(tonic::Code::Unknown, "mutex: session is expired");
        let revision = self.wait_turn(&place, expired).await?;
        Ok(LockResponse { header: self.header(revision), key: place.key })
    }

    /// Gives a lock back. One that is not held is no error.
    pub async fn unlock(&self, caller: &Caller, request: UnlockRequest) -> Result<UnlockResponse, EtcdError> {
        let request = DeleteRangeRequest { key: request.key, ..DeleteRangeRequest::default() };
        let response = self.delete_range(caller, request).await?;
        Ok(UnlockResponse { header: response.header })
    }
}

#[tonic::async_trait]
impl Lock for Node {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        Ok(Response::new(Self::lock(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        Ok(Response::new(Self::unlock(self, &self.caller(&request), request.into_inner()).await?))
    }
}
