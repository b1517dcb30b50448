//! The real Envoy as a client that finds our test control plane in order.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use confcast::testing::ads::{AdsServer, Habits};
use confcast::testing::mesh;
use confcast::testing::ports::free_port;
use serde_json::json;
use support::envoy::{Envoy, ask};
use support::{program, until};

#[tokio::test(flavor = "multi_thread")]
async fn envoy_accepts_what_the_test_control_plane_sends() {
    let Some(binary) = program("CONFCAST_ENVOY", "envoy") else { return };
    for (delta, habits) in [
        (true, Habits::NONE),
        (true, Habits::ISTIO),
        (true, Habits::CONSUL),
        (false, Habits::NONE),
        (false, Habits { waits_for_all: false, ..Habits::GO_CONTROL_PLANE }),
    ] {
        let server = AdsServer::start(habits).await;
        let port = free_port();
        let world = |name: &str| {
            let routes = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": name}}}]);
            vec![
                mesh::eds_cluster("a"),
                mesh::endpoints("a", &[1]),
                mesh::listener("http", port, "routes"),
                mesh::routes("routes", &routes),
            ]
        };
        server.set(world("first"));
        let envoy = Envoy::start(&binary, server.port(), delta);
        let answers = |expected: &str| ask(port, "GET", "a", "/", &[]).is_some_and(|answer| answer.text() == expected);
        until("serving", || answers("first"));
        server.set(world("second"));
        until("updated", || answers("second"));
        server.cut();
        // Else the third may still go out on the first stream.
        until("connected anew", || server.seen().streams >= 2);
        server.set(world("third"));
        until("back after a break", || answers("third"));
        let seen = server.seen();
        assert!(seen.nacks.is_empty(), "{delta} {habits:?}: {:?}", seen.nacks);
        assert!(seen.nodes.contains("envoy"));
        drop(envoy);
    }
}
