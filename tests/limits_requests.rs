//! Limits on what clients may ask for, over both transports, and what they get who ask for more.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use confcast::pb::etcdserverpb::kv_client::KvClient;
use confcast::pb::etcdserverpb::request_op::Request as Op;
use confcast::pb::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest};
use prost::Message;
use serde_json::{Value, json};
use support::Confcast;
use support::http::{Answer, b64, post};
use support::memory::Memory;
use tonic::transport::Channel;
use tonic::{Code, Status};

const MIB: usize = 1 << 20;

/// etcd's room for what surrounds a request.
const AROUND: usize = 512 << 10;

fn server(limits: &[&str]) -> Confcast {
    Confcast::serve(&[&["--source", "none"], limits].concat()).ready()
}

async fn client(confcast: &Confcast) -> KvClient<Channel> {
    let channel = Channel::from_shared(format!("http://{}", confcast.address)).expect("a URL");
    KvClient::new(channel.connect().await.expect("connects")).max_decoding_message_size(64 * MIB)
}

fn put(key: &str, size: usize) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: vec![b'v'; size].into(), ..PutRequest::default() }
}

fn put_json(key: &str, size: usize) -> Value {
    json!({"key": b64(key), "value": b64(vec![b'v'; size])})
}

fn says(answer: &Answer, status: u16, code: i64, text: &str) {
    assert_eq!((answer.status, answer.json()["code"].as_i64()), (status, Some(code)), "{}", answer.text());
    assert_eq!(answer.json()["message"], text);
}

fn told(status: &Status, code: Code, text: &str) {
    assert_eq!((status.code(), status.message()), (code, text));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_requests_messages_and_bodies() {
    let confcast = server(&["--max-request-bytes", "10000"]);
    let mut client = client(&confcast).await;
    let (address, too_large) = (confcast.address, "etcdserver: request is too large");
    client.put(put("/a", 9900)).await.expect("small");
    assert_eq!(post(address, "/v3/kv/put", &put_json("/a", 9900)).status, 200);
    told(&client.put(put("/a", 10_000)).await.expect_err("large"), Code::InvalidArgument, too_large);
    says(&post(address, "/v3/kv/put", &put_json("/a", 10_000)), 400, 3, too_large);
    let op = |size| RequestOp { request: Some(Op::RequestPut(put("/b", size))) };
    let txn = TxnRequest { success: vec![op(10_000)], ..TxnRequest::default() };
    told(&client.txn(txn).await.expect_err("large"), Code::InvalidArgument, too_large);
    // What is no request that could be too large is a message that is.
    let most = 10_000 + AROUND;
    let size = put("/a", most).encoded_len();
    let text = format!("grpc: received message larger than max ({size} vs. {most})");
    told(&client.put(put("/a", most)).await.expect_err("larger"), Code::ResourceExhausted, &text);
    let range = RangeRequest { key: vec![b'k'; most].into(), ..RangeRequest::default() };
    let status = client.range(range).await.expect_err("larger");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().ends_with(&format!("vs. {most})")), "{status}");
    let answer = post(address, "/v3/kv/range", &json!({"key": b64(vec![b'k'; most + 8192])}));
    assert_eq!((answer.status, answer.json()["code"].as_i64()), (429, Some(8)), "{}", answer.text());
    assert_eq!(confcast.refused("request_bytes"), 6);
    let kept = client.range(RangeRequest { key: "/a".into(), ..RangeRequest::default() }).await.expect("there");
    assert_eq!(kept.into_inner().kvs[0].value.len(), 9900);
}

#[tokio::test(flavor = "multi_thread")]
async fn larger_requests_are_taken_where_they_may_be() {
    let confcast = server(&["--max-request-bytes", "8388608"]);
    let mut client = client(&confcast).await.max_encoding_message_size(64 * MIB);
    for key in ["/a", "/b"] {
        client.put(put(key, 7 * MIB)).await.expect("it may be");
    }
    let answer = post(confcast.address, "/v3/kv/put", &put_json("/c", 7 * MIB));
    assert_eq!(answer.status, 200, "{:.100}", answer.text());
    assert_eq!(support::http::range(confcast.address, "/a", "/d").pairs.len(), 3);
    told(
        &client.put(put("/a", 8 * MIB)).await.expect_err("large"),
        Code::InvalidArgument,
        "etcdserver: request is too large",
    );
    let free = server(&["--max-request-bytes", "0"]);
    let answer = post(free.address, "/v3/kv/put", &put_json("/c", 9 * MIB));
    assert_eq!(answer.status, 200, "{:.100}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_transactions() {
    let too_many = "etcdserver: too many operations in txn request";
    for (limit, most) in [(Some("3"), 3), (None, 128), (Some("200"), 200)] {
        let confcast = server(&limit.map_or_else(Vec::new, |limit| vec!["--max-txn-ops", limit]));
        let puts = |count: usize| (0..count).map(|key| json!({"requestPut": put_json(&format!("/{key}"), 1)}));
        let txn = |ops: Vec<Value>| post(confcast.address, "/v3/kv/txn", &json!({"success": ops}));
        assert_eq!(txn(puts(most).collect()).status, 200);
        says(&txn(puts(most + 1).collect()), 400, 3, too_many);
        // What is inside counts with what is around it.
        let inner = |count| vec![json!({"requestTxn": {"success": puts(count).collect::<Vec<_>>()}})];
        assert_eq!(txn(inner(most - 1)).status, 200);
        says(&txn(inner(most)), 400, 3, too_many);
        let op = |key: usize| RequestOp { request: Some(Op::RequestPut(put(&format!("/{key}"), 1))) };
        let request = TxnRequest { failure: (0..=most).map(op).collect(), ..TxnRequest::default() };
        let status = client(&confcast).await.txn(request).await.expect_err("too many");
        told(&status, Code::InvalidArgument, too_many);
        assert_eq!(confcast.refused("txn_ops"), 3);
    }
}

/// A range that is kept for all who ask for it, and one that is not.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_answers() {
    let confcast = server(&["--max-answer-mib", "1"]);
    let mut client = client(&confcast).await;
    for key in 0..40 {
        client.put(put(&format!("/many/{key:02}"), 100_000)).await.expect("written");
    }
    for key in 0..4 {
        client.put(put(&format!("/few/{key}"), 400_000)).await.expect("written");
    }
    let text = "confcast: the answer has more than the 1 MiB that it may have (--max-answer-mib); read the range page by \
                page, with a limit";
    let memory = Memory::of(&confcast);
    for (key, end) in [("/many/", "/many0"), ("/few/", "/few0")] {
        let range =
            RangeRequest { key: key.to_owned().into(), range_end: end.to_owned().into(), ..RangeRequest::default() };
        let body = json!({"key": b64(key), "range_end": b64(end)});
        for _ in 0..20 {
            told(&client.range(range.clone()).await.expect_err("large"), Code::ResourceExhausted, text);
            says(&post(confcast.address, "/v3/kv/range", &body), 429, 8, text);
        }
        let sorted = RangeRequest { sort_order: 2, ..range.clone() };
        told(&client.range(sorted).await.expect_err("large"), Code::ResourceExhausted, text);
        let op = RequestOp { request: Some(Op::RequestRange(range.clone())) };
        let txn = TxnRequest { success: vec![op.clone()], ..TxnRequest::default() };
        told(&client.txn(txn.clone()).await.expect_err("large"), Code::ResourceExhausted, text);
        // One that writes as well has happened, and is told so.
        let write = RequestOp { request: Some(Op::RequestPut(put("/other", 1))) };
        let both = TxnRequest { success: vec![op, write], ..txn };
        client.txn(both).await.expect("written");
        // What is asked for in parts, or without the values, is there.
        let page = RangeRequest { limit: 2, ..range.clone() };
        let page = client.range(page).await.expect("small").into_inner();
        assert_eq!((page.kvs.len(), page.more), (2, true));
        let keys = RangeRequest { keys_only: true, ..range.clone() };
        assert!(client.range(keys).await.expect("small").into_inner().kvs.len() >= 4);
        let count = RangeRequest { count_only: true, ..range };
        assert!(client.range(count).await.expect("small").into_inner().count >= 4);
    }
    assert_eq!(confcast.refused("answer_bytes"), 2 * 42);
    memory.stays_within(24, "84 answers of 4 MiB that are refused");
    // A range that grows beyond it while it is kept.
    for key in 0..10 {
        client.put(put(&format!("/many/{key:02}"), 1)).await.expect("written");
    }
    let grown = RangeRequest { key: "/many/".into(), range_end: "/many/40".into(), ..RangeRequest::default() };
    for key in 10..40 {
        client.put(put(&format!("/many/{key:02}"), 10_000)).await.expect("written");
    }
    client.range(grown.clone()).await.expect("small");
    for key in 10..40 {
        client.put(put(&format!("/many/{key:02}"), 100_000)).await.expect("written");
    }
    told(&client.range(grown.clone()).await.expect_err("large"), Code::ResourceExhausted, text);
    for key in 10..40 {
        client.put(put(&format!("/many/{key:02}"), 10_000)).await.expect("written");
    }
    client.range(grown).await.expect("small again");
}

#[test]
fn levels_of_json() {
    let confcast = server(&["--max-json-depth", "8"]);
    // A transaction in a transaction has three levels more.
    let nested = |levels: usize| {
        (0..levels).fold(json!({"success": []}), |inner, _| json!({"success": [{"requestTxn": inner}]}))
    };
    for path in ["/v3/kv/txn", "/v3/watch", "/v3/lease/keepalive"] {
        let before = confcast.refused("json_depth");
        let answer = post(confcast.address, path, &nested(2));
        assert_eq!((answer.status, answer.json()["code"].as_i64()), (400, Some(3)), "{path}: {}", answer.text());
        assert!(answer.text().contains("recursion limit exceeded"), "{path}: {}", answer.text());
        assert_eq!(confcast.refused("json_depth"), before + 1, "{path}");
    }
    assert_eq!(post(confcast.address, "/v3/kv/txn", &nested(1)).status, 200);
    let free = server(&["--max-json-depth", "0"]);
    assert_eq!(post(free.address, "/v3/kv/txn", &nested(40)).status, 200);
    assert_eq!(post(free.address, "/v3/kv/txn", &nested(42)).status, 400, "as deep as the parser goes");
    assert_eq!(free.refused("json_depth"), 1);
}
