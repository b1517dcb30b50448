//! A server that ends while clients watch, and others that go on.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use support::history::wire::{self, Stream};
use support::history::{Event, Span, now, number, pause};
use support::http::{b64, get};
use support::{Confcast, mirror, until};

const WATCHERS: usize = 40;

/// Seconds over which streams end.
const SPREAD: &str = "3";

fn put(server: SocketAddr, value: &str) -> i64 {
    let (status, answer) =
        wire::post(server, "/v3/kv/put", &json!({"key": b64("/k/a"), "value": b64(value)})).expect("answered");
    assert_eq!(status, 200, "{answer}");
    number(&answer["header"]["revision"])
}

/// Follows all events up to one, on the first server and, when that ends the stream, on the second. Returns when that
/// was.
fn follow(first: SocketAddr, second: SocketAddr, from: i64) -> Option<Instant> {
    let (mut next, mut moved) = (from, None);
    let mut stream = Stream::watch(first, Span("/k/", "/k0"), from).expect("a watch");
    loop {
        match stream.next(support::PATIENCE) {
            Ok(message) => {
                for event in message["events"].as_array().expect("events").iter().map(Event::read) {
                    assert_eq!(event.pair.modified, next, "every revision, and each once");
                    next += 1;
                    if event.pair.value == "last" {
                        return moved;
                    }
                }
            }
            Err(error) => {
                assert!(moved.is_none(), "the second goes on: {error}");
                assert!(!error.to_string().contains("timeout"), "{error}");
                moved = Some(now());
                stream = Stream::watch(second, Span("/k/", "/k0"), next).expect("a watch");
            }
        }
    }
}

#[test]
fn streams_end_one_by_one_and_lose_nothing() {
    let source = Confcast::serve(&["--source", "none"]).ready();
    let from = put(source.address, "first") + 1;
    let first = mirror(source.address, &["--drain-spread-seconds", SPREAD]);
    let second = mirror(source.address, &[]);
    let (address, admin) = (first.address, first.admin);
    let (asked, moved) = std::thread::scope(|scope| {
        let followers: Vec<_> = (0..WATCHERS).map(|_| scope.spawn(|| follow(address, second.address, from))).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small whole number")]
        let watching = |server: &Confcast, count: usize| server.metric("confcast_watch_streams") as usize == count;
        until("watching", || watching(&first, WATCHERS));
        let asked = now();
        let end = scope.spawn(move || first.terminate());
        until("not ready", || get(admin, "/readyz").status == 503);
        assert!(asked.elapsed() < Duration::from_secs(1), "probes are told at once");
        while !end.is_finished() {
            put(source.address, "more");
            pause(Duration::from_millis(20));
        }
        assert!(end.join().expect("no panic"), "it ends well");
        put(source.address, "last");
        let moved: Vec<_> = followers.into_iter().map(|follower| follower.join().expect("no panic")).collect();
        (asked, moved)
    });
    let mut after: Vec<_> = moved.into_iter().map(|moved| moved.expect("moved").duration_since(asked)).collect();
    after.sort();
    let (least, most) = (after[0], after[WATCHERS - 1]);
    println!("{WATCHERS} streams were ended from {least:?} to {most:?} after the signal");
    assert!(most > least + Duration::from_secs(1), "spread: {after:?}");
    assert!(after[WATCHERS / 2] > Duration::from_millis(500), "not all at the beginning: {after:?}");
}
