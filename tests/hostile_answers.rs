//! Answers that are huge, different from each other, and read by nobody: with a budget of memory there is an end to them.
#![allow(clippy::print_stdout, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "clients take real time, and have tasks of their own")]

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use confcast::pb::etcdserverpb::request_op::Request as Op;
use confcast::pb::etcdserverpb::{RangeRequest, RequestOp, TxnRequest};
use prost::Message;
use serde_json::{Value, json};
use support::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, message, request};
use support::http::{b64, get, post};
use support::memory::Memory;
use support::{Confcast, until};

/// The smallest budget.
const BUDGET: u64 = 64;

/// Keys, of 8 MB together, which are 26 MiB in all forms.
const KEYS: usize = 80;
const VALUE: usize = 100_000;

/// Threads that serve.
const WORKERS: usize = 16;

/// Clients of each kind, each of which asks for something else.
const CLIENTS: usize = 150;

fn server() -> Confcast {
    let mut command = Command::new(env!("CARGO_BIN_EXE_confcast"));
    command.args(["--log-format", "json", "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--source", "none", "--memory-budget-mib", &BUDGET.to_string()]);
    // As on a machine with many processors, where many answers are made at the same moment.
    command.env("TOKIO_WORKER_THREADS", WORKERS.to_string());
    let confcast = Confcast::launch(command).expect("starts").ready();
    for key in 0..KEYS {
        let put = json!({"key": b64(name(key)), "value": b64(vec![b'v'; VALUE])});
        assert_eq!(post(confcast.address, "/v3/kv/put", &put).status, 200);
    }
    confcast
}

fn name(key: usize) -> String {
    format!("/k/{key:02}")
}

/// A range of more than 3.5 MB that no other client asks for.
fn nth(client: usize) -> (String, String) {
    let (start, end) = (client % 40, 40 + client / 40 % 40);
    (name(start), name(end.max(start + 36).min(KEYS)) + &format!("x{client}"))
}

fn refused(confcast: &Confcast) -> f64 {
    confcast.metric("confcast_refused_total{limit=\"memory\"}")
}

/// A request over HTTP/1.1.
fn post_of(path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A request over gRPC.
fn call_of(path: &str, body: &[u8]) -> Vec<u8> {
    let headers = frame(HEADERS, END_HEADERS, 1, &request(path, "application/grpc"));
    let data = frame(DATA, END_STREAM, 1, &message(false, body.len(), body));
    [PREFACE, &frame(SETTINGS, 0, 0, &[]), &headers, &data].concat()
}

/// Many ask at once; others are served meanwhile, and there is room again when they have left.
fn are_bounded(what: &str, request: impl Fn(usize) -> Vec<u8>) {
    let confcast = &server();
    let memory = Memory::of(confcast);
    let before = refused(confcast);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(confcast.address).expect("connects")).collect();
    let requests: Vec<_> = (0..CLIENTS).map(request).collect();
    for (client, request) in clients.iter_mut().zip(&requests) {
        client.write_all(request).expect("sent");
    }
    for _ in 0..20 {
        let small = post(confcast.address, "/v3/kv/put", &json!({"key": b64("/small"), "value": b64("v")}));
        assert_eq!(small.status, 200, "{}", small.text());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    println!("{what}: {} of {CLIENTS} were refused", refused(confcast) - before);
    // Shares for answers and for ranges are 24 MiB; one range may be above its share, and one is being made.
    memory.stays_within(48, what);
    drop(clients);
    until("given back", || confcast.metric("confcast_requests_memory_bytes") == 0.0);
    assert_eq!(get(confcast.address, "/version").status, 200);
    let whole = json!({"key": b64("/k/"), "range_end": b64("/k0")});
    until("room", || post(confcast.address, "/v3/kv/range", &whole).status == 200);
}

#[test]
fn ranges_over_the_gateway() {
    are_bounded("150 different ranges over the gateway", |client| {
        let (key, end) = nth(client);
        post_of("/v3/kv/range", &json!({"key": b64(key), "range_end": b64(end)}))
    });
}

#[test]
fn ranges_over_grpc() {
    are_bounded("150 different ranges over gRPC", |client| {
        let (key, end) = nth(client);
        let range = RangeRequest { key: key.into(), range_end: end.into(), ..RangeRequest::default() };
        call_of("/etcdserverpb.KV/Range", &range.encode_to_vec())
    });
}

#[test]
fn pages_that_nobody_shares() {
    are_bounded("150 different ranges with a limit or in another order", |client| {
        let (key, end) = nth(client);
        let order = ["NONE", "DESCEND"][client % 2];
        let body = json!({"key": b64(key), "range_end": b64(end), "limit": 30 + client, "sort_order": order});
        post_of("/v3/kv/range", &body)
    });
}

#[test]
fn transactions_with_many_ranges() {
    are_bounded("150 transactions with different ranges, over both", |client| {
        let (key, end) = nth(client);
        if client % 2 == 0 {
            let range = json!({"request_range": {"key": b64(key), "range_end": b64(end)}});
            return post_of("/v3/kv/txn", &json!({"success": [range]}));
        }
        let range = RangeRequest { key: key.into(), range_end: end.into(), ..RangeRequest::default() };
        let op = RequestOp { request: Some(Op::RequestRange(range)) };
        let txn = TxnRequest { success: vec![op], ..TxnRequest::default() };
        call_of("/etcdserverpb.KV/Txn", &txn.encode_to_vec())
    });
}
