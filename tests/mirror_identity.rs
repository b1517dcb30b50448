//! Of which cluster a mirror says it is: of its etcd's, and of none that it has made up.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::etcd::Etcd;
use support::http::{Answer, Connection, b64, get, post};
use support::{Confcast, mirror, program, until};

/// Calls whose answers say who answers.
const CALLS: [&str; 4] = ["/v3/kv/range", "/v3/maintenance/status", "/v3/cluster/member/list", "/v3/maintenance/alarm"];

fn ask(server: SocketAddr, path: &str) -> Answer {
    let body = if path.contains("range") { json!({"key": b64("/a"), "serializable": true}) } else { json!({}) };
    post(server, path, &body)
}

fn put(server: SocketAddr, value: &str) {
    let answer = post(server, "/v3/kv/put", &json!({"key": b64("/a"), "value": b64(value)}));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The cluster, as a read says it.
fn cluster(server: SocketAddr) -> Value {
    ask(server, CALLS[0]).json()["header"]["cluster_id"].clone()
}

/// The cluster, as the first line of a watch says it.
fn watched(server: SocketAddr) -> (u16, Value) {
    let mut watch = Connection::open(server);
    watch.post("/v3/watch", &json!({"create_request": {"key": b64("/a")}}).to_string());
    let (status, _) = watch.head();
    if status != 200 {
        return (status, Value::Null);
    }
    let line: Value = serde_json::from_slice(&watch.chunk()).expect("a line of JSON");
    (status, line["result"]["header"]["cluster_id"].clone())
}

#[test]
fn a_mirror_that_starts_before_its_etcd_says_nothing_until_it_knows_who_it_is() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let mut etcd = Etcd::start(&binary);
    put(etcd.address, "1");
    let expected = cluster(etcd.address);
    etcd.stop();
    let server = Confcast::serve(&["--source", "etcd", "--upstream", &format!("http://{}", etcd.address)]);
    for path in CALLS {
        let answer = ask(server.address, path);
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
    }
    assert_eq!(watched(server.address), (503, Value::Null));
    etcd.start_again();
    until("ready", || get(server.admin, "/readyz").status == 200);
    for path in CALLS {
        assert_eq!(ask(server.address, path).json()["header"]["cluster_id"], expected, "{path}");
    }
    assert_eq!(watched(server.address), (200, expected));
}

#[test]
fn a_mirror_that_starts_without_its_etcd_is_of_the_cluster_that_its_data_is_of() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let mut etcd = Etcd::start(&binary);
    put(etcd.address, "1");
    let expected = cluster(etcd.address);
    let dir = tempfile::tempdir().expect("a directory");
    let data = ["--data-dir", dir.path().to_str().expect("text")];
    mirror(etcd.address, &data).kill();
    etcd.stop();
    let server = mirror(etcd.address, &data);
    assert_eq!(ask(server.address, CALLS[0]).json()["kvs"][0]["value"], json!(b64("1")));
    assert_eq!((cluster(server.address), watched(server.address).1), (expected.clone(), expected));
}

#[test]
fn a_mirror_goes_over_to_another_cluster() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let (mut first, second) = (Etcd::start(&binary), Etcd::start(&binary));
    put(first.address, "of the first");
    put(second.address, "of the second");
    let (before, after) = (cluster(first.address), cluster(second.address));
    assert_ne!(before, after);
    let urls = format!("http://{},http://{}", first.address, second.address);
    let server = Confcast::serve(&["--source", "etcd", "--upstream", &urls]).ready();
    assert_eq!((cluster(server.address), watched(server.address).1), (before.clone(), before));
    first.stop();
    until("the other one is followed", || {
        ask(server.address, CALLS[0]).json()["kvs"][0]["value"] == json!(b64("of the second"))
            && cluster(server.address) == after
    });
    assert_eq!(watched(server.address).1, after);
}
