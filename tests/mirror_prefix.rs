//! Mirrors of some prefixes of a real etcd: the etcd's revisions with a part of its keys, and a clear word to who asks
//! for the others.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use support::etcd::{Etcd, etcds};
use support::http::{Answer, Connection, b64, post};
use support::{Confcast, mirror, program, until};

const PREFIXES: [&str; 4] = ["--upstream-prefix", "/a/", "--upstream-prefix", "/b/"];

fn range(server: SocketAddr, key: &str, end: &str) -> Answer {
    post(server, "/v3/kv/range", &json!({"key": b64(key), "range_end": b64(end)}))
}

/// Revision and pairs of what is mirrored, by linearizable reads while nobody writes.
fn state(server: SocketAddr) -> Value {
    let [a, b] = [("/a/", "/a0"), ("/b/", "/b0")].map(|(key, end)| range(server, key, end).json());
    json!([a["header"]["revision"], a["kvs"], b["header"]["revision"], b["kvs"]])
}

fn put(server: SocketAddr, key: &str, value: &str) -> i64 {
    let answer = post(server, "/v3/kv/put", &json!({"key": b64(key), "value": b64(value)})).json();
    answer["header"]["revision"].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

fn line(watch: &mut Connection) -> Value {
    serde_json::from_slice::<Value>(&watch.chunk()).expect("a line of JSON")["result"].take()
}

fn watch(server: SocketAddr, key: &str, end: &str, from: i64) -> (Connection, Value) {
    let mut watch = Connection::open(server);
    let create = json!({"create_request": {"key": b64(key), "range_end": b64(end), "start_revision": from}});
    watch.post("/v3/watch", &create.to_string());
    watch.head();
    let created = line(&mut watch);
    (watch, created)
}

/// Revision and number of events of a line.
fn told(watch: &mut Connection) -> (i64, usize) {
    let line = line(watch);
    let revision = line["header"]["revision"].as_str().and_then(|text| text.parse().ok());
    let events = line["events"].as_array().map(Vec::len);
    revision.zip(events).unwrap_or_else(|| panic!("no events: {line}"))
}

/// A transaction that puts these keys.
fn txn(server: SocketAddr, keys: &[&str]) -> Answer {
    let put = |key: &&str| json!({"requestPut": {"key": b64(key), "value": b64("together")}});
    post(server, "/v3/kv/txn", &json!({"success": keys.iter().map(put).collect::<Vec<_>>()}))
}

fn refused(answer: &Answer) {
    let text = answer.text();
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(3)), "{text}");
    assert!(text.contains("only keys that begin with /a/, /b/"), "{text}");
}

#[test]
fn the_revisions_are_the_etcds_whatever_they_are_about() {
    for binary in etcds() {
        let etcd = Etcd::start(&binary);
        for key in ["/a/before", "/b/before", "/c/before"] {
            put(etcd.address, key, "1");
        }
        let server = mirror(etcd.address, &PREFIXES);
        let (mut of_a, _) = watch(server.address, "/a/", "/a0", 0);
        for round in 0..30 {
            // Written here and there, within and elsewhere. Each is seen by the next read, or is waited for.
            let writer = [etcd.address, server.address][round % 2];
            put(etcd.address, &format!("/c/{}", round % 7), &round.to_string());
            assert_eq!(state(server.address), state(etcd.address), "round {round}");
            put(writer, &format!("/b/{}", round % 5), &round.to_string());
            put(etcd.address, "/d", "1");
            assert_eq!(state(server.address), state(etcd.address), "round {round}");
        }
        // One revision is one response, which has its events of the range, and none is there of another revision.
        let both = txn(server.address, &["/a/1", "/b/1", "/a/2"]).json();
        let (revision, events) = told(&mut of_a);
        assert_eq!((json!(revision.to_string()), events), (both["header"]["revision"].clone(), 2));
        let together = txn(etcd.address, &["/a/3", "/c/3", "/d"]).json();
        let (revision, events) = told(&mut of_a);
        assert_eq!((json!(revision.to_string()), events), (together["header"]["revision"].clone(), 1));
        // Who was told of a later revision at the etcd goes on here from there, and misses nothing.
        let elsewhere = put(etcd.address, "/c/last", "1");
        let (mut later, created) = watch(server.address, "/b/", "/b0", elsewhere + 1);
        assert_eq!(created["created"], json!(true));
        let next = put(etcd.address, "/b/last", "1");
        assert_eq!(told(&mut later), (next, 1));
        // The past has the revisions of what is not kept, too.
        let at = |server| {
            let body = json!({"key": b64("/b/"), "range_end": b64("/b0"), "revision": elsewhere});
            post(server, "/v3/kv/range", &body).json()["kvs"].clone()
        };
        assert_eq!(at(server.address), at(etcd.address));
    }
}

#[test]
fn what_is_not_mirrored_is_refused_and_not_answered_with_nothing() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let etcd = Etcd::start(&binary);
    put(etcd.address, "/c/secret", "1");
    let server = mirror(etcd.address, &PREFIXES);
    let before = range(etcd.address, "/", "0").json()["header"]["revision"].clone();
    for (key, end) in [("/c/secret", ""), ("/a", "/c"), ("/a/", "/b0"), ("\0", "\0"), ("/b/", "\0")] {
        refused(&range(server.address, key, end));
        refused(&post(server.address, "/v3/kv/deleterange", &json!({"key": b64(key), "range_end": b64(end)})));
        let (_, created) = watch(server.address, key, end, 0);
        assert_eq!((&created["created"], &created["canceled"]), (&json!(true), &json!(true)), "{created}");
        assert!(created["cancel_reason"].to_string().contains("--upstream-prefix"), "{created}");
    }
    refused(&post(server.address, "/v3/kv/put", &json!({"key": b64("/c"), "value": ""})));
    refused(&txn(server.address, &["/a/1", "/c/1"]));
    refused(&post(server.address, "/v3/kv/compaction", &json!({"revision": before})));
    refused(&post(server.address, "/v3/lock/lock", &json!({"name": b64("/c")})));
    refused(&post(server.address, "/v3/election/observe", &json!({"name": b64("/c")})));
    refused(&post(server.address, "/v3/maintenance/hashkv", &json!({})));
    // Over gRPC as well, where requests go on as they are.
    if let Some(etcdctl) = program("CONFCAST_ETCDCTL", "etcdctl") {
        let run = |args: &[&str]| {
            let mut command = Command::new(&etcdctl);
            command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", server.address)).args(args);
            let output = command.output().expect("etcdctl runs");
            (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
        };
        for args in [&["put", "/c", "1"][..], &["del", "/c/secret"], &["get", "/c/secret"], &["get", "--prefix", ""]] {
            let (done, said) = run(args);
            assert!(!done && said.contains("only keys that begin with"), "{args:?}: {said}");
        }
        assert_eq!(range(etcd.address, "/", "0").json()["header"]["revision"], before, "nothing was written");
        assert_eq!(run(&["put", "/a/1", "one"]), (true, "OK\n".into()));
        assert_eq!(run(&["get", "--prefix", "/a/"]), (true, "/a/1\none\n".into()));
        assert_eq!(run(&["del", "--prefix", "/a/"]), (true, "1\n".into()));
    }
    let lease = post(server.address, "/v3/lease/grant", &json!({"TTL": 60})).json()["ID"].clone();
    let leased = json!({"key": b64("/b/leased"), "value": "", "lease": lease});
    assert_eq!(post(server.address, "/v3/kv/put", &leased).status, 200);
    assert_eq!(post(server.address, "/v3/lock/lock", &json!({"name": b64("/b/lock")})).status, 200);
}

#[test]
fn connections_that_are_lost_and_histories_that_are_replaced() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let mut etcd = Etcd::start(&binary);
    put(etcd.address, "/a/1", "1");
    put(etcd.address, "/c/1", "1");
    let server = mirror(etcd.address, &PREFIXES);
    let (mut open, _) = watch(server.address, "/a/", "/a0", 0);
    // The newest revision is about something else, so that it tells nothing of the history that is kept.
    for round in 0..3 {
        put(etcd.address, "/c/1", &round.to_string());
        until("followed", || state(server.address) == state(etcd.address));
        etcd.stop();
        etcd.start_again();
        let elsewhere = put(etcd.address, "/c/2", &round.to_string());
        until("followed again", || state(server.address)[0] == json!(elsewhere.to_string()));
        let revision = put(etcd.address, "/a/1", &round.to_string());
        assert_eq!(told(&mut open), (revision, 1), "the watcher goes on");
    }
    let known = put(etcd.address, "/c/1", "last");
    until("followed", || state(server.address) == state(etcd.address));
    etcd.stop();
    etcd.wipe();
    etcd.start_again();
    // Another history, whose revision with the same number is about something else, too.
    put(etcd.address, "/a/1", "new");
    while put(etcd.address, "/c/1", "new") < known + 3 {}
    let event = line(&mut open);
    assert_eq!(event["canceled"], json!(true), "{event}");
    assert!(event["compact_revision"].is_string(), "{event}");
    until("the new history", || state(server.address) == state(etcd.address));
}

#[test]
fn a_data_directory_is_for_the_prefixes_that_it_was_made_for() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let mut etcd = Etcd::start(&binary);
    put(etcd.address, "/a/1", "1");
    put(etcd.address, "/c/1", "1");
    let (url, dir) = (format!("http://{}", etcd.address), tempfile::tempdir().expect("a directory"));
    let flags = |prefixes: &[&'static str]| {
        let mut flags = vec!["serve", "--source", "etcd", "--upstream", &url, "--listen", "127.0.0.1:0"];
        flags.extend(["--admin-listen", "127.0.0.1:0", "--data-dir", dir.path().to_str().expect("text")]);
        flags.extend(prefixes);
        flags.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let start = |prefixes: &[&'static str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_confcast"));
        Confcast::launch({
            command.args(["--log-format", "json"]).args(flags(prefixes));
            command
        })
    };
    let server = start(&PREFIXES).expect("it starts").ready();
    let all = state(etcd.address);
    until("mirrored", || state(server.address) == all);
    assert!(server.terminate());
    for other in [&[][..], &["--upstream-prefix", "/a/"], &["--upstream-prefix", "/c/"]] {
        let log = start(other).err().expect("it does not start");
        assert!(log.contains("another --upstream-prefix"), "{log}");
    }
    // With the same, in another order, what was last known is served without the etcd.
    etcd.stop();
    let server = start(&["--upstream-prefix", "/b/,/a/"]).expect("it starts");
    until("last known good", || state(server.address)[1] == all[1]);
    refused(&range(server.address, "/c/1", ""));
}
