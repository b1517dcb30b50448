//! The Lease service.

use std::pin::Pin;

use rand::Rng;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::node::Node;
use super::status::EtcdError;
use crate::auth::Caller;
use crate::pb::etcdserverpb::lease_server::Lease;
use crate::pb::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
};
use crate::store::{LeaseId, OpError};
use crate::telemetry::serve as limits;

impl Node {
    /// Grants a lease.
    pub async fn lease_grant(
        &self,
        caller: &Caller,
        request: LeaseGrantRequest,
    ) -> Result<LeaseGrantResponse, EtcdError> {
        caller.must_be_known()?;
        // Positive, as etcd's are.
        let fresh = LeaseId(rand::rng().random_range(1..i64::MAX));
        let most = self.live.get().limits.leases;
        let grant = move |writer: &mut crate::store::Writer| {
            if writer.leases().len() >= most {
                limits::refused(limits::OF_LEASES);
                return Err(OpError::TooManyLeases);
            }
            writer.lease_grant(LeaseId(request.id), request.ttl, fresh)
        };
        let ((id, ttl), revision) = self.change(grant).await?;
        Ok(LeaseGrantResponse { header: self.header(revision), id: id.0, ttl, error: String::new() })
    }

    /// Ends a lease.
    pub async fn lease_revoke(
        &self,
        caller: &Caller,
        request: LeaseRevokeRequest,
    ) -> Result<LeaseRevokeResponse, EtcdError> {
        caller.must_be_known()?;
        self.may_write_keys_of(caller, LeaseId(request.id)).await?;
        let ((), revision) = self.change(move |writer| writer.lease_revoke(LeaseId(request.id))).await?;
        Ok(LeaseRevokeResponse { header: self.header(revision) })
    }

    /// Renews a lease. An unknown one gets a time to live of zero, which is how etcd says that it is gone.
    pub async fn lease_keep_alive(
        &self,
        caller: &Caller,
        request: LeaseKeepAliveRequest,
    ) -> Result<LeaseKeepAliveResponse, EtcdError> {
        caller.must_be_known()?;
        let id = request.id;
        let renew = move |writer: &mut crate::store::Writer| Ok::<_, OpError>(writer.lease_keep_alive(LeaseId(id)));
        let (ttl, revision) = self.change(renew).await?;
        Ok(LeaseKeepAliveResponse { header: self.header(revision), id, ttl: ttl.unwrap_or(0) })
    }

    /// Tells how long a lease has left. An unknown one has -1.
    pub async fn lease_time_to_live(
        &self,
        caller: &Caller,
        request: LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse, EtcdError> {
        caller.must_be_known()?;
        if request.keys {
            self.may_read_keys_of(caller, LeaseId(request.id)).await?;
        }
        let id = request.id;
        let ask = move |writer: &mut crate::store::Writer| Ok::<_, OpError>(writer.lease_status(LeaseId(id)));
        let (status, revision) = self.change(ask).await?;
        let header = self.header(revision);
        Ok(match status {
            None => LeaseTimeToLiveResponse { header, id, ttl: -1, ..LeaseTimeToLiveResponse::default() },
            Some(status) => {
                let keys = if request.keys { status.keys } else { Vec::new() };
                LeaseTimeToLiveResponse { header, id, ttl: status.remaining, granted_ttl: status.granted, keys }
            }
        })
    }

    /// Lists the leases.
    pub async fn lease_leases(&self, caller: &Caller, _: LeaseLeasesRequest) -> Result<LeaseLeasesResponse, EtcdError> {
        caller.must_be_known()?;
        let (ids, revision) = self.change(|writer| Ok::<_, OpError>(writer.leases().ids())).await?;
        let leases = ids.into_iter().map(|id| LeaseStatus { id: id.0 }).collect();
        Ok(LeaseLeasesResponse { header: self.header(revision), leases })
    }
}

#[tonic::async_trait]
impl Lease for Node {
    type LeaseKeepAliveStream = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Result<Response<LeaseGrantResponse>, Status> {
        Ok(Response::new(Self::lease_grant(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        Ok(Response::new(Self::lease_revoke(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (node, caller) = (self.clone(), self.caller(&request));
        let answers = request.into_inner().then(move |request| {
            let (node, caller) = (node.clone(), caller.clone());
            async move { Ok(Self::lease_keep_alive(&node, &caller, request?).await?) }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        Ok(Response::new(Self::lease_time_to_live(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        Ok(Response::new(Self::lease_leases(self, &self.caller(&request), request.into_inner()).await?))
    }
}
