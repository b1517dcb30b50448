//! Following an etcd: a watch from where the store is, and the whole state when that is not to be had.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::history::{self, OtherHistory};
use super::link::Upstream;
use crate::pb::etcdserverpb::watch_request::RequestUnion;
use crate::pb::etcdserverpb::{RangeRequest, ResponseHeader, WatchCreateRequest, WatchRequest};
use crate::readiness::Readiness;
use crate::store::{Record, Revision, Store, SubmitError};
use crate::telemetry::upstream as telemetry;
use crate::wire::Identity;
use crate::xds::backoff::Backoff;

/// The first possible key, and as an end: no end.
const EVERYTHING: &[u8] = b"\0";

/// Pairs in one page of the whole state.
const PAGE: i64 = 2_000;

/// Why following has ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// The etcd, or the way to it.
    #[error("{} ({:?})", .0.message(), .0.code())]
    Upstream(#[from] Status),
    /// The store.
    #[error(transparent)]
    Store(#[from] SubmitError),
    /// The watch has ended without an error.
    #[error("the watch was closed")]
    Closed,
    /// Something that an etcd does not do.
    #[error("{0}")]
    Odd(&'static str),
}

/// How long a server that starts waits to hear which cluster it is a replica of.
const INTRODUCTION: std::time::Duration = std::time::Duration::from_secs(3);

/// The identity of a replica: the cluster and the term are the etcd's, the member is this server. If the etcd cannot be
/// asked, they are what they were the last time, or made up.
pub async fn identity(upstream: &Upstream, own: Identity) -> Identity {
    match tokio::time::timeout(INTRODUCTION, head(upstream)).await {
        Ok(Ok(header)) => Identity { cluster_id: header.cluster_id, raft_term: header.raft_term.max(1), ..own },
        _ => own,
    }
}

/// Follows until `token` is cancelled.
pub async fn run(upstream: Upstream, store: Store, readiness: Readiness, token: CancellationToken) {
    let mut backoff = Backoff::new();
    let mut cluster = None;
    loop {
        let ended = tokio::select! {
            () = token.cancelled() => return,
            ended = follow(&upstream, &store, &readiness, &mut cluster, &mut backoff) => ended,
        };
        let Err(error) = ended else { continue };
        let url = upstream.client().current().0.to_owned();
        if upstream.set_connected(false) {
            tracing::warn!(url, %error, "the etcd is gone; what was last known is served");
        } else {
            tracing::debug!(url, %error, "the etcd is still away");
        }
        metrics::gauge!(telemetry::CONNECTED).set(0.0);
        metrics::counter!(telemetry::RECONNECTS).increment(1);
        upstream.client().rotate();
        let pause = backoff.pause();
        tokio::select! {
            () = token.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

/// Follows for as long as one connection holds. Returns without an error to begin anew at once.
async fn follow(
    upstream: &Upstream,
    store: &Store,
    readiness: &Readiness,
    cluster: &mut Option<u64>,
    backoff: &mut Backoff,
) -> Result<(), Ended> {
    let header = head(upstream).await?;
    upstream.set_protected(upstream.client().has_user() && asks_for_names(upstream).await?);
    let known = store.snapshot();
    let other_cluster = cluster.replace(header.cluster_id).is_some_and(|before| before != header.cluster_id);
    if known.revision() == Revision::ZERO {
        load(upstream, store, false).await?;
    } else if other_cluster || header.revision < known.revision().0 || !remembers(upstream, store).await? {
        load(upstream, store, true).await?;
    }
    let from = store.snapshot().revision().next();
    let (requests, body) = mpsc::channel(1);
    let create = WatchCreateRequest {
        key: EVERYTHING.into(),
        range_end: EVERYTHING.into(),
        start_revision: from.0,
        progress_notify: true,
        ..WatchCreateRequest::default()
    };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    requests.send(create).await.map_err(|_| Ended::Closed)?;
    let request = upstream.client().request(ReceiverStream::new(body)).await?;
    let mut responses = upstream.client().watch().watch(request).await?.into_inner();
    while let Some(response) = responses.message().await? {
        upstream.heard();
        if response.canceled {
            if response.compact_revision == 0 {
                return Err(Status::unavailable(format!("the watch was refused: {}", response.cancel_reason)).into());
            }
            tracing::warn!(
                from = from.0,
                compacted = response.compact_revision,
                "history was lost; the state is compared as a whole"
            );
            metrics::counter!(telemetry::REPAIRS).increment(1);
            return load(upstream, store, false).await;
        }
        if response.created {
            if upstream.set_connected(true) {
                let url = upstream.client().current().0;
                tracing::info!(url, revision = from.previous().0, "following the etcd");
            }
            metrics::gauge!(telemetry::CONNECTED).set(1.0);
            readiness.loaded();
            backoff.reset();
        }
        if !response.events.is_empty() {
            let events = response.events;
            store.submit(move |writer| history::follow(writer, &events)).await?;
        }
    }
    Err(Ended::Closed)
}

/// How far the etcd is, and which it is.
async fn head(upstream: &Upstream) -> Result<ResponseHeader, Ended> {
    let request = RangeRequest { key: EVERYTHING.into(), count_only: true, ..RangeRequest::default() };
    let request = upstream.client().request(request).await?;
    let response = upstream.client().kv().range(request).await;
    if response.as_ref().is_err_and(|status| status.code() == Code::Unauthenticated) {
        upstream.client().forget_token();
    }
    response?.into_inner().header.ok_or(Ended::Odd("an answer without a header"))
}

/// Whether those without a name may not read.
async fn asks_for_names(upstream: &Upstream) -> Result<bool, Ended> {
    let request = RangeRequest { key: EVERYTHING.into(), count_only: true, ..RangeRequest::default() };
    match upstream.client().kv().range(request).await {
        Ok(_) => Ok(false),
        Err(status) if matches!(status.code(), Code::Unavailable | Code::Cancelled) => Err(status.into()),
        Err(_) => Ok(true),
    }
}

/// Whether the newest thing that the store knows happened in the etcd as well. One that was wiped and filled again can
/// be at any revision.
async fn remembers(upstream: &Upstream, store: &Store) -> Result<bool, Ended> {
    let known = store.snapshot();
    let newest = known.range(&crate::store::KeyRange::all()).max_by_key(|record| record.mod_revision).cloned();
    let Some(newest) = newest else { return Ok(true) };
    let request = RangeRequest { key: newest.key.clone(), revision: known.revision().0, ..RangeRequest::default() };
    match upstream.client().kv().range(upstream.client().request(request).await?).await {
        Ok(response) => Ok(response
            .into_inner()
            .kvs
            .first()
            .is_some_and(|pair| (pair.mod_revision, &pair.value) == (newest.mod_revision.0, &newest.value))),
        // Compacted: the state as a whole will tell.
        Err(status) if status.code() == Code::OutOfRange => Ok(true),
        Err(status) => Err(status.into()),
    }
}

/// Reads the whole state, and makes the store the same.
async fn load(upstream: &Upstream, store: &Store, other: bool) -> Result<(), Ended> {
    let (revision, pairs) = read_all(upstream).await?;
    let first = store.snapshot().revision() == Revision::ZERO;
    let keys = pairs.len();
    let replaced = store
        .submit(move |writer| {
            if first || other {
                writer.replace_history(revision, pairs);
                return true;
            }
            // Taken apart only if it is of another history, which is rare.
            let copy: Vec<_> = pairs.iter().map(copy).collect();
            if history::repair(writer, revision, copy) == Err(OtherHistory) {
                writer.replace_history(revision, pairs);
                return true;
            }
            false
        })
        .await?;
    if replaced && !first {
        tracing::error!(%revision, keys, "the etcd has another history now: it was replaced or restored; watchers are told to reload");
        metrics::counter!(telemetry::HISTORIES).increment(1);
    }
    Ok(())
}

fn copy(record: &Record) -> Record {
    let numbers = (record.create_revision, record.mod_revision, record.version);
    Record::new(record.key.clone(), record.value.clone(), numbers, record.lease, record.origin)
}

/// The whole state at one revision, in pages.
async fn read_all(upstream: &Upstream) -> Result<(Revision, Vec<Record>), Ended> {
    let (mut key, mut revision, mut pairs) = (Bytes::from_static(EVERYTHING), 0, Vec::new());
    loop {
        let request =
            RangeRequest { key, range_end: EVERYTHING.into(), limit: PAGE, revision, ..RangeRequest::default() };
        let response = upstream.client().kv().range(upstream.client().request(request).await?).await?.into_inner();
        if revision == 0 {
            revision = response.header.ok_or(Ended::Odd("an answer without a header"))?.revision;
        }
        pairs.extend(response.kvs.iter().map(history::record));
        upstream.heard();
        match response.kvs.last() {
            Some(last) if response.more => key = [last.key.as_ref(), b"\0"].concat().into(),
            _ => return Ok((Revision(revision), pairs)),
        }
    }
}
