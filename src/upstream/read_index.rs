//! How far the etcd is, asked once for all who want to know at the same time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tonic::Status;

use super::client::Client;
use crate::pb::etcdserverpb::RangeRequest;

/// How long the etcd may take to say how far it is.
const PATIENCE: Duration = Duration::from_secs(3);

/// One round of asking: who comes while it has not begun shares its answer.
type Round = Arc<tokio::sync::OnceCell<Result<i64, Status>>>;

/// Rounds of asking.
#[derive(Debug, Default)]
pub(super) struct ReadIndex {
    /// The round that has not begun. Held for moments only.
    next: std::sync::Mutex<Round>,
    /// Held by who asks, so that those who come meanwhile gather for the next round.
    asking: Mutex<()>,
}

impl ReadIndex {
    /// A revision of the etcd that is not older than this call.
    pub(super) async fn ask(&self, client: &Client) -> Result<i64, Status> {
        let round = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let answer = round.get_or_init(|| async {
            let _turn = self.asking.lock().await;
            // From here on whoever comes must not share this answer, as it may be older than they are.
            *self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Round::default();
            match tokio::time::timeout(PATIENCE, current_revision(client)).await {
                Ok(answer) => answer,
                Err(_) => Err(Status::unavailable("no answer for 3 s")),
            }
        });
        answer.await.clone()
    }
}

async fn current_revision(client: &Client) -> Result<i64, Status> {
    let request = RangeRequest { key: b"\0".as_slice().into(), count_only: true, ..RangeRequest::default() };
    let response = client.range(request).await?;
    response.header.map(|header| header.revision).ok_or_else(|| Status::internal("an answer without a header"))
}
