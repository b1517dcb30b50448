//! The Election service of `v3electionpb`: the leader is the first in a queue, and its value what it proclaims.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status};

use super::kv::pair;
use super::node::Node;
use super::queue::{first, queue};
use super::status::EtcdError;
use crate::auth::Caller;
use crate::pb::v3electionpb::election_server::Election;
use crate::pb::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ProclaimResponse,
    ResignRequest, ResignResponse,
};
use crate::store::ops::Put;
use crate::store::{KeyRange, LeaseId, Record, Revision, Snapshot, Writer};

impl Node {
    /// Waits until the caller is the leader.
    pub async fn campaign(&self, caller: &Caller, request: CampaignRequest) -> Result<CampaignResponse, EtcdError> {
        self.read()?;
        let value = Bytes::copy_from_slice(&request.value);
        let place = self.enter(caller, &request.name, LeaseId(request.lease), value.clone()).await;
        let place = place.map_err(EtcdError::of_recipe)?;
        if place.found.as_ref().is_some_and(|found| found.value != value) {
            self.say(caller, place.key.clone(), place.created, place.lease, value).await?;
        }
        let gone = || EtcdError::new(Code::NotFound, "etcdserver: requested lease not found");
        let revision = self.wait_turn(&place, gone).await?;
        let leader = LeaderKey { name: request.name, key: place.key, rev: place.created.0, lease: place.lease.0 };
        Ok(CampaignResponse { header: self.header(revision), leader: Some(leader) })
    }

    /// Changes the leader's value.
    pub async fn proclaim(&self, caller: &Caller, request: ProclaimRequest) -> Result<ProclaimResponse, EtcdError> {
        let leader = request.leader.ok_or_else(no_leader_given)?;
        let value = Bytes::copy_from_slice(&request.value);
        let revision = self.say(caller, leader.key, Revision(leader.rev), LeaseId(leader.lease), value).await?;
        Ok(ProclaimResponse { header: self.header(revision) })
    }

    /// Tells who leads.
    pub async fn leader(&self, caller: &Caller, request: LeaderRequest) -> Result<LeaderResponse, EtcdError> {
        let snapshot = self.read()?;
        let queue = queue(&request.name);
        caller.may_read(&queue)?;
        let leader = first(&snapshot, &queue).ok_or_else(|| EtcdError::new(Code::Unknown, "election: no leader"))?;
        Ok(self.leads(leader, snapshot.revision()))
    }

    /// Gives up the lead. One that is lost already is no error.
    pub async fn resign(&self, caller: &Caller, request: ResignRequest) -> Result<ResignResponse, EtcdError> {
        let leader = request.leader.ok_or_else(no_leader_given)?;
        caller.may_write(&KeyRange::single(leader.key.clone()))?;
        let (_, revision) = self.leave(leader.key, Revision(leader.rev)).await?;
        Ok(ResignResponse { header: self.header(revision) })
    }

    /// Tells who leads now, and everything that leaders proclaim from then on.
    pub fn observe(
        &self,
        caller: &Caller,
        request: &LeaderRequest,
    ) -> Result<impl Stream<Item = Result<LeaderResponse, EtcdError>> + Send + use<>, EtcdError> {
        self.read()?;
        let queue = queue(&request.name);
        caller.may_read(&queue)?;
        let (node, changes) = (self.clone(), self.store.changes());
        let observer = Observer { node, changes, queue, leader: None, next: Revision::ZERO, said: VecDeque::new() };
        Ok(futures_util::stream::unfold(Some(observer), |observer| async move {
            let mut observer = observer?;
            match observer.next().await {
                Ok(response) => Some((Ok(response), Some(observer))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    /// Puts a value under a key that was created at `created`.
    async fn say(
        &self,
        caller: &Caller,
        key: Bytes,
        created: Revision,
        lease: LeaseId,
        value: Bytes,
    ) -> Result<Revision, EtcdError> {
        caller.may_write(&KeyRange::single(key.clone()))?;
        let put = move |writer: &mut Writer| {
            let same = writer.snapshot().get(&key).is_some_and(|record| record.create_revision == created);
            if !same {
                return Err(EtcdError::new(Code::Unknown, "election: not leader"));
            }
            let key = Bytes::copy_from_slice(&key);
            writer.put(&Put { key, value, lease, ignore_value: false, ignore_lease: false })?;
            Ok(())
        };
        let ((), revision) = self.change(put).await.map_err(EtcdError::of_recipe)?;
        Ok(revision)
    }

    fn leads(&self, leader: &Record, revision: Revision) -> LeaderResponse {
        LeaderResponse { header: self.header(revision), kv: Some(pair(leader)) }
    }
}

fn no_leader_given() -> EtcdError {
    EtcdError::new(Code::Unknown, "\"leader\" field must be provided")
}

/// Follows an election.
struct Observer {
    node: Node,
    changes: watch::Receiver<Revision>,
    queue: KeyRange,
    /// The key of the leader.
    leader: Option<Bytes>,
    /// The first revision that was not looked at.
    next: Revision,
    said: VecDeque<LeaderResponse>,
}

impl Observer {
    async fn next(&mut self) -> Result<LeaderResponse, EtcdError> {
        loop {
            if let Some(response) = self.said.pop_front() {
                return Ok(response);
            }
            self.changes.borrow_and_update();
            let snapshot = self.node.store.snapshot();
            self.follow(&snapshot);
            if !self.said.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.changes.changed() => changed.map_err(|_| EtcdError::stopping())?,
                () = self.node.stopping.token.cancelled() => return Err(EtcdError::stopping()),
            }
        }
    }

    /// What the leader said since the last look; who leads now, if it is another one.
    fn follow(&mut self, snapshot: &Snapshot) {
        if self.next < snapshot.log_start() {
            self.leader = None;
        }
        for event in snapshot.commits_from(self.next).flat_map(|commit| commit.events()) {
            if self.leader.as_ref() == Some(event.key()) {
                if event.is_delete() {
                    self.leader = None;
                    break;
                }
                self.said.push_back(self.node.leads(&event.record, event.record.mod_revision));
            }
        }
        self.next = snapshot.revision().next();
        if self.leader.is_none()
            && let Some(leader) = first(snapshot, &self.queue)
        {
            self.leader = Some(leader.key.clone());
            self.said.push_back(self.node.leads(leader, snapshot.revision()));
        }
    }
}

#[tonic::async_trait]
impl Election for Node {
    type ObserveStream = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

    async fn campaign(&self, request: Request<CampaignRequest>) -> Result<Response<CampaignResponse>, Status> {
        Ok(Response::new(Self::campaign(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn proclaim(&self, request: Request<ProclaimRequest>) -> Result<Response<ProclaimResponse>, Status> {
        Ok(Response::new(Self::proclaim(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        Ok(Response::new(Self::leader(self, &self.caller(&request), request.into_inner()).await?))
    }

    async fn observe(&self, request: Request<LeaderRequest>) -> Result<Response<Self::ObserveStream>, Status> {
        use tokio_stream::StreamExt;
        let observed = Self::observe(self, &self.caller(&request), request.get_ref())?;
        Ok(Response::new(Box::pin(observed.map(|response| response.map_err(Status::from)))))
    }

    async fn resign(&self, request: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        Ok(Response::new(Self::resign(self, &self.caller(&request), request.into_inner()).await?))
    }
}
