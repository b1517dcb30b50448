//! What Envoy and the model of APISIX make of a request, and whether it is the same.

use std::collections::BTreeMap;

use confcast::apisix::matching::{Answer, Request, Router};
use confcast::apisix::{Kind, Object};
use confcast::envoy::Resource;
use confcast::translate::{Options, Report, translate_all};
use serde_json::Value;

use crate::support::envoy::Line;
use crate::world::World;

/// What Envoy does, read from the headers of its answer.
pub fn envoy_decides(line: &mut Line, request: &Request) -> Answer {
    let answer = line.ask(&request.method, &request.host, &request.target, &request.headers);
    let told = |name: &str| answer.header(name).map(str::to_owned).unwrap_or_default();
    match answer.header("x-oracle-cluster").filter(|cluster| !cluster.is_empty() && *cluster != "-") {
        Some(cluster) => Answer::Upstream {
            ids: vec![cluster.to_owned()],
            target: told("x-oracle-path"),
            host: told("x-oracle-host"),
        },
        None => match answer.header("location") {
            Some(location) => Answer::Redirect { status: answer.status, location: location.to_owned() },
            None => Answer::Status(answer.status),
        },
    }
}

/// An instance with the translation of a mesh.
pub struct Apisix {
    router: Router,
    routes: Vec<(String, Value)>,
    upstreams: BTreeMap<String, Upstream>,
}

/// What is to be known of an upstream: the cluster that it was made of, and the host that it is asked for if that is not
/// the request's.
struct Upstream {
    cluster: String,
    host: Option<String>,
}

impl Apisix {
    pub fn load(world: &World) -> Self {
        Self::of(world.unmarked()).0
    }

    /// An instance with the translation of these resources, and what is reported of it.
    pub fn of(resources: Vec<Resource>) -> (Self, Report) {
        let translation = translate_all(resources, Options::default());
        let routes = translation.objects.iter().filter(|object| object.key.kind == Kind::Route);
        let routes: Vec<(String, Value)> = routes
            .map(|object| (object.key.id.clone(), serde_json::from_slice(&object.value).expect("JSON")))
            .collect();
        let upstreams = translation.objects.iter().filter(|object| object.key.kind == Kind::Upstream);
        let upstream = |object: &Object| {
            let fields: Value = serde_json::from_slice(&object.value).expect("JSON");
            let text = |name: &str| fields[name].as_str().map(str::to_owned);
            let upstream = Upstream { cluster: text("name").unwrap_or_default(), host: text("upstream_host") };
            (object.key.id.clone(), upstream)
        };
        let upstreams = upstreams.map(upstream).collect();
        (Self { router: Router::load(routes.clone()), routes, upstreams }, translation.report)
    }

    /// What becomes of a request, with the clusters by their names.
    pub fn decide(&self, request: &Request) -> Answer {
        self.decide_as(request, None)
    }

    /// The same, where the host is the one for this cluster, if there are several.
    pub fn decide_as(&self, request: &Request, cluster: Option<&str>) -> Answer {
        match self.router.answer(request) {
            Answer::Upstream { ids, target, host } => {
                let all: Vec<_> = ids.iter().map(|id| self.upstreams.get(id).expect("an upstream")).collect();
                let chosen = all.iter().find(|upstream| Some(upstream.cluster.as_str()) == cluster).or(all.first());
                let host = chosen.and_then(|upstream| upstream.host.clone()).unwrap_or(host);
                Answer::Upstream { ids: all.iter().map(|upstream| upstream.cluster.clone()).collect(), target, host }
            }
            other => other,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let line = |(_, route): &(String, Value)| {
            let fields = ["name", "uris", "hosts", "methods", "priority", "vars", "upstream_id", "plugins"];
            let there = fields.iter().filter(|field| !route[**field].is_null());
            there.map(|field| format!("{field} {}", route[*field])).collect::<Vec<_>>().join(" ")
        };
        self.routes.iter().map(line).collect::<Vec<String>>().join("\n")
    }
}

/// What it is, for counting.
pub fn kind(answer: &Answer) -> &'static str {
    match answer {
        Answer::Upstream { .. } => "cluster",
        Answer::Redirect { .. } => "redirect",
        Answer::Status(404) => "not found",
        Answer::Status(_) => "direct response",
    }
}

/// Whether the decisions are the same, but for what is documented.
pub fn agree(envoy: &Answer, apisix: &Answer, manager: &Value, request: &Request) -> bool {
    let own_port = format!(":{}", request.port);
    let stripped = manager["strip_matching_host_port"] == true;
    let any_stripped = manager["strip_any_host_port"] == true;
    // A host as it is without the port that Envoy takes away and APISIX leaves.
    let bare = |host: &str| {
        let host = host.to_ascii_lowercase();
        match host.rsplit_once(':') {
            Some((name, port))
                if port.bytes().all(|byte| byte.is_ascii_digit())
                    && (any_stripped || stripped && host.ends_with(&own_port)) =>
            {
                name.to_owned()
            }
            _ => host,
        }
    };
    // A call of gRPC is answered 200 by Envoy itself, with the true status in a header.
    let call = is_web(request);
    match (envoy, apisix) {
        (Answer::Status(200), Answer::Status(_)) if call => true,
        (Answer::Upstream { ids: one, target, host }, Answer::Upstream { ids, target: own, host: own_host }) => {
            // A path that nginx changes is sent as it came, or, rewritten, in nginx's form.
            let plain =
                |target: &str| !target.contains(['%', '\\']) && !target.contains("//") && !target.contains("/.");
            // A question mark without a query is lost where a path is rewritten.
            let target = if own.contains('?') { target } else { target.trim_end_matches('?') };
            let same = target == own || !plain(&request.target);
            ids.contains(&one[0]) && same && bare(host) == bare(own_host)
        }
        (Answer::Redirect { status: code, location: to }, Answer::Redirect { status: other, location: there }) => {
            // The client is sent to the path that it asked for, not to what Envoy made of it.
            let address = |text: &str| {
                let parts: Vec<_> = text.splitn(4, '/').collect();
                // HTTP compares hosts without regard to case.
                let origin = format!("{}//{}", parts[0], bare(parts.get(2).unwrap_or(&"")));
                (origin, normal(&format!("/{}", parts.get(3).unwrap_or(&""))))
            };
            (code == other || call && *code == 200) && address(to) == address(there)
        }
        _ => envoy == apisix,
    }
}

/// Whether Envoy makes a call of gRPC of it, where it does so.
fn is_web(request: &Request) -> bool {
    let kinds = ["application/grpc-web", "application/grpc-web-text+proto"];
    request.headers.iter().any(|(name, value)| name == "Content-Type" && kinds.contains(&value.as_str()))
}

/// A path as nginx has it, with its query.
fn normal(target: &str) -> (Option<Vec<u8>>, Option<String>) {
    let query = target.split_once('?').map(|(_, query)| query.to_owned()).filter(|query| !query.is_empty());
    (Request { target: target.to_owned(), ..Request::default() }.path(), query)
}
