//! What every call needs.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::ending::Stopping;
use super::range_cache::RangeCache;
use super::status::EtcdError;
use crate::auth::{Auth, Caller, Credentials};
use crate::config::live::Live;
use crate::pb::etcdserverpb::{RangeRequest, ResponseHeader};
use crate::readiness::Readiness;
use crate::serve::memory::Ledger;
use crate::store::{KeyRange, Revision, Snapshot, Store, Writer};
use crate::upstream::{Cluster, Upstream, forward};
use crate::watch::Hub;
use crate::wire::Identity;

/// Version that the server says it is: of the API that it speaks, as clients compare it. Plain numbers, as some of
/// them parse nothing else.
pub const ETCD_VERSION: &str = "3.5.21";

/// Version of the cluster, as `apisix init_etcd` reads it.
pub const CLUSTER_VERSION: &str = "3.5.0";

/// The server as its calls see it. Clones share everything.
#[derive(Clone, Debug)]
pub struct Node {
    /// The store.
    pub store: Store,
    /// Where watchers meet the store.
    pub hub: Arc<Hub>,
    /// What response headers say, as far as the cluster of a mirrored etcd is not known.
    pub own_identity: Identity,
    /// Who may do what.
    pub auth: Auth,
    /// Whether changes outlive the process.
    pub durable: bool,
    /// Whether there is anything to serve.
    pub readiness: Readiness,
    /// The end of watch streams.
    pub stopping: Stopping,
    /// Settings that change while it runs.
    pub live: Live,
    /// Memory of requests and answers.
    pub memory: Ledger,
    /// Ranges that are kept as they are written.
    pub ranges: Arc<RangeCache>,
    /// The etcd that this mirrors; none if the store is its own.
    pub upstream: Option<Upstream>,
    /// What goes on after a request has ended, and connections.
    pub tasks: TaskTracker,
    /// URL under which clients reach the server, given out in the member list.
    pub client_url: Arc<str>,
}

impl Node {
    /// Who makes a gRPC request.
    pub(super) fn caller<T>(&self, request: &tonic::Request<T>) -> Caller {
        self.auth.caller(&credentials(request.metadata().as_ref(), request.extensions()))
    }

    /// What response headers say: a replica is a member of the cluster that it mirrors.
    pub fn identity(&self) -> Identity {
        match self.upstream.as_ref().and_then(Upstream::cluster) {
            Some(Cluster { id, term }) => Identity { cluster_id: id, raft_term: term, ..self.own_identity },
            None => self.own_identity,
        }
    }

    /// Refuses to say who answers while a mirror does not know that yet.
    pub(super) fn must_know_itself(&self) -> Result<(), EtcdError> {
        let knows = self.upstream.as_ref().is_none_or(|upstream| upstream.cluster().is_some());
        if knows || self.readiness.is_loaded() { Ok(()) } else { Err(self.not_loaded()) }
    }

    /// The state to answer a read from.
    pub fn read(&self) -> Result<Arc<Snapshot>, EtcdError> {
        if self.auth.file().is_none() && self.upstream.as_ref().is_some_and(Upstream::forbids_reads) {
            return Err(EtcdError::new(
                tonic::Code::PermissionDenied,
                "confcast: the etcd behind this mirror has users, whose permissions a mirror does not know; \
                 read there, give the mirror users of its own with --users-file, or allow everybody with \
                 --upstream-open-reads",
            ));
        }
        if self.readiness.is_loaded() {
            return Ok(self.store.snapshot());
        }
        Err(self.not_loaded())
    }

    /// Refuses what a mirror of some prefixes does not keep, as an answer without it would be wrong.
    pub(super) fn must_keep(&self, range: &KeyRange) -> Result<(), EtcdError> {
        match &self.upstream {
            Some(upstream) if !upstream.prefixes().cover(range) => {
                Err(EtcdError::new(tonic::Code::InvalidArgument, upstream.prefixes().refusal()))
            }
            _ => Ok(()),
        }
    }

    /// The etcd that answers a call which a mirror does not; none if this server answers it.
    ///
    /// A mirror with users of its own knows them itself. Its etcd does not know them, so that it could not decide over
    /// what they write.
    pub fn answered_by(&self, path: &str) -> Result<Option<&Upstream>, EtcdError> {
        let Some(upstream) = self.upstream.as_ref().filter(|_| forward::is_forwarded(path)) else { return Ok(None) };
        match self.auth.file() {
            None => Ok(Some(upstream)),
            Some(_) if path.starts_with("/etcdserverpb.Auth/") => Ok(None),
            Some(_) => Err(EtcdError::new(
                tonic::Code::PermissionDenied,
                "confcast: this mirror has users of its own (--users-file), who may read; write at the etcd behind it",
            )),
        }
    }

    fn not_loaded(&self) -> EtcdError {
        let waiting_for = self.readiness.missing().map_or_else(String::new, |(what, _)| what);
        EtcdError::not_loaded(&waiting_for)
    }

    /// Waits until a read sees everything that was written before it, wherever it was written, or what it asks for by
    /// its revision. Costs nothing where the store is the only place for writes. A mirror of this one is told when that
    /// cannot be known.
    pub async fn catch_up(&self, request: &RangeRequest, of_mirror: bool) -> Result<(), EtcdError> {
        let Some(upstream) = &self.upstream else { return Ok(()) };
        let is_known = !request.serializable && upstream.catch_up(of_mirror).await?;
        // What is later than all that the etcd has is refused at once, as it does.
        if !is_known && self.read()?.revision() < Revision(request.revision) {
            upstream.look_ahead(Revision(request.revision)).await;
        }
        Ok(())
    }

    /// Runs a change and returns its result with the revision after it.
    pub(super) async fn change<R, E, F>(&self, change: F) -> Result<(R, Revision), EtcdError>
    where
        F: FnOnce(&mut Writer) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: Into<EtcdError> + Send + 'static,
    {
        let run = |writer: &mut Writer| change(writer).map(|result| (result, writer.snapshot().revision()));
        self.store.submit(run).await?.map_err(Into::into)
    }

    /// The header of a response at `revision`.
    #[expect(clippy::unnecessary_wraps, reason = "the type of the field in every response")]
    pub(super) fn header(&self, revision: Revision) -> Option<ResponseHeader> {
        let Identity { cluster_id, member_id, raft_term } = self.identity();
        Some(ResponseHeader { cluster_id, member_id, revision: revision.0, raft_term })
    }

    /// The header of a response at the current revision.
    pub(super) fn header_now(&self) -> Option<ResponseHeader> {
        self.header(self.store.snapshot().revision())
    }
}

/// What a gRPC request brings along. The token may be under either of the names that clients use.
pub fn credentials(headers: &http::HeaderMap, extensions: &http::Extensions) -> Credentials {
    let value = headers.get("token").or_else(|| headers.get(http::header::AUTHORIZATION));
    let token = value.and_then(|value| value.to_str().ok()).filter(|token| !token.is_empty());
    Credentials { token: token.map(str::to_owned), peer: extensions.get().cloned() }
}
