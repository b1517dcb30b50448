//! Following an etcd: a watch from where the store is, and the whole state when that is not to be had.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::engine::{Engine, News, Next};
use super::history;
use super::link::{Cluster, Upstream};
use crate::backoff::Backoff;
use crate::pb::etcdserverpb::watch_request::RequestUnion;
use crate::pb::etcdserverpb::{RangeRequest, ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse};
use crate::pb::mvccpb::KeyValue;
use crate::readiness::Readiness;
use crate::store::{Record, Revision, Store, SubmitError, Writer};
use crate::telemetry::upstream as telemetry;
use crate::traces::{Change, Heard, Push, Step, Traces, Written};

/// The first possible key, and as an end: no end.
const EVERYTHING: &[u8] = b"\0";

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
    Odd(String),
}

/// Longest pause before the etcd is tried again. There are few mirrors, and many who wait for them.
const AWAY: Duration = Duration::from_secs(2);

/// How long the events at the revision at which the watch begins may take, and each response with events of the past.
const JOINT: Duration = Duration::from_secs(1);

/// How long all events of the past may take, once the state before them is there. Nobody is served meanwhile.
const PAST: Duration = Duration::from_secs(5);

/// Follows until `token` is cancelled.
pub async fn run(upstream: Upstream, store: Store, readiness: Readiness, traces: Traces, token: CancellationToken) {
    let mut backoff = Backoff::up_to(AWAY);
    let mut engine = Engine::of(upstream.prefixes().clone(), upstream.history());
    let mut is_news = true;
    loop {
        let ended = tokio::select! {
            () = token.cancelled() => return,
            ended = follow(&upstream, &store, &readiness, &traces, &mut engine, &mut backoff) => ended,
        };
        let Err(error) = ended;
        let url = upstream.client().current().0.to_owned();
        if upstream.set_connected(false) || std::mem::take(&mut is_news) {
            tracing::warn!(url, %error, "the etcd cannot be followed; what was last known is served, if anything");
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

/// Follows for as long as one connection holds.
async fn follow(
    upstream: &Upstream,
    store: &Store,
    readiness: &Readiness,
    traces: &Traces,
    engine: &mut Engine,
    backoff: &mut Backoff,
) -> Result<Infallible, Ended> {
    let ResponseHeader { cluster_id: cluster, revision, raft_term, .. } = head(upstream).await?;
    upstream.set_protected(has_users(upstream).await?);
    let mut next = turn(store, engine, move |engine, writer| engine.found(writer, cluster, Revision(revision))).await?;
    let mut watch = None;
    // Since when the store is in the past.
    let mut past = Instant::now();
    loop {
        let (then, news) = match (next, &mut watch) {
            (Next::Leave(why), _) => return Err(Ended::Odd(why)),
            (Next::Load, _) => {
                // What is shown may be of another history.
                upstream.set_connected(false);
                watch = None;
                let (header, pairs) = read_all(upstream, 0).await?;
                let revision = Revision(header.revision);
                turn(store, engine, move |engine, writer| engine.loaded(writer, header.cluster_id, revision, pairs))
                    .await?
            }
            (Next::Begin(revision), _) => match read_past(upstream, revision).await? {
                Some((cluster, revision, pairs)) => {
                    // However long it took to read.
                    past = Instant::now();
                    turn(store, engine, move |engine, writer| engine.loaded(writer, cluster, revision, pairs)).await?
                }
                None => (engine.past_is_gone(), None),
            },
            (Next::Compare(revision), _) => {
                let pairs = match read_all(upstream, revision.0).await {
                    Ok((_, pairs)) => Some(pairs),
                    // Compacted.
                    Err(status) if status.code() == Code::OutOfRange => None,
                    Err(status) => return Err(status.into()),
                };
                let compared =
                    move |engine: &mut Engine, writer: &mut Writer| engine.compared(writer, pairs.as_deref());
                (turn(store, engine, compared).await?, None)
            }
            (Next::Watch(from), _) => {
                watch = Some(Watch::open(upstream, from).await?);
                (Next::Read, None)
            }
            (Next::Read, None) => return Err(Ended::Closed),
            (Next::Read, Some(watch)) => {
                let wait = match engine.is_waiting() {
                    true if engine.is_behind() => JOINT.min(PAST.saturating_sub(past.elapsed())),
                    true => JOINT,
                    false => Duration::MAX,
                };
                match timeout(wait, watch.responses.message()).await {
                    Err(_) => turn(store, engine, |engine, writer| engine.waited(writer)).await?,
                    Ok(response) => {
                        let response = response?.ok_or(Ended::Closed)?;
                        upstream.heard();
                        let (heard, before) = (Instant::now(), store.snapshot().revision());
                        let events = response.events.len();
                        let told = turn(store, engine, move |engine, writer| engine.told(writer, &response)).await?;
                        tell_of(traces, upstream, store, (heard, events), before);
                        told
                    }
                }
            }
        };
        // Before anybody is told that there is something to be read.
        if let Some(id) = engine.cluster() {
            upstream.set_cluster(Cluster { id, term: raft_term.max(1) });
        }
        if let Some(news) = news {
            tell(news, upstream, store, readiness, backoff);
        }
        next = then;
    }
}

/// Gives the engine its turn on the sequencer's thread.
async fn turn<R, F>(store: &Store, engine: &mut Engine, run: F) -> Result<R, SubmitError>
where
    F: FnOnce(&mut Engine, &mut Writer) -> R + Send + 'static,
    R: Send + 'static,
{
    let mut taken = engine.clone();
    let run = move |writer: &mut Writer| {
        let before = taken.cluster();
        let result = run(&mut taken, writer);
        if let Some(id) = taken.cluster().filter(|id| before != Some(*id)) {
            writer.keep_cluster(id);
        }
        (taken, result)
    };
    let (after, result) = store.submit(run).await?;
    *engine = after;
    Ok(result)
}

/// Tells of what a response has brought.
fn tell_of(traces: &Traces, upstream: &Upstream, store: &Store, (heard, events): (Instant, usize), before: Revision) {
    if !traces.are_wanted() {
        return;
    }
    let snapshot = store.snapshot();
    // Not what was known, or is about other keys than those that are kept.
    if let Some(first) = snapshot.commits_from(before.next()).next().map(|commit| commit.revision()) {
        let written = Written::Store(first, snapshot.revision());
        let push = Push::begin(Heard { at: heard, ..Heard::now(upstream.client().current().0) }, events);
        traces.tell(|| Change { push, translated: None, committed: Step::since(heard), written });
    }
}

fn tell(news: News, upstream: &Upstream, store: &Store, readiness: &Readiness, backoff: &mut Backoff) {
    let snapshot = store.snapshot();
    let (revision, keys) = (snapshot.revision(), snapshot.len());
    match news {
        News::Following => {
            if upstream.set_connected(true) {
                let url = upstream.client().current().0;
                tracing::info!(url, %revision, "following the etcd");
            }
            metrics::gauge!(telemetry::CONNECTED).set(1.0);
            readiness.loaded();
            backoff.reset();
        }
        News::Lost => {
            tracing::warn!(%revision, "history was lost; the state is compared as a whole");
            metrics::counter!(telemetry::REPAIRS).increment(1);
        }
        News::OtherHistory => {
            tracing::error!(%revision, keys, "the etcd has another history now: it was replaced or restored; watchers are told to reload");
            metrics::counter!(telemetry::HISTORIES).increment(1);
        }
    }
}

/// A watch on everything.
struct Watch {
    responses: Streaming<WatchResponse>,
    /// Keeps the stream open.
    _requests: mpsc::Sender<WatchRequest>,
}

impl Watch {
    async fn open(upstream: &Upstream, from: Revision) -> Result<Self, Ended> {
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
        let responses = upstream.client().watch().watch(request).await?.into_inner();
        Ok(Self { responses, _requests: requests })
    }
}

/// How far the etcd is, and which it is.
async fn head(upstream: &Upstream) -> Result<ResponseHeader, Ended> {
    let request = RangeRequest { key: EVERYTHING.into(), count_only: true, ..RangeRequest::default() };
    upstream.client().range(request).await?.header.ok_or(Ended::Odd("an answer without a header".into()))
}

/// Whether those without a name may not read, as far as this client would not notice it itself.
async fn has_users(upstream: &Upstream) -> Result<bool, Ended> {
    if upstream.client().has_certificate() {
        // Every request on these connections may have a name by it.
        return Ok(upstream.client().has_log_in().await?);
    }
    if !upstream.client().has_user() {
        return Ok(false);
    }
    let request = RangeRequest { key: EVERYTHING.into(), count_only: true, ..RangeRequest::default() };
    match upstream.client().kv().range(request).await {
        Ok(_) => Ok(false),
        Err(status) if matches!(status.code(), Code::Unavailable | Code::Cancelled) => Err(status.into()),
        Err(_) => Ok(true),
    }
}

/// The whole state at a revision of the past, or, if that was compacted, at the first one that was not; with the
/// cluster and the revision. None if it is compacted faster than it is read.
async fn read_past(upstream: &Upstream, mut revision: Revision) -> Result<Option<(u64, Revision, Vec<Record>)>, Ended> {
    for _ in 0..3 {
        match read_all(upstream, revision.0).await {
            Ok((header, pairs)) => return Ok(Some((header.cluster_id, revision, pairs))),
            Err(status) if status.code() == Code::OutOfRange => {}
            Err(status) => return Err(status.into()),
        }
        match compacted(upstream, revision).await? {
            Some(later) if later > revision => revision = later,
            _ => break,
        }
    }
    Ok(None)
}

/// The revision of the last compaction, if it is after this one: only a watch is told that.
async fn compacted(upstream: &Upstream, revision: Revision) -> Result<Option<Revision>, Ended> {
    let mut watch = Watch::open(upstream, revision).await?;
    let told = async {
        while let Some(response) = watch.responses.message().await? {
            if response.canceled || !response.events.is_empty() {
                return Ok(Revision(response.compact_revision));
            }
        }
        Err(Ended::Closed)
    };
    // Where nothing is told, there was no compaction.
    timeout(JOINT, told).await.ok().transpose()
}

/// The whole state at a revision, or at the current one for 0, as far as it is mirrored.
async fn read_all(upstream: &Upstream, revision: i64) -> Result<(ResponseHeader, Vec<Record>), Status> {
    let (mut pairs, mut first) = (Vec::new(), None);
    let mut take = |page: Vec<KeyValue>| {
        pairs.extend(page.iter().map(history::record));
        upstream.heard();
    };
    for range in upstream.prefixes().ranges() {
        let key = if range.start().is_empty() { EVERYTHING.into() } else { range.start().clone() };
        let range_end = range.end().unwrap_or_else(|| EVERYTHING.into());
        // At the revision at which the first was read.
        let revision = first.as_ref().map_or(revision, |header: &ResponseHeader| header.revision);
        let request = RangeRequest { key, range_end, revision, ..RangeRequest::default() };
        let header = upstream.client().read_pages(request, &mut take).await?;
        first.get_or_insert(header);
    }
    let header = first.ok_or_else(|| Status::internal("nothing is mirrored"))?;
    Ok((header, pairs))
}
