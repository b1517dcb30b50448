//! Mirrors that start without data: watches that were begun elsewhere go on at them, as at the etcd.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::etcd::{Etcd, etcds};
use support::http::{Connection, b64, post};
use support::{Confcast, mirror, program};

fn put(server: SocketAddr, key: &str, value: &str) -> i64 {
    revision(&post(server, "/v3/kv/put", &json!({"key": b64(key), "value": b64(value)})).json())
}

fn delete(server: SocketAddr, key: &str) -> i64 {
    revision(&post(server, "/v3/kv/deleterange", &json!({"key": b64(key)})).json())
}

fn compact(server: SocketAddr, revision: i64) {
    let answer = post(server, "/v3/kv/compaction", &json!({"revision": revision, "physical": true}));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn revision(answer: &Value) -> i64 {
    answer["header"]["revision"].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

/// Events from a revision on until a key is put that is asked for by nothing else.
fn events(server: SocketAddr, from: i64, last: i64) -> Vec<Value> {
    let mut watch = watch(server, from);
    let mut events = Vec::new();
    loop {
        let told = line(&mut watch);
        let told = told["result"]["events"].as_array().unwrap_or_else(|| panic!("{told}"));
        events.extend(told.iter().cloned());
        let newest = events.last().and_then(|event| event["kv"]["mod_revision"].as_str());
        if newest == Some(&last.to_string()) {
            return events;
        }
    }
}

/// A line of a watch, which etcd cuts into chunks where it likes.
fn line(watch: &mut Connection) -> Value {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.extend(watch.chunk());
    }
    serde_json::from_slice(&line).expect("JSON")
}

fn watch(server: SocketAddr, from: i64) -> Connection {
    let mut watch = Connection::open(server);
    let create = json!({"key": b64("/a"), "range_end": b64("/b"), "start_revision": from});
    watch.post("/v3/watch", &json!({"create_request": create}).to_string());
    watch.head();
    assert_eq!(line(&mut watch)["result"]["created"], json!(true));
    watch
}

/// The first revision that a watch is told to begin at that cannot be served.
fn refusal(server: SocketAddr, from: i64) -> Value {
    line(&mut watch(server, from))["result"]["compact_revision"].clone()
}

/// Puts and deletions, the last of them a put.
fn writes(server: SocketAddr) -> i64 {
    for number in 0..30 {
        put(server, &format!("/a/{}", number % 7), &number.to_string());
        if number % 4 == 1 {
            delete(server, &format!("/a/{}", number % 7));
        }
    }
    put(server, "/a/last", "1")
}

/// As all mirrors do whose data is lost with their containers.
#[test]
fn watches_from_before_its_start_go_on() {
    for binary in etcds() {
        let etcd = Etcd::start(&binary);
        let first = put(etcd.address, "/a/first", "1");
        let last = writes(etcd.address);
        let root = mirror(etcd.address, &[]);
        let leaf = mirror(root.address, &[]);
        for from in [1, first, first + 9, last - 1, last] {
            let wanted = events(etcd.address, from, last);
            assert_eq!(events(root.address, from, last), wanted, "from {from}");
            assert_eq!(events(leaf.address, from, last), wanted, "of a mirror of a mirror, from {from}");
        }
        // And what it was then can be read.
        let past = json!({"key": b64("/a"), "range_end": b64("/b"), "revision": first + 9});
        let kvs = |server| post(server, "/v3/kv/range", &past).json()["kvs"].clone();
        assert_eq!(kvs(leaf.address), kvs(etcd.address));
    }
}

/// Its history begins after the state at this revision.
fn begins_after(mirror: &Confcast, first: i64, etcd: SocketAddr, last: i64) {
    assert_eq!(events(mirror.address, first + 1, last), events(etcd, first + 1, last));
    assert_eq!(refusal(mirror.address, first - 1), json!((first + 1).to_string()));
}

#[test]
fn history_begins_where_it_is_told_to_or_where_the_etcd_has_it() {
    for binary in etcds() {
        let etcd = Etcd::start(&binary);
        put(etcd.address, "/a/first", "1");
        let last = writes(etcd.address);
        begins_after(&mirror(etcd.address, &["--upstream-history", "10"]), last - 10, etcd.address, last);
        compact(etcd.address, last - 5);
        let root = mirror(etcd.address, &[]);
        begins_after(&root, last - 5, etcd.address, last);
        // The state at its floor is what a mirror tells of, not the one before.
        begins_after(&mirror(root.address, &[]), last - 4, etcd.address, last);
        // Nothing is left but the present.
        compact(etcd.address, last);
        let root = mirror(etcd.address, &[]);
        assert_eq!(refusal(root.address, last - 1), json!((last + 1).to_string()));
        let next = put(root.address, "/a/last", "2");
        assert_eq!(events(root.address, last + 1, next), events(etcd.address, last + 1, next));
    }
}

#[test]
fn without_history_it_begins_with_the_present() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let etcd = Etcd::start(&binary);
    put(etcd.address, "/a/first", "1");
    let last = writes(etcd.address);
    let mirror = mirror(etcd.address, &["--upstream-history", "0"]);
    assert_eq!(refusal(mirror.address, last - 1), json!((last + 1).to_string()));
    assert_eq!(mirror.revision(), last);
}

/// There is more of it than is worth waiting for: what the etcd sends at once, and the time that it may take.
#[test]
fn a_mirror_is_ready_when_it_has_everything() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let etcd = Etcd::start(&binary);
    let value = "x".repeat(1000);
    for _ in 0..60 {
        let put = json!({"requestPut": {"key": b64("/a/0"), "value": b64(&value)}});
        // One revision each, as a key cannot be put twice in one transaction.
        for _ in 0..50 {
            assert_eq!(post(etcd.address, "/v3/kv/txn", &json!({"success": [put]})).status, 200);
        }
    }
    let last = put(etcd.address, "/a/last", "1");
    // It is ready, so nobody reads the past of it.
    let mirror = mirror(etcd.address, &[]);
    let all = json!({"key": b64("/a"), "range_end": b64("/b"), "serializable": true});
    let answer = post(mirror.address, "/v3/kv/range", &all).json();
    assert_eq!((revision(&answer), answer["count"].clone()), (last, json!("2")));
    assert_eq!(events(mirror.address, 2, last).len(), 3001);
}
