//! The engine's requests, carried out over gRPC.

use std::time::Duration;

use bytes::Bytes;
use tokio_stream::StreamExt;
use tonic::Status;

use super::exchange::{Answer, Failure, Request};
use super::failure::failure;
use super::held::Change;
use super::keys::Keys;
use super::requests;
use crate::pb::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, RangeRequest, TxnRequest, TxnResponse,
};
use crate::store::KeyRange;
use crate::upstream;

/// How long a request may take before it is counted as failed, and how long reading everything may.
const TIMEOUT: Duration = Duration::from_secs(3);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Carries requests out.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) etcd: upstream::Client,
    pub(super) keys: Keys,
}

impl Client {
    /// Carries a request out. There is an answer in any case.
    pub(super) async fn ask(self, request: Request) -> Answer {
        let most = if matches!(request, Request::Read { .. }) { READ_TIMEOUT } else { TIMEOUT };
        match tokio::time::timeout(most, self.carry_out(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(status)) => Answer::Failed(self.failed(&status)),
            Err(_) => {
                self.etcd.rotate();
                Answer::Failed(Failure::Unknown(format!("no answer in {} s", most.as_secs())))
            }
        }
    }

    /// Notes a failure: the next request goes to another member, or with a new token.
    fn failed(&self, status: &Status) -> Failure {
        self.etcd.has_outlived_token(status);
        let failure = failure(status);
        if matches!(failure, Failure::Unknown(_)) {
            self.etcd.rotate();
        }
        failure
    }

    async fn carry_out(&self, request: Request) -> Result<Answer, Status> {
        match request {
            Request::Grant { ttl } => {
                let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
                let request = self.etcd.request(LeaseGrantRequest { ttl, id: 0 }).await?;
                let granted = self.etcd.lease().lease_grant(request).await?.into_inner();
                Ok(Answer::Granted { lease: granted.id, ttl: seconds(granted.ttl) })
            }
            Request::Keep { lease } => {
                // The stream stays open until the answer has come.
                let keep = tokio_stream::once(LeaseKeepAliveRequest { id: lease }).chain(tokio_stream::pending());
                let request = self.etcd.request(keep).await?;
                let mut answers = self.etcd.lease().lease_keep_alive(request).await?.into_inner();
                let kept = answers.message().await?.ok_or_else(|| Status::unavailable("the stream was closed"))?;
                Ok(Answer::Kept { ttl: seconds(kept.ttl) })
            }
            Request::Revoke { lease } => {
                let request = self.etcd.request(LeaseRevokeRequest { id: lease }).await?;
                self.etcd.lease().lease_revoke(request).await?;
                Ok(Answer::Revoked)
            }
            Request::Enter { lease, key, value } => {
                let response = self.txn(requests::enter(lease, &key, &value)).await?;
                requests::entered(&response).ok_or_else(|| Status::unavailable("the key went while it was looked for"))
            }
            Request::Look => Ok(requests::looked(self.etcd.range(requests::look(&self.keys)).await?)),
            Request::Read { candidate } => self.read(&candidate).await,
            Request::Write { fence, steps } => {
                Ok(requests::wrote(&self.txn(requests::write(&self.keys, &fence, &steps)).await?))
            }
        }
    }

    /// Reads everything at the revision of the first answer.
    async fn read(&self, candidate: &Bytes) -> Result<Answer, Status> {
        let own = self.etcd.range(requests::range(&KeyRange::single(candidate.clone()))).await?;
        let revision = requests::revision(own.header.as_ref());
        let mut entries: Vec<Change> = Vec::new();
        for range in [self.keys.objects(), self.keys.marks()] {
            let range = RangeRequest { revision: revision.0, ..requests::range(&range) };
            self.etcd.read_pages(range, |page| entries.extend(page.into_iter().map(requests::entry))).await?;
        }
        Ok(Answer::Content { revision, entries, standing: requests::standing(&own.kvs) })
    }

    async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Status> {
        let request = self.etcd.request(request).await?;
        Ok(self.etcd.kv().txn(request).await?.into_inner())
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
