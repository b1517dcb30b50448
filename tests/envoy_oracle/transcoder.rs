//! Which requests Envoy makes calls of gRPC: those, and no others, are answered by the gateway.

use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use confcast::apisix::matching::{Answer, Request};
use confcast::testing::ads::{AdsServer, Habits};
use confcast::testing::ports::free_port;
use confcast::testing::{mesh, services};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::decide::Apisix;
use crate::support::envoy::{Envoy, Line, ask};
use crate::support::{self, program};

/// Templates of which no two stand for the same paths.
const TEMPLATES: [&str; 9] = [
    "/v1/shelves",
    "/v1/{name}",
    "/v1/{name=shelves/*}",
    "/v1/{shelf=shelves}/{name}/b/{id}",
    "/v1/{id}:go",
    "/v2/*/x",
    "/v3/{name=**}",
    "/v4/{shelf}/{id}:stop",
    "/v4/{shelf}/{id}",
];

const PATHS: [&str; 20] = [
    "/",
    "/v1",
    "/v1/",
    "/v1/shelves",
    "/v1/shelves/",
    "/v1/shelves?x=1",
    "/v1/shelves/1",
    "/v1/shelves/1/b/2",
    "/v1/a",
    "/v1/a:go",
    "/v1/a:stop",
    "/v1/a%2Fb",
    "/v2/a/x",
    "/v2/a/y",
    "/v3",
    "/v3/a/b?q",
    "/v4/a/b",
    "/v4/a/b:stop",
    "/v4/a/b:go",
    "/a.Svc/M0",
];

/// Listeners, each with a service of its own.
const LISTENERS: usize = 10;

/// A connection manager whose filter has a service with some templates.
fn manager(random: &mut StdRng) -> Value {
    let mut templates = TEMPLATES.to_vec();
    templates.shuffle(random);
    let mut methods = json!({});
    for number in 0..random.random_range(1..5) {
        let mut rule = |random: &mut StdRng| {
            let path = templates.pop().expect("enough");
            match random.random_range(0..4) {
                0 => json!({"custom": {"kind": "OPTIONS", "path": path}}),
                1 => json!({"post": path}),
                _ => json!({"get": path}),
            }
        };
        let mut first = rule(random);
        if random.random_bool(0.3) {
            first["additionalBindings"] = json!([rule(random)]);
        }
        let options = if random.random_bool(0.8) { json!({"[google.api.http]": first}) } else { json!({}) };
        methods[format!("M{number}")] = options;
    }
    let filter = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor_bin": BASE64_STANDARD.encode(services::definition(&methods)),
        "services": ["a.Svc"],
        "auto_mapping": random.random_bool(0.5),
        "ignore_unknown_query_parameters": true,
        "match_incoming_request_route": true,
    });
    let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    let filters = json!([{"name": "json", "typed_config": filter}, {"name": "router", "typed_config": router}]);
    let told = json!([{"header": {"key": "x-oracle-type", "value": "%REQ(CONTENT-TYPE)%"}}]);
    let routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": "red"}}]);
    let hosts = json!([{"name": "v", "domains": ["*"], "routes": routes}]);
    json!({"http_filters": filters, "route_config": {"virtual_hosts": hosts, "response_headers_to_add": told}})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_transcoded_is_answered() {
    let Some(binary) = program("CONFCAST_ENVOY", "envoy") else { return };
    let seed = crate::support::history::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let server = AdsServer::start(Habits::NONE).await;
    let _envoy = Envoy::start(&binary, server.port(), true);
    let managers: Vec<_> = (0..LISTENERS).map(|_| (free_port(), manager(&mut random))).collect();
    let listener = |(port, manager): &(u16, Value)| mesh::listener_with(&format!("l{port}"), *port, manager.clone());
    server.set(managers.iter().map(listener).chain([mesh::static_cluster("red", &[1])]));
    let end = Instant::now() + support::PATIENCE;
    for (port, _) in &managers {
        while ask(*port, "GET", "h", "/", &[]).is_none() {
            assert!(Instant::now() < end, "SEED={seed}: Envoy does not serve: {:?}", server.seen().nacks);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    let mut transcoded = 0;
    for (port, manager) in &managers {
        let (apisix, _) = Apisix::of(vec![listener(&(*port, manager.clone())), mesh::static_cluster("red", &[1])]);
        let mut line = Line::new(*port);
        for target in PATHS {
            for method in ["GET", "POST", "OPTIONS"] {
                let kind = ["application/json", "text/plain", "application/grpc"].choose(&mut random).expect("some");
                let headers = vec![("Content-Type".to_owned(), (*kind).to_owned())];
                let answer = line.ask(method, "h", target, &headers);
                // Of a call its content has the type of gRPC.
                let passes = answer.header("x-oracle-type").is_none_or(|told| told == *kind);
                let request = Request {
                    method: method.into(),
                    host: "h".into(),
                    target: target.into(),
                    headers,
                    port: *port,
                    ..Request::default()
                };
                let own = apisix.decide(&request);
                let what =
                    format!("SEED={seed}: {method} {target} {kind} {:?}\n{manager}\n{}", answer.headers, apisix.text());
                let expected = if passes { matches!(own, Answer::Upstream { .. }) } else { own == Answer::Status(501) };
                assert!(expected, "{own:?}, {what}");
                transcoded += usize::from(!passes);
            }
        }
    }
    assert!(transcoded > LISTENERS, "some are: {transcoded}");
}
