//! Locks, elections, fragments and streamed reads over real connections.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::time::Duration;

use confcast::pb::etcdserverpb::kv_client::KvClient;
use confcast::pb::etcdserverpb::watch_client::WatchClient;
use confcast::pb::etcdserverpb::watch_request::RequestUnion;
use confcast::pb::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, WatchCreateRequest, WatchRequest};
use prost::Message;
use serde_json::{Value, json};
use support::Confcast;
use support::http::{Connection, b64, post};
use tokio_stream::StreamExt;
use tonic::transport::Channel;

fn server() -> Confcast {
    Confcast::serve(&["--source", "none"]).ready()
}

async fn channel(confcast: &Confcast) -> Channel {
    Channel::from_shared(format!("http://{}", confcast.address)).expect("a URL").connect().await.expect("it runs")
}

fn open(confcast: &Confcast, path: &str, body: &Value) -> Connection {
    let mut connection = Connection::open(confcast.address);
    connection.post(path, &body.to_string());
    connection
}

/// Whether the server has said anything within a moment.
fn is_silent(connection: &Connection) -> bool {
    let stream = &connection.socket;
    stream.set_read_timeout(Some(Duration::from_millis(150))).expect("set");
    let silent = stream.peek(&mut [0]).is_err();
    stream.set_read_timeout(Some(support::PATIENCE)).expect("set");
    silent
}

fn count(confcast: &Confcast, prefix: &str) -> usize {
    support::http::range(confcast.address, prefix, &format!("{}0", prefix.trim_end_matches('/'))).pairs.len()
}

#[test]
fn a_lock_goes_from_one_to_the_next() {
    let confcast = server();
    let lease = |id: i64| {
        let answer = post(confcast.address, "/v3/lease/grant", &json!({"ID": id.to_string(), "TTL": "60"}));
        assert_eq!(answer.status, 200);
    };
    (1..=3).for_each(lease);
    let lock = |lease: &str| json!({"name": b64("job"), "lease": lease});
    let held = post(confcast.address, "/v3/lock/lock", &lock("1")).json();
    assert_eq!(held["key"], b64("job/1"), "the key that clients' own recipes make");
    assert_eq!(
        post(confcast.address, "/v3/lock/lock", &lock("1")).json()["key"],
        held["key"],
        "once more by its holder"
    );

    let mut second = open(&confcast, "/v3/lock/lock", &lock("2"));
    support::until("the second waits", || count(&confcast, "job/") == 2);
    let third = open(&confcast, "/v3/lock/lock", &lock("3"));
    support::until("the third waits", || count(&confcast, "job/") == 3);
    assert!(is_silent(&second) && is_silent(&third));
    // One that goes away does not keep the others waiting.
    drop(third);
    support::until("the third has left", || count(&confcast, "job/") == 2);

    post(confcast.address, "/v3/lock/unlock", &json!({"key": held["key"]}));
    assert_eq!(second.answer().json()["key"], b64("job/2"));
    // A lease that ends while its holder waits ends the waiting.
    let mut fourth = open(&confcast, "/v3/lock/lock", &lock("3"));
    support::until("the fourth waits", || count(&confcast, "job/") == 2);
    post(confcast.address, "/v3/lease/revoke", &json!({"ID": "3"}));
    let lost = fourth.answer();
    assert_eq!((lost.status, lost.json()["message"].as_str()), (500, Some("mutex: session is expired")));
    let unknown = post(confcast.address, "/v3/lock/lock", &lock("404"));
    assert_eq!(
        (unknown.status, unknown.json()["message"].as_str()),
        (404, Some("etcdserver: requested lease not found"))
    );
    assert_eq!(count(&confcast, "job/"), 1);
}

#[test]
fn an_election_is_observed_from_leader_to_leader() {
    let confcast = server();
    let election = |path: &str, body: Value| post(confcast.address, &format!("/v3/election/{path}"), &body);
    let mut observer = open(&confcast, "/v3/election/observe", &json!({"name": b64("e")}));
    let campaign = |value: &str| json!({"name": b64("e"), "value": b64(value)});
    let first = election("campaign", campaign("one")).json()["leader"].clone();
    let mut waiting = open(&confcast, "/v3/election/campaign", &campaign("two"));
    support::until("the second waits", || count(&confcast, "e/") == 2);
    assert!(is_silent(&waiting));
    assert_eq!(election("proclaim", json!({"leader": first, "value": b64("three")})).status, 200);
    assert_eq!(election("leader", json!({"name": b64("e")})).json()["kv"]["value"], b64("three"));
    assert_eq!(election("resign", json!({"leader": first})).status, 200);
    let second = waiting.answer().json()["leader"].clone();
    let late = election("proclaim", json!({"leader": first, "value": b64("late")}));
    assert_eq!((late.status, late.json()["message"].as_str()), (500, Some("election: not leader")));
    assert_eq!(election("resign", json!({"leader": second})).status, 200);
    let nobody = election("leader", json!({"name": b64("e")}));
    assert_eq!((nobody.status, nobody.json()["message"].as_str()), (500, Some("election: no leader")));
    assert_eq!(observer.head().0, 200);
    let mut told = || -> String {
        let line: Value = serde_json::from_slice(&observer.chunk()).expect("JSON");
        String::from_utf8(support::http::from_b64(&line["result"]["kv"]["value"])).expect("text")
    };
    assert_eq!([told(), told(), told()], ["one", "three", "two"]);
}

/// A deletion that shows large pairs comes in parts, each below etcd's bound, if the watcher wants that, and whole if
/// not.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_response_is_cut_between_events() {
    let confcast = server();
    let channel = channel(&confcast).await;
    let mut kv = KvClient::new(channel.clone()).max_encoding_message_size(usize::MAX);
    for number in 0..6 {
        let value = vec![number; 900_000].into();
        let request = PutRequest { key: format!("f/{number}").into(), value, ..PutRequest::default() };
        kv.put(request).await.expect("put");
    }
    let mut watches = Vec::new();
    for fragment in [true, false] {
        let create = WatchCreateRequest {
            key: "f/".into(),
            range_end: "f0".into(),
            prev_kv: true,
            fragment,
            ..WatchCreateRequest::default()
        };
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let requests = tokio_stream::once(request).chain(tokio_stream::pending());
        let mut client = WatchClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        let mut watch = client.watch(requests).await.expect("a stream").into_inner();
        assert!(watch.next().await.expect("no end").expect("no error").created);
        watches.push(watch);
    }
    let everything = DeleteRangeRequest { key: "f/".into(), range_end: "f0".into(), prev_kv: false };
    assert_eq!(kv.delete_range(everything).await.expect("deleted").into_inner().deleted, 6);
    let mut parts: Vec<(bool, usize, Vec<_>, _)> = Vec::new();
    while parts.last().is_none_or(|(fragment, ..)| *fragment) {
        let part = watches[0].next().await.expect("no end").expect("no error");
        parts.push((part.fragment, part.encoded_len(), part.events, part.header));
    }
    assert_eq!(parts.iter().map(|(fragment, ..)| *fragment).collect::<Vec<_>>(), [true, true, false]);
    assert!(parts.iter().all(|(_, size, ..)| *size < 2 << 20));
    assert!(parts.iter().all(|(.., header)| *header == parts[0].3), "one revision in all headers");
    let events: Vec<_> = parts.into_iter().flat_map(|(_, _, events, _)| events).collect();
    let whole = watches[1].next().await.expect("no end").expect("no error");
    assert!(!whole.fragment);
    assert_eq!(whole.events, events);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_read_is_the_read_in_pieces() {
    let confcast = server();
    let mut kv = KvClient::new(channel(&confcast).await).max_decoding_message_size(usize::MAX);
    for number in 0..20 {
        let value = vec![7; 100_000].into();
        kv.put(PutRequest { key: format!("s/{number:02}").into(), value, ..PutRequest::default() }).await.expect("put");
    }
    let request = RangeRequest { key: "s/".into(), range_end: "s0".into(), limit: 15, ..RangeRequest::default() };
    let whole = kv.range(request.clone()).await.expect("read").into_inner();
    let mut stream = kv.range_stream(request).await.expect("a stream").into_inner();
    let mut pieces = Vec::new();
    while let Some(piece) = stream.next().await {
        pieces.push(piece.expect("no error").range_response.expect("a piece"));
    }
    assert!(pieces.len() > 2 && pieces.iter().rev().skip(1).all(|piece| piece.header.is_none()));
    let mut merged = confcast::pb::etcdserverpb::RangeResponse::default();
    for piece in pieces {
        merged.merge(piece.encode_to_vec().as_slice()).expect("a message");
    }
    assert_eq!(merged, whole);
    assert!(whole.more && whole.count == 20);
}
