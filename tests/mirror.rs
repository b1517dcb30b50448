//! Mirrors of a real etcd: the same keys at the same revisions, whatever happens to the etcd meanwhile.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use serde_json::{Value, json};
use support::etcd::{Etcd, etcds};
use support::http::{Connection, b64 as encode, post};
use support::{mirror, program, until};

/// Revision and pairs of everything.
fn state(server: std::net::SocketAddr) -> Value {
    let answer = post(server, "/v3/kv/range", &json!({"key": encode("\0"), "range_end": encode("\0")})).json();
    json!([answer["header"]["revision"], answer["header"]["cluster_id"], answer["kvs"]])
}

fn put(server: std::net::SocketAddr, key: &str, value: &str) -> i64 {
    let answer = post(server, "/v3/kv/put", &json!({"key": encode(key), "value": encode(value)})).json();
    answer["header"]["revision"].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn replicas_and_their_etcd_are_one() {
    for binary in etcds() {
        let etcd = Etcd::start(&binary);
        put(etcd.address, "/apisix/routes/before", "1");
        let first = mirror(etcd.address, &[]);
        let second = mirror(etcd.address, &[]);
        // A tree: a mirror of a mirror.
        let third = mirror(second.address, &[]);
        let all = [etcd.address, first.address, second.address, third.address];
        for round in 0..60 {
            // Each request goes elsewhere, as APISIX does it.
            let (writer, reader) = (all[round % 4], all[(round * 7 + 3) % 4]);
            match round % 5 {
                0 => {
                    let prefix = json!({"key": encode("/apisix/routes/"), "range_end": encode("/apisix/routes0")});
                    post(writer, "/v3/kv/deleterange", &prefix);
                }
                1 => {
                    let op =
                        |key: &str| json!({"requestPut": {"key": encode(key), "value": encode(round.to_string())}});
                    let txn = json!({"success": [op("/apisix/upstreams/1"), op("/apisix/routes/1")]});
                    assert_eq!(post(writer, "/v3/kv/txn", &txn).json()["succeeded"], json!(true));
                }
                2 => {
                    let lease = post(writer, "/v3/lease/grant", &json!({"TTL": 600})).json()["ID"].clone();
                    let put = json!({"key": encode("/apisix/leased"), "value": encode("x"), "lease": lease});
                    assert_eq!(post(writer, "/v3/kv/put", &put).status, 200);
                }
                _ => {
                    put(writer, &format!("/apisix/routes/{round}"), &"v".repeat(round));
                }
            }
            // A linearizable read anywhere sees it.
            assert_eq!(state(reader), state(etcd.address), "round {round}");
        }
    }
}

/// A line of a watch stream.
fn line(watch: &mut Connection) -> Value {
    serde_json::from_slice(&watch.chunk()).expect("a line of JSON")
}

fn watch(server: std::net::SocketAddr, from: i64) -> Connection {
    let mut watch = Connection::open(server);
    let create = json!({"create_request": {"key": encode("/a"), "range_end": encode("/b"), "start_revision": from}});
    watch.post("/v3/watch", &create.to_string());
    watch.head();
    assert_eq!(line(&mut watch)["result"]["created"], json!(true));
    watch
}

#[test]
fn an_etcd_that_is_away_is_waited_for() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let mut etcd = Etcd::start(&binary);
    put(etcd.address, "/a/1", "1");
    let server = mirror(etcd.address, &[]);
    let careful = mirror(etcd.address, &["--when-upstream-away", "refuse"]);
    let mut open = watch(server.address, 0);
    let before = state(server.address);
    etcd.stop();
    until("last known good", || state(server.address) == before);
    until("refused", || {
        let all = json!({"key": encode("/a"), "range_end": encode("/b")});
        post(careful.address, "/v3/kv/range", &all).status == 503
    });
    let local = json!({"key": encode("/a/1"), "serializable": true});
    assert_eq!(post(careful.address, "/v3/kv/range", &local).json()["count"], json!("1"));
    assert_eq!(post(server.address, "/v3/kv/put", &json!({"key": encode("/a/2"), "value": ""})).status, 503);
    etcd.start_again();
    let revision = put(etcd.address, "/a/1", "2");
    let event = line(&mut open);
    assert_eq!(event["result"]["header"]["revision"], json!(revision.to_string()), "the watcher goes on");
    assert_eq!(state(server.address), state(etcd.address));
}

#[test]
fn lost_history_is_repaired_and_watchers_go_on() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let etcd = Etcd::start(&binary);
    put(etcd.address, "/a/stays", "1");
    put(etcd.address, "/a/goes", "1");
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().display().to_string();
    let server = mirror(etcd.address, &["--data-dir", &data]);
    let known = state(server.address);
    server.kill();
    // While the mirror is away, things change and are compacted.
    post(etcd.address, "/v3/kv/deleterange", &json!({"key": encode("/a/goes")}));
    put(etcd.address, "/a/comes", "1");
    put(etcd.address, "/a/stays", "2");
    let now = put(etcd.address, "/b", "1");
    assert_eq!(post(etcd.address, "/v3/kv/compaction", &json!({"revision": now})).status, 200);
    let server = mirror(etcd.address, &["--data-dir", &data]);
    until("repaired", || state(server.address) == state(etcd.address));
    // A client that had what the mirror had gets the difference; one that had more is told to reload.
    let known: i64 = known[0].as_str().and_then(|text| text.parse().ok()).expect("a revision");
    let event = line(&mut watch(server.address, known + 1));
    let events = event["result"]["events"].as_array().map(Vec::len);
    assert_eq!((events, &event["result"]["header"]["revision"]), (Some(3), &json!(now.to_string())), "{event}");
    let event = line(&mut watch(server.address, known + 2));
    assert!(event["result"]["compact_revision"].is_string(), "{event}");
}

#[test]
fn another_history_makes_everybody_reload() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let mut etcd = Etcd::start(&binary);
    for number in 0..5 {
        put(etcd.address, "/a/old", &number.to_string());
    }
    let server = mirror(etcd.address, &[]);
    let mut open = watch(server.address, 0);
    etcd.stop();
    etcd.wipe();
    etcd.start_again();
    put(etcd.address, "/a/new", "1");
    let event = line(&mut open);
    assert_eq!(event["result"]["canceled"], json!(true), "{event}");
    assert!(event["result"]["compact_revision"].is_string(), "{event}");
    until("the new history", || state(server.address)[2] == state(etcd.address)[2]);
    // One that comes later with a revision of the old history is told as well.
    let event = line(&mut watch(server.address, 7));
    assert!(event["result"]["compact_revision"].is_string(), "{event}");
}

#[test]
fn an_election_is_observed_at_a_mirror() {
    for binary in etcds() {
        let etcd = Etcd::start(&binary);
        let server = mirror(etcd.address, &[]);
        let mut observer = Connection::open(server.address);
        observer.post("/v3/election/observe", &json!({"name": encode("e")}).to_string());
        let elect = |server, path: &str, body: &Value| post(server, &format!("/v3/election/{path}"), body).json();
        let candidate = json!({"name": encode("e"), "value": encode("one")});
        let leader = elect(server.address, "campaign", &candidate)["leader"].clone();
        assert_eq!(observer.head().0, 200);
        let mut told = || {
            let line = line(&mut observer)["result"].take();
            // What is told of is here.
            let read = json!({"key": line["kv"]["key"], "serializable": true});
            assert_eq!(post(server.address, "/v3/kv/range", &read).json()["kvs"][0], line["kv"]);
            line["kv"]["value"].clone()
        };
        assert_eq!(told(), json!(encode("one")));
        elect(etcd.address, "proclaim", &json!({"leader": leader, "value": encode("two")}));
        assert_eq!(told(), json!(encode("two")));
        assert!(server.terminate(), "a stream that goes on does not keep it");
        assert_eq!(line(&mut observer)["error"]["message"], json!("etcdserver: server stopped"));
    }
}
