//! Watches on etcd, as events for the engine.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::client::Client;
use super::exchange::Event;
use super::held::Change;
use crate::pb::etcdserverpb::watch_create_request::FilterType;
use crate::pb::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse, watch_request};
use crate::pb::mvccpb::event::EventType;
use crate::store::{KeyRange, Revision};

/// A watch on one or more ranges.
#[derive(Debug)]
pub(super) struct Follow {
    responses: Streaming<WatchResponse>,
    /// Keeps the stream open.
    _requests: mpsc::Sender<WatchRequest>,
    /// For each range, the revision up to which everything was told.
    told: Vec<i64>,
}

impl Follow {
    /// Follows what leaves the queue after a revision.
    pub(super) async fn queue(client: Client, after: Revision) -> Result<Self, Status> {
        let range = client.keys.queue();
        Self::open(client, &[range], after, vec![FilterType::Noput.into()]).await
    }

    /// Follows objects and marks after a revision.
    pub(super) async fn content(client: Client, after: Revision) -> Result<Self, Status> {
        let ranges = [client.keys.objects(), client.keys.marks()];
        Self::open(client, &ranges, after, Vec::new()).await
    }

    /// Something that left the queue; none when the watch has ended.
    pub(super) async fn moved(&mut self) -> Event {
        match self.next().await {
            Some(_) => Event::QueueMoved,
            None => Event::QueueLost,
        }
    }

    /// What changed; the loss when the watch has ended.
    pub(super) async fn changed(&mut self) -> Event {
        let Some(response) = self.next().await else { return Event::ContentLost };
        let change = |event: crate::pb::mvccpb::Event| {
            let deleted = event.r#type() == EventType::Delete;
            let pair = event.kv.unwrap_or_default();
            let revision = Revision(pair.mod_revision);
            Change { key: pair.key, value: (!deleted).then_some(pair.value), revision }
        };
        let changes: Vec<_> = response.events.into_iter().map(change).collect();
        let told = usize::try_from(response.watch_id).ok().and_then(|id| self.told.get_mut(id));
        if let (Some(told), Some(last)) = (told, changes.last()) {
            *told = last.revision.0;
        }
        // One range may be told of a revision before another one is.
        Event::Content { revision: Revision(self.told.iter().copied().min().unwrap_or(0)), changes }
    }

    async fn open(client: Client, ranges: &[KeyRange], after: Revision, filters: Vec<i32>) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::channel(ranges.len());
        for range in ranges {
            let create = WatchCreateRequest {
                key: range.start().clone(),
                range_end: range.end().unwrap_or_default(),
                start_revision: after.next().0,
                filters: filters.clone(),
                ..WatchCreateRequest::default()
            };
            let request_union = Some(watch_request::RequestUnion::CreateRequest(create));
            requests
                .try_send(WatchRequest { request_union })
                .map_err(|_| Status::internal("the queue has a place for each range"))?;
        }
        let request = client.etcd.request(ReceiverStream::new(outgoing)).await?;
        let responses = client.etcd.watch().watch(request).await?.into_inner();
        Ok(Self { responses, _requests: requests, told: vec![after.0; ranges.len()] })
    }

    /// The next response with events.
    async fn next(&mut self) -> Option<WatchResponse> {
        loop {
            match self.responses.message().await {
                Ok(Some(response)) if response.canceled => return None,
                Ok(Some(response)) if response.events.is_empty() => {}
                Ok(Some(response)) => return Some(response),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}
