//! Which call an HTTP request is for.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::probes::Metrics;
use super::{answer, json, path, probes, streams, watch};
use crate::auth::{Caller, Credentials};
use crate::pb::etcdserverpb::RangeRequest;
use crate::rpc::range::Form;
use crate::rpc::router::WATCH;
use crate::rpc::{EtcdError, Node};
use crate::serve::body::{self, AppBody};
use crate::serve::memory::Hold;
use crate::serve::request::RequestBody;
use crate::telemetry::calls;

/// The HTTP side of the port.
#[derive(Clone)]
pub struct Gateway {
    node: Node,
    metrics: Option<Metrics>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("node", &self.node).finish_non_exhaustive()
    }
}

/// A request of the API, and what came with it in headers.
pub(super) struct Call {
    pub(super) node: Node,
    pub(super) credentials: Credentials,
    /// When the client gives up, by its own word.
    pub(super) deadline: Option<Instant>,
    pub(super) request: Request<RequestBody>,
    /// What counts a watch.
    pub(super) counted: Option<calls::Call>,
}

type Answer = Result<Response<AppBody>, EtcdError>;
type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Call {
    pub(super) fn caller(&self) -> Caller {
        self.node.auth.caller(&self.credentials)
    }
}

impl Gateway {
    /// The gateway to `node`. `metrics` gives what `/metrics` shows.
    pub fn new(node: Node, metrics: Option<Metrics>) -> Self {
        Self { node, metrics }
    }

    /// Answers an HTTP request.
    pub async fn call(&self, request: Request<RequestBody>) -> Response<AppBody> {
        if request.method() == Method::OPTIONS {
            return answer::options();
        }
        let path = match path::clean(request.uri().path()) {
            path::Clean::Path(path) => path.into_owned(),
            path::Clean::Elsewhere(path) => return answer::moved(&path, request.method() == Method::GET),
        };
        // etcd still answers under the name that the API had before 3.4.
        let Some(name) = path.strip_prefix("/v3/").or_else(|| path.strip_prefix("/v3beta/")) else {
            return probes::answer(&self.node, self.metrics.as_ref(), request.method(), request.uri(), &path);
        };
        let Some((path, handler)) = find(name) else { return answer::no_such_call() };
        if request.method() != Method::POST {
            return answer::method_not_allowed(None);
        }
        if is_encoded(request.headers()) {
            return answer::encoded();
        }
        let counted = calls::Call::start(path);
        // A watch, whose connection may be taken over, carries its own.
        let (counted, carried) = if path == WATCH { (None, Some(counted)) } else { (Some(counted), None) };
        let response = match self.run(handler, request, carried).await {
            Ok(response) => response,
            Err(error) => {
                if let Some(counted) = counted {
                    counted.end(error.code());
                }
                return answer::error(&error);
            }
        };
        match counted {
            None => response,
            Some(counted) => body::count(response, counted),
        }
    }

    async fn run(&self, handler: Handler, request: Request<RequestBody>, counted: Option<calls::Call>) -> Answer {
        let token = token(request.headers()).map(str::to_owned);
        let credentials = Credentials { token, peer: request.extensions().get().cloned() };
        let deadline = timeout(request.headers())?.and_then(|timeout| Instant::now().checked_add(timeout));
        let answer = handler(Call { node: self.node.clone(), credentials, deadline, request, counted });
        match deadline {
            None => answer.await,
            Some(deadline) if deadline <= Instant::now() => Err(EtcdError::deadline()),
            Some(deadline) => {
                tokio::time::timeout_at(deadline, answer).await.unwrap_or_else(|_| Err(EtcdError::deadline()))
            }
        }
    }
}

/// A call with one answer and its path over gRPC: one that is answered here, or one that a mirror leaves to its etcd.
macro_rules! unary {
    (here $method:ident, $path:literal) => {
        ($path, |call| {
            Box::pin(async move {
                let (node, caller) = (call.node.clone(), call.caller());
                unary(call, async |request| node.$method(&caller, request).await).await
            })
        })
    };
    ($method:ident, $path:literal) => {
        ($path, |call| {
            Box::pin(async move {
                let (node, caller, token) = (call.node.clone(), call.caller(), call.credentials.token.clone());
                let run = async |request| match node.answered_by($path)? {
                    Some(upstream) => Ok(upstream.call($path, request, token.as_deref()).await?),
                    None => node.$method(&caller, request).await,
                };
                unary(call, run).await
            })
        })
    };
}

/// Whether the body is compressed. It is never unpacked: a kilobyte could become a gigabyte.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// The call of this name, in the words of the paths below `/v3/`, and its path over gRPC.
fn find(name: &str) -> Option<(&'static str, Handler)> {
    Some(match name {
        "kv/range" => ("/etcdserverpb.KV/Range", |call| Box::pin(range(call))),
        "kv/put" => unary!(put, "/etcdserverpb.KV/Put"),
        "kv/deleterange" => unary!(delete_range, "/etcdserverpb.KV/DeleteRange"),
        "kv/txn" => unary!(txn, "/etcdserverpb.KV/Txn"),
        "kv/compaction" => unary!(compact, "/etcdserverpb.KV/Compact"),
        "watch" => (WATCH, |call| Box::pin(watch::watch(call))),
        "lease/grant" => unary!(lease_grant, "/etcdserverpb.Lease/LeaseGrant"),
        "lease/revoke" | "kv/lease/revoke" => unary!(lease_revoke, "/etcdserverpb.Lease/LeaseRevoke"),
        "lease/keepalive" => ("/etcdserverpb.Lease/LeaseKeepAlive", |call| Box::pin(streams::keep_alive(call))),
        "lease/timetolive" | "kv/lease/timetolive" => unary!(lease_time_to_live, "/etcdserverpb.Lease/LeaseTimeToLive"),
        "lease/leases" | "kv/lease/leases" => unary!(lease_leases, "/etcdserverpb.Lease/LeaseLeases"),
        "cluster/member/list" => unary!(here member_list, "/etcdserverpb.Cluster/MemberList"),
        "cluster/member/add" => ("/etcdserverpb.Cluster/MemberAdd", |_| refuse("adding a member")),
        "cluster/member/remove" => ("/etcdserverpb.Cluster/MemberRemove", |_| refuse("removing a member")),
        "cluster/member/update" => ("/etcdserverpb.Cluster/MemberUpdate", |_| refuse("changing a member")),
        "cluster/member/promote" => ("/etcdserverpb.Cluster/MemberPromote", |_| refuse("promoting a member")),
        "maintenance/status" => unary!(here status, "/etcdserverpb.Maintenance/Status"),
        "maintenance/alarm" => unary!(here alarm, "/etcdserverpb.Maintenance/Alarm"),
        "maintenance/defragment" => unary!(here defragment, "/etcdserverpb.Maintenance/Defragment"),
        "maintenance/hash" => unary!(here hash, "/etcdserverpb.Maintenance/Hash"),
        "maintenance/hashkv" => unary!(here hash_kv, "/etcdserverpb.Maintenance/HashKV"),
        "maintenance/snapshot" => {
            ("/etcdserverpb.Maintenance/Snapshot", |call| Box::pin(async move { streams::snapshot(&call) }))
        }
        "maintenance/transfer-leadership" => unary!(here move_leader, "/etcdserverpb.Maintenance/MoveLeader"),
        "maintenance/downgrade" => unary!(here downgrade, "/etcdserverpb.Maintenance/Downgrade"),
        "auth/authenticate" => ("/etcdserverpb.Auth/Authenticate", |call| Box::pin(authenticate(call))),
        "auth/status" => unary!(auth_status, "/etcdserverpb.Auth/AuthStatus"),
        "auth/enable" => unary!(auth_enable, "/etcdserverpb.Auth/AuthEnable"),
        "auth/disable" => unary!(auth_disable, "/etcdserverpb.Auth/AuthDisable"),
        "auth/user/add" => unary!(user_add, "/etcdserverpb.Auth/UserAdd"),
        "auth/user/get" => unary!(user_get, "/etcdserverpb.Auth/UserGet"),
        "auth/user/list" => unary!(user_list, "/etcdserverpb.Auth/UserList"),
        "auth/user/delete" => unary!(user_delete, "/etcdserverpb.Auth/UserDelete"),
        "auth/user/changepw" => unary!(user_change_password, "/etcdserverpb.Auth/UserChangePassword"),
        "auth/user/grant" => unary!(user_grant_role, "/etcdserverpb.Auth/UserGrantRole"),
        "auth/user/revoke" => unary!(user_revoke_role, "/etcdserverpb.Auth/UserRevokeRole"),
        "auth/role/add" => unary!(role_add, "/etcdserverpb.Auth/RoleAdd"),
        "auth/role/get" => unary!(role_get, "/etcdserverpb.Auth/RoleGet"),
        "auth/role/list" => unary!(role_list, "/etcdserverpb.Auth/RoleList"),
        "auth/role/delete" => unary!(role_delete, "/etcdserverpb.Auth/RoleDelete"),
        "auth/role/grant" => unary!(role_grant_permission, "/etcdserverpb.Auth/RoleGrantPermission"),
        "auth/role/revoke" => unary!(role_revoke_permission, "/etcdserverpb.Auth/RoleRevokePermission"),
        "lock/lock" => unary!(lock, "/v3lockpb.Lock/Lock"),
        "lock/unlock" => unary!(unlock, "/v3lockpb.Lock/Unlock"),
        "election/campaign" => unary!(campaign, "/v3electionpb.Election/Campaign"),
        "election/proclaim" => unary!(proclaim, "/v3electionpb.Election/Proclaim"),
        "election/leader" => unary!(leader, "/v3electionpb.Election/Leader"),
        "election/observe" => ("/v3electionpb.Election/Observe", |call| Box::pin(streams::observe(call))),
        "election/resign" => unary!(resign, "/v3electionpb.Election/Resign"),
        _ => return None,
    })
}

fn refuse(what: &'static str) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
    Box::pin(async move { Err(EtcdError::unimplemented(what)) })
}

async fn range(call: Call) -> Answer {
    let (node, caller) = (call.node.clone(), call.caller());
    let hold = Hold::of(call.request.extensions());
    let request: RangeRequest = read(&node, call.request).await?;
    node.catch_up(&request, false).await?;
    Ok(answer::message(node.range_message(&caller, &request, Form::Json, hold.as_ref())?))
}

async fn authenticate(call: Call) -> Answer {
    let (node, Credentials { token, peer }) = (call.node.clone(), call.credentials.clone());
    let path = "/etcdserverpb.Auth/Authenticate";
    let run = async |request| match node.answered_by(path)? {
        Some(upstream) => Ok(upstream.call(path, request, token.as_deref()).await?),
        None => node.log_in(peer.as_deref(), request).await,
    };
    unary(call, run).await
}

async fn unary<Q, A>(call: Call, run: impl AsyncFnOnce(Q) -> Result<A, EtcdError>) -> Answer
where
    Q: DeserializeOwned + Default,
    A: Serialize + Message,
{
    let hold = Hold::of(call.request.extensions());
    let response = run(read(&call.node, call.request).await?).await?;
    if let Some(hold) = hold {
        hold.grow(Form::Json.length(response.encoded_len()))?;
    }
    Ok(answer::message(serde_json::to_vec(&response).map_err(EtcdError::malformed)?))
}

/// The token that a request brings. Headers of gRPC's that are meant for the server behind a gateway have a prefix.
fn token(headers: &HeaderMap) -> Option<&str> {
    let names = ["grpc-metadata-token", "grpc-metadata-authorization", "authorization"];
    let value = names.into_iter().find_map(|name| headers.get(name));
    value.and_then(|value| value.to_str().ok()).filter(|token| !token.is_empty())
}

/// How long the client waits: a number and a unit, as in gRPC.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, EtcdError> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let wrong = || EtcdError::malformed(format!("invalid grpc-timeout: {text}"));
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    Ok(Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return Err(wrong()),
    }))
}

/// Reads the message in the body of a request.
pub(super) async fn read<T>(node: &Node, request: Request<RequestBody>) -> Result<T, EtcdError>
where
    T: DeserializeOwned + Default,
{
    let limits = node.live.get().limits;
    let hold = Hold::of(request.extensions());
    let body = read_body(request, limits.body_bytes()).await?;
    // What is made of a small one is small, too.
    if let Some(hold) = hold.filter(Hold::counts) {
        hold.grow(json::footprint(&body))?;
    }
    json::read(&body, limits.json_depth)
}

/// Reads a body of at most so many bytes, and refuses one that says it has more before reading it.
async fn read_body(request: Request<RequestBody>, most: usize) -> Result<Bytes, EtcdError> {
    let body = request.into_body();
    if let Some(length) = body.size_hint().exact().and_then(|length| usize::try_from(length).ok())
        && length > most
    {
        return Err(EtcdError::message_too_large(length, most));
    }
    match Limited::new(body, most).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(EtcdError::message_too_large(most + 1, most))
        }
        Err(error) => Err(EtcdError::of_body(&*error)),
    }
}
