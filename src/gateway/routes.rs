//! Which call an HTTP request is for.

use std::future::Future;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{answer, json, watch};
use crate::pb::etcdserverpb::RangeRequest;
use crate::rpc::node::{CLUSTER_VERSION, ETCD_VERSION, MAX_MESSAGE};
use crate::rpc::{EtcdError, Node, range};
use crate::serve::body::AppBody;

/// The HTTP side of the port.
#[derive(Clone, Debug)]
pub struct Gateway {
    node: Node,
}

impl Gateway {
    /// The gateway to `node`.
    pub fn new(node: Node) -> Self {
        Self { node }
    }

    /// Answers an HTTP request.
    pub async fn call(&self, request: Request<Incoming>) -> Response<AppBody> {
        if request.method() == Method::OPTIONS {
            return answer::options();
        }
        let path = request.uri().path();
        // etcd still answers under the name that the API had before 3.4.
        let call = path.strip_prefix("/v3/").or_else(|| path.strip_prefix("/v3beta/")).map(str::to_owned);
        match call {
            Some(call) if request.method() == Method::POST => match self.api(&call, request).await {
                Ok(response) => response,
                Err(error) => answer::error(&error),
            },
            Some(call) if is_call(&call) => answer::method_not_allowed(None),
            Some(_) => answer::no_such_call(),
            None => self.plain(&request),
        }
    }

    async fn api(&self, call: &str, request: Request<Incoming>) -> Result<Response<AppBody>, EtcdError> {
        let node = &self.node;
        match call {
            "watch" => return watch::watch(node, request).await,
            "lease/keepalive" => return watch::keep_alive(node, request).await,
            _ if !is_call(call) => return Ok(answer::no_such_call()),
            _ => {}
        }
        let body = read_body(request).await?;
        match call {
            "kv/range" => {
                let request: RangeRequest = json::read(&body)?;
                let (result, revision) = node.range(&request)?;
                Ok(answer::message(range::json(&node.identity, &result, revision)))
            }
            "kv/put" => unary(&body, |request| node.put(request)).await,
            "kv/deleterange" => unary(&body, |request| node.delete_range(request)).await,
            "kv/txn" => unary(&body, |request| node.txn(request)).await,
            "kv/compaction" => unary(&body, |request| node.compact(request)).await,
            "lease/grant" => unary(&body, |request| node.lease_grant(request)).await,
            "lease/revoke" | "kv/lease/revoke" => unary(&body, |request| node.lease_revoke(request)).await,
            "lease/timetolive" | "kv/lease/timetolive" => {
                unary(&body, |request| node.lease_time_to_live(request)).await
            }
            "lease/leases" | "kv/lease/leases" => unary(&body, |request| node.lease_leases(request)).await,
            "cluster/member/list" => unary(&body, async |request| node.member_list(request)).await,
            "maintenance/status" => unary(&body, async |request| node.status(request)).await,
            "maintenance/alarm" => unary(&body, async |request| node.alarm(request)).await,
            "maintenance/defragment" => unary(&body, async |request| node.defragment(request)).await,
            "auth/authenticate" => unary(&body, async |request| node.authenticate(&request)).await,
            "auth/status" => unary(&body, async |request| node.auth_status(request)).await,
            _ => Err(EtcdError::unimplemented(&format!("/v3/{call}"))),
        }
    }

    fn plain(&self, request: &Request<Incoming>) -> Response<AppBody> {
        let respond: fn(&Self, &str) -> Response<AppBody> = match request.uri().path() {
            "/version" => |_, _| {
                let body = format!("{{\"etcdserver\":\"{ETCD_VERSION}\",\"etcdcluster\":\"{CLUSTER_VERSION}\"}}");
                answer::json_text(StatusCode::OK, body)
            },
            "/health" => |gateway, _| match gateway.node.readiness.missing() {
                None => answer::text(StatusCode::OK, "{\"health\":\"true\",\"reason\":\"\"}"),
                Some((reason, _)) => {
                    let reason = serde_json::json!({"health": "false", "reason": reason});
                    answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
                }
            },
            "/livez" => |_, _| answer::text(StatusCode::OK, "ok\n"),
            "/readyz" => |gateway, _| match gateway.node.readiness.missing() {
                None => answer::text(StatusCode::OK, "ok\n"),
                Some((reason, _)) => answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {reason}\n")),
            },
            _ => return answer::not_found(),
        };
        if request.method() == Method::GET || request.method() == Method::HEAD {
            respond(self, request.uri().path())
        } else {
            answer::method_not_allowed(Some("GET"))
        }
    }
}

/// The calls that exist below `/v3/`, served or not.
fn is_call(call: &str) -> bool {
    let Some((service, method)) = call.split_once('/') else { return call == "watch" };
    let methods: &[&str] = match service {
        "kv" => {
            &["range", "put", "deleterange", "txn", "compaction", "lease/revoke", "lease/timetolive", "lease/leases"]
        }
        "lease" => &["grant", "revoke", "keepalive", "timetolive", "leases"],
        "cluster" => &["member/list", "member/add", "member/remove", "member/update", "member/promote"],
        "maintenance" => {
            &["status", "alarm", "defragment", "hash", "hashkv", "snapshot", "transfer-leadership", "downgrade"]
        }
        "auth" => &[
            "authenticate",
            "status",
            "enable",
            "disable",
            "user/add",
            "user/get",
            "user/list",
            "user/delete",
            "user/changepw",
            "user/grant",
            "user/revoke",
            "role/add",
            "role/get",
            "role/list",
            "role/delete",
            "role/grant",
            "role/revoke",
        ],
        _ => &[],
    };
    methods.contains(&method)
}

async fn unary<Q, A, F>(body: &[u8], call: impl FnOnce(Q) -> F) -> Result<Response<AppBody>, EtcdError>
where
    Q: DeserializeOwned + Default,
    A: Serialize,
    F: Future<Output = Result<A, EtcdError>>,
{
    let response = call(json::read(body)?).await?;
    Ok(answer::message(serde_json::to_vec(&response).map_err(EtcdError::malformed)?))
}

/// Reads a body that is not larger than a message may be, and refuses one that says it is before reading it.
async fn read_body(request: Request<Incoming>) -> Result<bytes::Bytes, EtcdError> {
    let body = request.into_body();
    if let Some(length) = body.size_hint().exact().and_then(|length| usize::try_from(length).ok())
        && length > LIMIT
    {
        return Err(EtcdError::message_too_large(length, LIMIT));
    }
    match Limited::new(body, LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(EtcdError::message_too_large(LIMIT + 1, LIMIT))
        }
        Err(error) => Err(EtcdError::malformed(error)),
    }
}

/// Largest body: a message of the largest size, whose bytes are a third longer in base64.
const LIMIT: usize = MAX_MESSAGE / 3 * 4 + 4096;
