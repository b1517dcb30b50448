//! The main job with the real program: a control plane's configuration reaches APISIX's way of asking, etcdctl and
//! plain HTTP, over changes, breaks and restarts.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use confcast::testing::ads::{AdsServer, Habits};
use confcast::testing::mesh;
use serde_json::json;
use support::http::{self, Watch};
use support::{Confcast, program, until};

const NODE: [&str; 2] = ["--xds-node-id", "router~127.0.0.1~a.b~b.svc.cluster.local"];

fn serve_xds(server: &AdsServer, more: &[&str]) -> Confcast {
    let url = server.url();
    Confcast::serve(&[&["--source", "xds", "--xds-server", &url][..], &NODE, more].concat())
}

/// A cluster with endpoints, a route to it and a listener.
fn service(name: &str) -> Vec<confcast::envoy::Resource> {
    vec![
        mesh::eds_cluster(name),
        mesh::endpoints(name, &[9080]),
        mesh::listener("http", 10_080, "routes"),
        mesh::prefix_routes("routes", &[("/", name)]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_push_is_one_revision_in_make_before_break_order() {
    let server = AdsServer::start(Habits::ISTIO).await;
    server.set(service("a"));
    let confcast = serve_xds(&server, &[]).ready();
    let first = confcast.revision();
    let mut watch = Watch::open(confcast.address, "/apisix/", "/apisix0", first + 1);
    assert_eq!(confcast.objects().len(), 2);
    // Another service: its upstream comes before the route that needs it, the old one goes after it.
    server.set(service("b"));
    let keys = watch.keys();
    let kinds: Vec<_> = keys.iter().map(|(key, gone)| (key.split('/').nth(2).unwrap_or_default(), *gone)).collect();
    assert_eq!(kinds, [("upstreams", false), ("routes", false), ("upstreams", true)]);
    assert_eq!(confcast.revision(), first + 1, "one push is one revision");
    // The same again, over a new stream and with other versions, is none.
    server.cut();
    server.new_versions();
    until("connected again", || server.seen().streams >= 2 && server.seen().responses >= 12);
    server.set(service("c"));
    assert_eq!(watch.keys().len(), 3);
    assert_eq!(confcast.revision(), first + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_before_the_first_complete_state() {
    let server = AdsServer::start(Habits::NONE).await;
    // The endpoints are missing, so that the configuration is not complete.
    server.set(service("a").into_iter().filter(|r| r.resource_type() != confcast::envoy::ResourceType::Endpoints));
    let confcast = serve_xds(&server, &["--xds-protocol", "sotw"]);
    until("connected", || server.seen().responses >= 3);
    for (path, body) in [
        ("/v3/kv/range", json!({"key": http::b64("/apisix/")})),
        ("/v3/watch", json!({"create_request": {"key": http::b64("/apisix/")}})),
    ] {
        let answer = http::post(confcast.address, path, &body);
        assert_eq!(answer.status, 503, "{path}");
        let error = answer.json();
        assert_eq!(error["code"], 14);
        assert!(
            error["error"].as_str().is_some_and(|text| text.contains("control plane") && !text.contains("timeout"))
        );
    }
    assert_eq!(http::get(confcast.admin, "/readyz").status, 503);
    assert_eq!(http::get(confcast.address, "/version").status, 200, "APISIX asks for it before anything else");
    server.set(service("a"));
    let confcast = confcast.ready();
    assert_eq!(confcast.objects().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_continues_and_serves_what_was_known() {
    let data = tempfile::tempdir().expect("a directory");
    let data = data.path().to_str().expect("text");
    let server = AdsServer::start(Habits::GO_CONTROL_PLANE).await;
    server.set(service("a"));
    let confcast = serve_xds(&server, &["--data-dir", data]).ready();
    let (revision, objects) = (confcast.revision(), confcast.objects());
    confcast.kill();
    // The control plane is away: what was known is served at once, under the revisions that it had.
    let (url, port) = (server.url(), server.port());
    drop(server);
    let args = ["--source", "xds", "--xds-server", &url, "--data-dir", data];
    let confcast = Confcast::serve(&[&args[..], &NODE].concat()).ready();
    assert_eq!((confcast.revision(), confcast.objects()), (revision, objects));
    until("said", || confcast.log().contains("what it last sent is still served"));
    let mut watch = Watch::open(confcast.address, "/apisix/", "/apisix0", revision + 1);
    // It comes back with something else, and only the difference is committed.
    let listener = loop {
        match tokio::net::TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    let server = AdsServer::on(listener, Habits::NONE);
    let mut changed = service("a");
    changed[1] = mesh::endpoints("a", &[9080, 9081]);
    server.set(changed);
    let keys = watch.keys();
    assert!(keys.len() == 1 && keys[0].0.contains("/upstreams/"), "{keys:?}");
    assert_eq!(confcast.revision(), revision + 1);
    let said = confcast.log().matches("no stream to the control plane").count();
    assert_eq!(said, 1, "a state is said once: {}", confcast.log());
    assert!(confcast.terminate(), "it ends well when asked to");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_followed_and_broken_ones_are_not_served() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("text");
    let file = dir.path().join("mesh.yaml");
    let cluster =
        |name: &str| format!("- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: {name}\n");
    fs::write(&file, cluster("a")).expect("written");
    let confcast = Confcast::serve(&["--xds-file", path]).ready();
    let mut watch = Watch::open(confcast.address, "/apisix/", "/apisix0", confcast.revision() + 1);
    fs::write(&file, cluster("a") + "  tpye: EDS\n").expect("written");
    until("said", || confcast.log().contains("tpye"));
    assert!(confcast.log().contains("mesh.yaml"));
    assert_eq!(confcast.objects().len(), 1, "the last good content is served");
    fs::write(&file, cluster("b")).expect("written");
    assert_eq!(watch.keys().len(), 2);
}

/// Endpoints in a file of their own, whichever of both files comes first, are followed as they change and go.
#[test]
fn endpoints_in_a_file_of_their_own_are_followed() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("endpoints.yaml");
    let write = |ports: &[u16]| {
        let endpoint = |port: &u16| json!({"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": port}}}});
        let list: Vec<_> = ports.iter().map(endpoint).collect();
        let kind = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
        let text = json!([{"@type": kind, "cluster_name": "a", "endpoints": [{"lb_endpoints": list}]}]).to_string();
        fs::write(dir.path().join("new"), text).expect("written");
        fs::rename(dir.path().join("new"), &file).expect("renamed");
    };
    write(&[1]);
    let confcast = Confcast::serve(&["--xds-file", dir.path().to_str().expect("text")]).ready();
    assert_eq!(confcast.objects().len(), 0, "endpoints of a cluster that has not come");
    let mut watch = Watch::open(confcast.address, "/apisix/", "/apisix0", confcast.revision() + 1);
    let mut ports = || -> Vec<u64> {
        assert_eq!(watch.keys().len(), 1);
        let (_, upstream) = confcast.objects().into_iter().next().expect("an upstream");
        let nodes = upstream["nodes"].as_array().expect("a list");
        nodes.iter().map(|node| node["port"].as_u64().expect("a number")).collect()
    };
    let cluster = "- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: a\n  type: EDS\n";
    fs::write(dir.path().join("clusters.yaml"), cluster).expect("written");
    assert_eq!(ports(), [1]);
    write(&[1, 2]);
    assert_eq!(ports(), [1, 2]);
    write(&[3]);
    assert_eq!(ports(), [3]);
    fs::remove_file(&file).expect("removed");
    assert_eq!(ports(), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn etcdctl_reads_and_watches() {
    let Some(etcdctl) = program("CONFCAST_ETCDCTL", "etcdctl") else { return };
    let server = AdsServer::start(Habits::NONE).await;
    server.set(service("a"));
    let confcast = serve_xds(&server, &[]).ready();
    let run = |args: &[&str]| {
        let output = confcast.etcdctl(&etcdctl, args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let keys = run(&["get", "--prefix", "--keys-only", "/apisix/"]);
    assert!(keys.contains("/apisix/routes/\n") && keys.contains("/apisix/upstreams/"));
    assert!(run(&["endpoint", "health"]).is_empty(), "its answer goes to the error output");
    assert!(run(&["endpoint", "status"]).contains("3.5"));
    assert!(run(&["member", "list"]).contains("confcast"));
    let mut watching = confcast
        .etcdctl_command(&etcdctl, &["watch", "--prefix", "/apisix/", "--rev", &confcast.revision().to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("etcdctl runs");
    let mut lines = BufReader::new(watching.stdout.take().expect("piped")).lines().map_while(Result::ok);
    // What is there already, from the first revision on, and then what changes.
    assert!(lines.by_ref().any(|line| line.starts_with("/apisix/upstreams/") && line.len() > 30));
    let old = confcast.revision();
    server.set(service("b"));
    assert!(lines.by_ref().any(|line| line == "DELETE"));
    let old_keys = run(&["get", "--prefix", "/apisix/upstreams/", "--rev", &old.to_string()]);
    assert!(old_keys.contains("\"name\":\"a\"") && !old_keys.contains("\"name\":\"b\""));
    watching.kill().expect("it runs");
    watching.wait().expect("it ends");
    // What the control plane owns is read-only, what it does not can be written.
    let key = confcast.objects().into_keys().next().expect("an object");
    let refused = confcast.etcdctl(&etcdctl, &["put", &key, "x"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("permission denied"));
    assert_eq!(run(&["put", "/apisix/consumers/jack", "{}"]), "OK\n");
    assert_eq!(run(&["get", "/apisix/consumers/jack", "--print-value-only"]), "{}\n");
    let lease = run(&["lease", "grant", "60"]);
    let lease = lease.split(' ').nth(1).expect("an id");
    run(&["put", "/apisix/data_plane/server_info/1", "{}", &format!("--lease={lease}")]);
    run(&["lease", "revoke", lease]);
    assert_eq!(run(&["get", "/apisix/data_plane/server_info/1"]), "");
}

#[test]
fn the_demo_shows_a_change_on_an_open_watch() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("text");
    let confcast =
        Confcast::start(&["demo", "--dir", path, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).ready();
    let mut watch = Watch::open(confcast.address, "/apisix/", "/apisix0", 0);
    let routes = dir.path().join("routes.yaml");
    let text = fs::read_to_string(&routes).expect("written by the demo");
    assert!(text.contains("weight: 80"), "the hint of the demo names it");
    #[expect(clippy::disallowed_methods, reason = "the wall clock is what is promised")]
    let started = std::time::Instant::now();
    fs::write(&routes, text.replace("weight: 80", "weight: 50")).expect("written");
    let keys = watch.keys();
    assert!(keys.len() == 1 && keys[0].0.starts_with("/apisix/routes/"), "{keys:?}");
    assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn wrong_flags_and_settings_name_themselves() {
    let run = |args: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_confcast")).args(args).output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (args, expected) in [
        (&["serve", "--source", "xds"][..], "--xds-server"),
        (&["serve", "--listen", "here"], "--listen here"),
        (&["serve", "--config", "/nowhere.toml"], "--config /nowhere.toml"),
        (&["serve", "--xds-nod-id", "x"], "--xds-node-id"),
        (&["check", "--source", "etcd"], "--upstream is missing"),
    ] {
        let (code, error) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {error}");
        assert!(error.contains(expected), "{args:?}: {error}");
    }
    let (code, error) = run(&["check", "--xds-file", "/nowhere.yaml"]);
    assert!(code == Some(1) && error.contains("/nowhere.yaml"), "{error}");
}
