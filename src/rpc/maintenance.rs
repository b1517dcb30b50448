//! The Maintenance service: what clients and operators ask to see whether a server is well.

use std::pin::Pin;

use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::node::{ETCD_VERSION, Node};
use super::status::EtcdError;
use crate::pb::etcdserverpb::alarm_request::AlarmAction;
use crate::pb::etcdserverpb::maintenance_server::Maintenance;
use crate::pb::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeRequest, DowngradeResponse,
    HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest,
    SnapshotResponse, StatusRequest, StatusResponse,
};
use crate::store::KeyRange;

impl Node {
    /// Tells version, size and revision.
    pub fn status(&self, _: StatusRequest) -> Result<StatusResponse, EtcdError> {
        let snapshot = self.store.snapshot();
        let size: usize = snapshot.range(&KeyRange::all()).map(|record| record.size()).sum();
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        // There is no raft: what counts its log counts revisions here.
        let index = snapshot.revision().0.cast_unsigned();
        Ok(StatusResponse {
            header: self.header(snapshot.revision()),
            version: ETCD_VERSION.into(),
            db_size: size,
            leader: self.identity.member_id,
            raft_index: index,
            raft_term: self.identity.raft_term,
            raft_applied_index: index,
            db_size_in_use: size,
            ..StatusResponse::default()
        })
    }

    /// Lists alarms, of which there are none.
    pub fn alarm(&self, request: AlarmRequest) -> Result<AlarmResponse, EtcdError> {
        match request.action() {
            AlarmAction::Get | AlarmAction::Deactivate => {
                Ok(AlarmResponse { header: self.header_now(), alarms: Vec::new() })
            }
            AlarmAction::Activate => Err(EtcdError::unimplemented("raising an alarm")),
        }
    }

    /// Does nothing, as there is no file that has holes.
    pub fn defragment(&self, _: DefragmentRequest) -> Result<DefragmentResponse, EtcdError> {
        Ok(DefragmentResponse { header: None })
    }
}

#[tonic::async_trait]
impl Maintenance for Node {
    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        Ok(Response::new(Self::alarm(self, request.into_inner())?))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(Self::status(self, request.into_inner())?))
    }

    async fn defragment(&self, request: Request<DefragmentRequest>) -> Result<Response<DefragmentResponse>, Status> {
        Ok(Response::new(Self::defragment(self, request.into_inner())?))
    }

    async fn hash(&self, _: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        Err(EtcdError::unimplemented("a hash of the backend").into())
    }

    async fn hash_kv(&self, _: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        Err(EtcdError::unimplemented("a hash of the keys").into())
    }

    async fn snapshot(&self, _: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(EtcdError::unimplemented("a snapshot of the backend").into())
    }

    async fn move_leader(&self, _: Request<MoveLeaderRequest>) -> Result<Response<MoveLeaderResponse>, Status> {
        Err(EtcdError::new(tonic::Code::FailedPrecondition, "etcdserver: bad leader transferee").into())
    }

    async fn downgrade(&self, _: Request<DowngradeRequest>) -> Result<Response<DowngradeResponse>, Status> {
        Err(EtcdError::unimplemented("a downgrade").into())
    }
}
