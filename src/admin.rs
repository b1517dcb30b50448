//! The admin port: for operators and their tools, apart from what clients reach.

pub mod access;
mod debug;
pub mod listener;
mod sample;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use access::Access;
use listener::{Client, Port};

use crate::config::live::Reading;
use crate::config::memory::Budget;
use crate::publish::Wanted;
use crate::rpc::Node;
use crate::telemetry::log::LogFilter;
use crate::translate::Report;
use crate::view::{Ask, Status};

/// Bytes of the largest request.
const MAX_BODY: usize = 16 << 10;

/// What the admin port shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The server.
    pub node: Node,
    /// Below which key APISIX's objects are.
    pub prefix: Arc<str>,
    /// The budget of memory; none for no budget.
    pub budget: Option<Budget>,
    /// What the source's configuration became; none without a source.
    pub view: Option<View>,
    /// What is published; none for a server that does not.
    pub published: Option<tokio::sync::watch::Receiver<crate::publish::Status>>,
    /// What is logged; none in a program whose log cannot be changed.
    pub log: Option<Arc<dyn LogFilter>>,
    /// Where metrics are recorded; none in a program that has no recorder or one of its own.
    pub metrics: Option<PrometheusHandle>,
}

/// What is shown of a view.
#[derive(Clone, Debug)]
pub struct View {
    /// What it has done.
    pub status: tokio::sync::watch::Receiver<Status>,
    /// What it could not express.
    pub report: Arc<ArcSwap<Report>>,
    /// Where it is asked what was made of which resource; none if nothing is made of resources.
    pub origins: Option<Ask>,
    /// The objects that a publisher is to write; none if they are in the store.
    pub wanted: Option<tokio::sync::watch::Receiver<Option<Wanted>>>,
}

/// Serves the port until `stop` is cancelled.
pub async fn serve(port: Port, admin: Admin, access: Access, stop: CancellationToken) {
    let guarded = middleware::from_fn_with_state(access.clone(), guard);
    let debug = Router::new()
        .route("/debug", get(debug::index))
        .route("/debug/streams", get(debug::streams))
        .route("/debug/interests", get(debug::interests))
        .route("/debug/view", get(debug::view))
        .layer(guarded.clone())
        .layer(middleware::from_fn_with_state(access.clone(), shown));
    let router = Router::new()
        .merge(debug)
        .route("/", get(index))
        .route("/status", get(status))
        .route("/report", get(report))
        .route("/metrics", get(metrics))
        .route("/log", put(set_log).layer(guarded).get(log))
        .layer(middleware::from_fn_with_state(access, known))
        // Probes have no certificate.
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(admin)
        .into_make_service_with_connect_info::<Client>();
    if let Err(error) = axum::serve(port, router).with_graceful_shutdown(stop.cancelled_owned()).await {
        tracing::error!(%error, "the admin port has stopped");
    }
}

async fn index() -> &'static str {
    "confcast admin\n\n\
     /readyz   whether traffic is welcome, and what is waited for if not\n\
     /livez    whether the process is alive\n\
     /status   revision, keys, streams and objects\n\
     /report   what of the source's configuration is not expressed exactly\n\
     /metrics  for Prometheus\n\
     /log      what is logged; PUT changes it\n\
     /debug    what the server holds, with --admin-debug\n"
}

async fn ready(State(admin): State<Admin>) -> Response {
    match admin.node.readiness.missing() {
        None => "ok\n".into_response(),
        Some((what, since)) => {
            let text = format!("waiting for {what} since {} s\n", since.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn status(State(admin): State<Admin>) -> Response {
    let snapshot = admin.node.store.snapshot();
    let (commits, bytes) = snapshot.log_size();
    let view = admin.view.as_ref().map(|view| *view.status.borrow()).unwrap_or_default();
    let lag = admin.node.hub.lag();
    let status = json!({
        "ready": admin.node.readiness.is_ready(),
        "waiting_for": admin.node.readiness.missing().map(|(what, _)| what),
        "revision": snapshot.revision().0,
        "keys": snapshot.len(),
        "log": {"commits": commits, "bytes": bytes, "from_revision": snapshot.log_start().0},
        "watch": {
            "streams": admin.node.hub.streams(),
            "watchers": admin.node.hub.watchers(),
            "interests": admin.node.hub.interests(),
            "lag": {"streams": lag.streams, "revisions": lag.revisions, "seconds": lag.age.as_secs_f64()},
        },
        "objects": view.objects,
        "not_exact": view.reported,
        "settings": admin.node.live.reading().map(|reading| reread(&reading)),
        "publish": admin.published.map(|status| published(&status.borrow())),
    });
    Json(status).into_response()
}

fn reread(reading: &Reading) -> serde_json::Value {
    json!({"read_at": reading.at, "failure": reading.failure, "need_restart": reading.need_restart})
}

fn published(status: &crate::publish::Status) -> serde_json::Value {
    let done = &status.published;
    json!({
        "leader": status.term.is_some(),
        "term": status.term.map(|term| term.0),
        "wanted": status.wanted,
        "complete": done.complete,
        "writes": done.writes,
        "revision": done.revision.0,
        "conflicts": done.conflicts,
        "left_out": done.left_out,
        "failure": done.failure,
    })
}

async fn report(State(admin): State<Admin>) -> Response {
    let report = admin.view.map(|view| view.report.load_full()).unwrap_or_default();
    Json(report.as_ref()).into_response()
}

/// Lets pass whom the port knows.
async fn known(
    State(access): State<Access>,
    ConnectInfo(client): ConnectInfo<Client>,
    request: Request,
    next: Next,
) -> Response {
    match access.must_know(client) {
        Ok(()) => next.run(request).await,
        Err(refusal) => *refusal,
    }
}

/// Hides what is not to be shown at all.
async fn shown(State(access): State<Access>, request: Request, next: Next) -> Response {
    if access.shows_debug() { next.run(request).await } else { StatusCode::NOT_FOUND.into_response() }
}

/// Lets pass who may do more than look.
async fn guard(
    State(access): State<Access>,
    ConnectInfo(client): ConnectInfo<Client>,
    request: Request,
    next: Next,
) -> Response {
    match access.check(request.headers(), client) {
        Ok(()) => next.run(request).await,
        Err(refusal) => *refusal,
    }
}

async fn log(State(admin): State<Admin>) -> Response {
    match &admin.log {
        None => (StatusCode::NOT_FOUND, "the log of this process cannot be changed here\n").into_response(),
        Some(log) => (log.levels() + "\n").into_response(),
    }
}

async fn set_log(State(admin): State<Admin>, levels: String) -> Response {
    let Some(log) = &admin.log else { return self::log(State(admin)).await };
    let (before, levels) = (log.levels(), levels.trim());
    if levels.is_empty() {
        return (StatusCode::BAD_REQUEST, "what is to be logged? For example: info or confcast=debug\n")
            .into_response();
    }
    if let Err(error) = log.set(levels) {
        return (StatusCode::BAD_REQUEST, error + "\n").into_response();
    }
    tracing::warn!(before, levels, "what is logged was changed over the admin port");
    self::log(State(admin)).await
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.render() {
        None => (StatusCode::NOT_FOUND, "this process records no metrics\n").into_response(),
        Some(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
    }
}

impl Admin {
    /// All metrics, in the form that Prometheus reads.
    pub fn render(&self) -> Option<String> {
        let handle = self.metrics.as_ref()?;
        let more = sample::sample(self);
        Some(handle.render() + &more)
    }
}
