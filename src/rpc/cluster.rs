//! The Cluster service: a cluster of one, which is all that a client of this server ever talks to.

use tonic::{Request, Response, Status};

use super::node::Node;
use super::status::EtcdError;
use crate::auth::Caller;
use crate::pb::etcdserverpb::cluster_server::Cluster;
use crate::pb::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest, MemberUpdateResponse,
    ResponseHeader,
};

impl Node {
    /// Lists the members. Clients that keep their endpoints in step replace them by these URLs.
    pub async fn member_list(&self, caller: &Caller, _: MemberListRequest) -> Result<MemberListResponse, EtcdError> {
        caller.must_be_known()?;
        self.must_know_itself()?;
        let url = self.client_url.to_string();
        let member = Member {
            id: self.own_identity.member_id,
            name: "confcast".into(),
            // There are no peers, but clients expect a member to have an address for them.
            peer_ur_ls: vec![url.clone()],
            client_ur_ls: vec![url],
            is_learner: false,
        };
        // Without a revision, as etcd's.
        let header = self.header_now().map(|header| ResponseHeader { revision: 0, ..header });
        Ok(MemberListResponse { header, members: vec![member] })
    }
}

#[tonic::async_trait]
impl Cluster for Node {
    async fn member_list(&self, request: Request<MemberListRequest>) -> Result<Response<MemberListResponse>, Status> {
        Ok(Response::new(Self::member_list(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn member_add(&self, _: Request<MemberAddRequest>) -> Result<Response<MemberAddResponse>, Status> {
        Err(EtcdError::unimplemented("adding a member").into())
    }

    async fn member_remove(&self, _: Request<MemberRemoveRequest>) -> Result<Response<MemberRemoveResponse>, Status> {
        Err(EtcdError::unimplemented("removing a member").into())
    }

    async fn member_update(&self, _: Request<MemberUpdateRequest>) -> Result<Response<MemberUpdateResponse>, Status> {
        Err(EtcdError::unimplemented("changing a member").into())
    }

    async fn member_promote(
        &self,
        _: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        Err(EtcdError::unimplemented("promoting a member").into())
    }
}
