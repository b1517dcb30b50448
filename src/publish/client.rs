//! The engine's requests, carried out over gRPC.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_stream::StreamExt;
use tonic::Status;

use super::connection::Connection;
use super::exchange::{Answer, Failure, Request};
use super::held::Change;
use super::keys::Keys;
use super::requests;
use crate::pb::etcdserverpb::kv_client::KvClient;
use crate::pb::etcdserverpb::lease_client::LeaseClient;
use crate::pb::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use crate::store::{KeyRange, Revision};

/// How long a request may take before it is counted as failed, and how long reading everything may.
const TIMEOUT: Duration = Duration::from_secs(3);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Pairs in one answer to a read of everything.
const PAGE: i64 = 500;

/// Carries requests out.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) connection: Arc<Connection>,
    pub(super) keys: Keys,
}

impl Client {
    /// Carries a request out. There is an answer in any case.
    pub(super) async fn ask(self, request: Request) -> Answer {
        let most = if matches!(request, Request::Read { .. }) { READ_TIMEOUT } else { TIMEOUT };
        match tokio::time::timeout(most, self.carry_out(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(status)) => Answer::Failed(self.connection.failed(&status)),
            Err(_) => {
                self.connection.leave();
                Answer::Failed(Failure::Unknown(format!("no answer in {} s", most.as_secs())))
            }
        }
    }

    async fn carry_out(&self, request: Request) -> Result<Answer, Status> {
        match request {
            Request::Grant { ttl } => {
                let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
                let request = self.connection.request(LeaseGrantRequest { ttl, id: 0 }).await?;
                let granted = self.leases().lease_grant(request).await?.into_inner();
                Ok(Answer::Granted { lease: granted.id, ttl: seconds(granted.ttl) })
            }
            Request::Keep { lease } => {
                // The stream stays open until the answer has come.
                let keep = tokio_stream::once(LeaseKeepAliveRequest { id: lease }).chain(tokio_stream::pending());
                let request = self.connection.request(keep).await?;
                let mut answers = self.leases().lease_keep_alive(request).await?.into_inner();
                let kept = answers.message().await?.ok_or_else(|| Status::unavailable("the stream was closed"))?;
                Ok(Answer::Kept { ttl: seconds(kept.ttl) })
            }
            Request::Revoke { lease } => {
                let request = self.connection.request(LeaseRevokeRequest { id: lease }).await?;
                self.leases().lease_revoke(request).await?;
                Ok(Answer::Revoked)
            }
            Request::Enter { lease, key, value } => {
                let response = self.txn(requests::enter(lease, &key, &value)).await?;
                requests::entered(&response).ok_or_else(|| Status::unavailable("the key went while it was looked for"))
            }
            Request::Look => Ok(requests::looked(self.range(requests::look(&self.keys)).await?)),
            Request::Read { candidate } => self.read(&candidate).await,
            Request::Write { fence, steps } => {
                Ok(requests::wrote(&self.txn(requests::write(&self.keys, &fence, &steps)).await?))
            }
        }
    }

    /// Reads everything at the revision of the first answer.
    async fn read(&self, candidate: &Bytes) -> Result<Answer, Status> {
        let own = self.range(requests::range(&KeyRange::single(candidate.clone()))).await?;
        let revision = requests::revision(own.header.as_ref());
        let mut entries: Vec<Change> = Vec::new();
        for range in [self.keys.objects(), self.keys.marks()] {
            let mut page = RangeRequest { limit: PAGE, revision: revision.0, ..requests::range(&range) };
            loop {
                let response = self.range(page.clone()).await?;
                let last = response.kvs.last().map(|pair| pair.key.clone());
                entries.extend(response.kvs.into_iter().map(requests::entry));
                match last {
                    Some(last) if response.more => page.key = [last.as_ref(), b"\0"].concat().into(),
                    _ => break,
                }
            }
        }
        Ok(Answer::Content { revision: Revision(revision.0), entries, standing: requests::standing(&own.kvs) })
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Status> {
        let request = self.connection.request(request).await?;
        Ok(self.kv().range(request).await?.into_inner())
    }

    async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Status> {
        let request = self.connection.request(request).await?;
        Ok(self.kv().txn(request).await?.into_inner())
    }

    fn kv(&self) -> KvClient<tonic::transport::Channel> {
        KvClient::new(self.connection.channel()).max_decoding_message_size(usize::MAX)
    }

    fn leases(&self) -> LeaseClient<tonic::transport::Channel> {
        LeaseClient::new(self.connection.channel())
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
