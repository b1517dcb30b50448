//! The Maintenance service: what clients and operators ask to see whether a server is well.

use std::pin::Pin;

use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status};

use super::hash::hash;
use super::node::{ETCD_VERSION, Node};
use super::status::EtcdError;
use crate::auth::Caller;
use crate::pb::etcdserverpb::alarm_request::AlarmAction;
use crate::pb::etcdserverpb::downgrade_request::DowngradeAction;
use crate::pb::etcdserverpb::maintenance_server::Maintenance;
use crate::pb::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse, DowngradeRequest,
    DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest, MoveLeaderResponse,
    SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse,
};
use crate::store::{KeyRange, Revision};

impl Node {
    /// Tells version, size and revision.
    pub async fn status(&self, caller: &Caller, _: StatusRequest) -> Result<StatusResponse, EtcdError> {
        caller.must_be_known()?;
        self.must_know_itself()?;
        let snapshot = self.store.snapshot();
        let size: usize = snapshot.range(&KeyRange::all()).map(|record| record.size()).sum();
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        // There is no raft: what counts its log counts revisions here.
        let index = snapshot.revision().0.cast_unsigned();
        Ok(StatusResponse {
            header: self.header(snapshot.revision()),
            version: ETCD_VERSION.into(),
            db_size: size,
            leader: self.own_identity.member_id,
            raft_index: index,
            raft_term: self.identity().raft_term,
            raft_applied_index: index,
            db_size_in_use: size,
            errors: self.alarms().iter().map(alarm_text).collect(),
            ..StatusResponse::default()
        })
    }

    /// Lists alarms, or takes one back. There is one: clients have tried to write more than there is room for.
    pub async fn alarm(&self, caller: &Caller, request: AlarmRequest) -> Result<AlarmResponse, EtcdError> {
        caller.must_be_known()?;
        self.must_know_itself()?;
        let mut alarms = self.alarms();
        match request.action() {
            AlarmAction::Get => {
                alarms.retain(|alarm| request.alarm() == AlarmType::None || alarm.alarm == request.alarm);
            }
            AlarmAction::Deactivate => {
                alarms.retain(|alarm| *alarm == AlarmMember { member_id: request.member_id, alarm: request.alarm });
                if !alarms.is_empty() && self.store.quota().disarm() {
                    tracing::info!("the alarm for lack of space was taken back");
                }
            }
            AlarmAction::Activate => return Err(EtcdError::unimplemented("raising an alarm")),
        }
        Ok(AlarmResponse { header: self.header_now(), alarms })
    }

    fn alarms(&self) -> Vec<AlarmMember> {
        let exceeded = self.store.quota().is_exceeded();
        let no_space = AlarmMember { member_id: self.own_identity.member_id, alarm: AlarmType::Nospace.into() };
        exceeded.then_some(no_space).into_iter().collect()
    }

    /// Does nothing, as there is no file that has holes.
    pub async fn defragment(&self, caller: &Caller, _: DefragmentRequest) -> Result<DefragmentResponse, EtcdError> {
        caller.must_be_root()?;
        Ok(DefragmentResponse { header: None })
    }

    /// A hash of the keys now.
    pub async fn hash(&self, caller: &Caller, _: HashRequest) -> Result<HashResponse, EtcdError> {
        caller.must_be_root()?;
        self.must_keep(&KeyRange::all())?;
        let snapshot = self.read()?;
        let hash = hash(snapshot.current(), snapshot.revision());
        Ok(HashResponse { header: self.header(snapshot.revision()), hash })
    }

    /// A hash of the keys at a revision, zero for now.
    pub async fn hash_kv(&self, caller: &Caller, request: HashKvRequest) -> Result<HashKvResponse, EtcdError> {
        caller.must_be_root()?;
        self.must_keep(&KeyRange::all())?;
        let snapshot = self.read()?;
        let revision = if request.revision <= 0 { snapshot.revision() } else { Revision(request.revision) };
        let hash = hash(snapshot.at(revision)?, revision);
        let header = self.header(snapshot.revision());
        Ok(HashKvResponse { header, hash, compact_revision: snapshot.compacted().0, hash_revision: revision.0 })
    }

    /// The pieces of a snapshot of everything.
    pub fn snapshot_pieces(&self, caller: &Caller) -> Result<Vec<SnapshotResponse>, EtcdError> {
        caller.must_be_root()?;
        Err(EtcdError::unimplemented("a snapshot of the backend"))
    }

    /// Refuses: there is one member, and it leads.
    pub async fn move_leader(&self, caller: &Caller, _: MoveLeaderRequest) -> Result<MoveLeaderResponse, EtcdError> {
        caller.must_be_root()?;
        Err(EtcdError::new(Code::FailedPrecondition, "etcdserver: bad leader transferee"))
    }

    /// Refuses, in etcd's words: there is no older version to go to.
    pub async fn downgrade(&self, caller: &Caller, request: DowngradeRequest) -> Result<DowngradeResponse, EtcdError> {
        caller.must_be_root()?;
        let numbers: Vec<_> = request.version.split('.').map(str::parse::<u32>).collect();
        Err(match request.action() {
            DowngradeAction::Cancel => {
                EtcdError::new(Code::FailedPrecondition, "etcdserver: no inflight downgrade job")
            }
            _ if !(2..=3).contains(&numbers.len()) || numbers.iter().any(Result::is_err) => {
                EtcdError::new(Code::InvalidArgument, "etcdserver: wrong downgrade target version format")
            }
            _ => EtcdError::new(Code::InvalidArgument, "etcdserver: invalid downgrade target version"),
        })
    }
}

/// An alarm in the words of etcd's status.
fn alarm_text(alarm: &AlarmMember) -> String {
    format!("memberID:{} alarm:{} ", alarm.member_id, alarm.alarm().as_str_name())
}

#[tonic::async_trait]
impl Maintenance for Node {
    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        Ok(Response::new(Self::alarm(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(Self::status(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn defragment(&self, request: Request<DefragmentRequest>) -> Result<Response<DefragmentResponse>, Status> {
        Ok(Response::new(Self::defragment(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn hash(&self, request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        Ok(Response::new(Self::hash(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        Ok(Response::new(Self::hash_kv(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn snapshot(&self, _: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(EtcdError::unimplemented("a snapshot of the backend").into())
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Result<Response<MoveLeaderResponse>, Status> {
        Ok(Response::new(Self::move_leader(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn downgrade(&self, request: Request<DowngradeRequest>) -> Result<Response<DowngradeResponse>, Status> {
        Ok(Response::new(Self::downgrade(self, &self.caller(&request), request.into_inner()).await?))
    }
}
