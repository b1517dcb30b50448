//! The paths beside the API: version, probes and metrics, as etcd has them on the port that clients use.

use std::fmt::Write;
use std::sync::Arc;

use http::{Method, Response, StatusCode, Uri};
use serde_json::json;

use super::answer;
use crate::rpc::Node;
use crate::rpc::node::{CLUSTER_VERSION, ETCD_VERSION};
use crate::serve::body::AppBody;

/// Gives the text that `/metrics` shows; none if this process records no metrics.
pub type Metrics = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// What is checked for `/livez`: etcd's name for being able to answer from memory.
const LIVE: [&str; 1] = ["serializable_read"];

/// What is checked for `/readyz`, by etcd's names. Here they all stand for a complete configuration to serve.
const READY: [&str; 4] = ["serializable_read", "linearizable_read", "non_learner", "data_corruption"];

/// Answers a request for such a path.
pub(super) fn answer(
    node: &Node,
    metrics: Option<&Metrics>,
    method: &Method,
    uri: &Uri,
    path: &str,
) -> Response<AppBody> {
    let probe = |prefix: &str| path.strip_prefix(prefix).map(|rest| rest.strip_prefix('/').unwrap_or(rest));
    let response = if path == "/version" {
        let body = format!("{{\"etcdserver\":\"{ETCD_VERSION}\",\"etcdcluster\":\"{CLUSTER_VERSION}\"}}");
        answer::json_text(StatusCode::OK, body)
    } else if path == "/health" {
        health(node)
    } else if let Some(check) = probe("/livez") {
        // The process answers, and that is what it is asked.
        match checks(&LIVE, check, uri.query(), None) {
            Some(response) => response,
            None => return answer::not_found(),
        }
    } else if let Some(check) = probe("/readyz") {
        let missing = node.readiness.missing().map(|(what, _)| format!("waiting for {what}"));
        match checks(&READY, check, uri.query(), missing.as_deref()) {
            Some(response) => response,
            None => return answer::not_found(),
        }
    } else if path == "/metrics"
        && let Some(text) = metrics.and_then(|metrics| metrics())
    {
        answer::metrics(text)
    } else {
        return answer::not_found();
    };
    if *method == Method::GET { response } else { answer::method_not_allowed(Some("GET")) }
}

fn health(node: &Node) -> Response<AppBody> {
    match node.readiness.missing() {
        None => answer::plain(StatusCode::OK, "{\"health\":\"true\",\"reason\":\"\"}"),
        Some((reason, _)) => {
            let body = json!({"health": "false", "reason": reason});
            answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{body}\n"))
        }
    }
}

/// The result of one check or of all but the excluded; none if there is no such check. `wrong` tells why they fail.
fn checks(all: &[&str], only: &str, query: Option<&str>, wrong: Option<&str>) -> Option<Response<AppBody>> {
    if !only.is_empty() && !all.contains(&only) {
        return None;
    }
    let parameters = || query.unwrap_or_default().split('&');
    let excluded = |name: &str| parameters().any(|parameter| parameter.strip_prefix("exclude=") == Some(name));
    let mut lines = String::new();
    for name in all.iter().filter(|name| (only.is_empty() || only == **name) && !excluded(name)) {
        let _ = match wrong {
            None => writeln!(lines, "[+]{name} ok"),
            Some(reason) => writeln!(lines, "[-]{name} failed: {reason}"),
        };
    }
    let fails = wrong.is_some() && !lines.is_empty();
    let verbose = parameters().any(|parameter| parameter == "verbose" || parameter.starts_with("verbose="));
    Some(match (fails, verbose) {
        (true, _) => answer::text(StatusCode::SERVICE_UNAVAILABLE, lines),
        (false, true) => answer::text(StatusCode::OK, lines + "ok\n"),
        (false, false) => answer::text(StatusCode::OK, "ok\n"),
    })
}
