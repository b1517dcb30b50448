//! Reads at a revision that one replica has and another one has not yet.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::etcd::Etcd;
use support::history::{now, pause};
use support::http::{Answer, b64, post};
use support::proxy::{Network, Proxy};
use support::{Confcast, mirror, program};

/// What etcd says of a revision that it has not reached.
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";

fn put(server: SocketAddr, value: &str) -> i64 {
    let answer = post(server, "/v3/kv/put", &json!({"key": b64("/a"), "value": b64(value)})).json();
    answer["header"]["revision"].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

fn read(server: SocketAddr, revision: i64, serializable: bool) -> Answer {
    post(server, "/v3/kv/range", &json!({"key": b64("/a"), "revision": revision, "serializable": serializable}))
}

fn refused(answer: &Answer) -> Value {
    let error = answer.json();
    assert_eq!((answer.status, &error["code"]), (400, &json!(11)), "{error}");
    error["message"].clone()
}

/// How long it took.
fn took<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let began: Instant = now();
    let done = what();
    (done, began.elapsed())
}

#[test]
fn a_replica_that_is_behind_is_given_time_to_reach_a_revision() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let etcd = Etcd::start(&binary);
    put(etcd.address, "1");
    let proxy = Proxy::to(etcd.address);
    let (ahead, behind) = (mirror(etcd.address, &[]), mirror(proxy.address, &[]));
    proxy.set(Network::Hangs);
    let revision = put(ahead.address, "2");
    assert_eq!(read(ahead.address, revision, true).json()["kvs"][0]["value"], json!(b64("2")));
    let (answer, waited) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| took(|| read(behind.address, revision, true)));
        pause(Duration::from_millis(700));
        proxy.set(Network::Well);
        reader.join().expect("an answer")
    });
    assert_eq!(answer.json()["kvs"][0]["value"], json!(b64("2")), "{}", answer.text());
    assert!(waited >= Duration::from_millis(600), "{waited:?}: nothing was held back");
    // What does not come in time is told in etcd's words. One that goes back waits for nothing.
    proxy.set(Network::Hangs);
    let revision = put(ahead.address, "3");
    let (answer, waited) = took(|| read(behind.address, revision, true));
    assert_eq!((refused(&answer), waited < Duration::from_secs(5)), (json!(FUTURE), true), "{waited:?}");
    let (answer, waited) = took(|| read(behind.address, revision - 1, true));
    assert_eq!(answer.json()["kvs"][0]["value"], json!(b64("2")));
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

#[test]
fn a_revision_that_nobody_has_is_refused_at_once_where_that_is_known() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let etcd = Etcd::start(&binary);
    let revision = put(etcd.address, "1") + 100;
    let own = Confcast::serve(&["--source", "none"]);
    let mirror = mirror(etcd.address, &[]);
    let of_its_own = put(own.address, "1") + 100;
    for (server, revision, serializable) in
        [(etcd.address, revision, true), (own.address, of_its_own, true), (mirror.address, revision, false)]
    {
        let (answer, waited) = took(|| read(server, revision, serializable));
        assert_eq!(refused(&answer), json!(FUTURE));
        assert!(waited < Duration::from_secs(1), "{waited:?}");
    }
}
