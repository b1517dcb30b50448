//! Limits on what clients may hold, and what those get who want more.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use confcast::pb::etcdserverpb::watch_client::WatchClient;
use confcast::pb::etcdserverpb::watch_request::RequestUnion;
use confcast::pb::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use serde_json::json;
use support::http::{Connection, Watch, get, post};
use support::memory::Memory;
use support::{Confcast, until};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// How often more is asked for than there may be.
const REFUSED: u64 = 200;

fn server(limits: &[&str]) -> Confcast {
    Confcast::serve(&[&["--source", "none"], limits].concat()).ready()
}

fn metric(confcast: &Confcast, name: &str) -> u64 {
    let metrics = get(confcast.admin, "/metrics").text();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')));
    value.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

/// One connection too many gets 503 over HTTP/1.1, and over HTTP/2 no settings; one that ends makes room, also one that
/// was a watch.
fn are_limited(confcast: &Confcast, limit: &str) {
    let memory = Memory::of(confcast);
    let watch = Watch::open(confcast.address, "/a/", "/a0", 0);
    let mut held = Connection::open(confcast.address);
    held.send(b"GET /version HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(held.answer().status, 200);
    until("counted", || metric(confcast, "confcast_connections") == 2);

    for _ in 0..REFUSED {
        let mut more = Connection::open(confcast.address);
        more.post("/v3/watch", &json!({"create_request": {"key": "YQ=="}}).to_string());
        let answer = more.answer();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.json()["message"], "confcast: too many connections");
    }
    let mut second = TcpStream::connect(confcast.address).expect("connects");
    second.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    second.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("sent");
    match second.read(&mut [0; 64]) {
        Ok(count) => assert_eq!(count, 0, "nothing comes before the end"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert_eq!(confcast.refused(limit), REFUSED + 1);
    until("logged", || confcast.log().contains("too many connections"));

    drop(watch);
    until("room", || metric(confcast, "confcast_connections") == 1);
    assert_eq!(get(confcast.address, "/version").status, 200);
    memory.stays_within(8, &format!("{REFUSED} refused {limit}"));
}

#[test]
fn connections_are_limited() {
    are_limited(&server(&["--max-connections", "2"]), "connections");
}

#[test]
fn connections_of_one_address_are_limited() {
    are_limited(&server(&["--max-connections-per-address", "2"]), "connections_per_address");
}

#[test]
fn a_client_that_says_nothing_is_refused_too() {
    let confcast = server(&["--max-connections", "1"]);
    let _held = Watch::open(confcast.address, "/a/", "/a0", 0);
    let mut silent = TcpStream::connect(confcast.address).expect("connects");
    silent.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    assert_eq!(silent.read(&mut [0; 64]).expect("an end"), 0);
}

#[test]
fn leases_are_limited() {
    let confcast = server(&["--max-leases", "2"]);
    let memory = Memory::of(&confcast);
    let grant = || post(confcast.address, "/v3/lease/grant", &json!({"TTL": 60}));
    let first = grant();
    assert_eq!((first.status, grant().status), (200, 200));
    let third = grant();
    assert_eq!((third.status, third.json()["code"].as_i64()), (429, Some(8)));
    assert_eq!(third.json()["message"], "confcast: too many leases");
    assert!((1..REFUSED).all(|_| grant().status == 429));
    assert_eq!(confcast.refused("leases"), REFUSED);
    memory.stays_within(8, "refused leases");
    let revoke = post(confcast.address, "/v3/lease/revoke", &json!({"ID": first.json()["ID"]}));
    assert_eq!((revoke.status, grant().status), (200, 200), "there is room again");
}

/// A stream with a watcher, or why there is none.
async fn stream(
    client: &mut WatchClient<Channel>,
    watchers: i64,
) -> Result<(mpsc::Sender<WatchRequest>, Streaming<WatchResponse>), Status> {
    let (requests, outgoing) = mpsc::channel(8);
    for _ in 0..watchers {
        let create = WatchCreateRequest { key: "a".into(), ..WatchCreateRequest::default() };
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        requests.send(request).await.expect("room");
    }
    let stream = client.watch(ReceiverStream::new(outgoing)).await?.into_inner();
    Ok((requests, stream))
}

#[tokio::test]
async fn watch_streams_of_a_connection_and_watchers_of_a_stream_are_limited() {
    let confcast = server(&["--max-watch-streams-per-connection", "2", "--max-watchers-per-stream", "2"]);
    let memory = Memory::of(&confcast);
    let channel = Channel::from_shared(format!("http://{}", confcast.address)).expect("a URL");
    let channel = channel.connect().await.expect("connects");
    let mut client = WatchClient::new(channel);
    let (first_requests, mut first) = stream(&mut client, 3).await.expect("opens");
    for _ in 0..2 {
        let message = first.message().await.expect("goes on").expect("a message");
        assert!(message.created && !message.canceled);
    }
    let third = first.message().await.expect("goes on").expect("a message");
    assert!(third.created && third.canceled);
    assert_eq!(third.cancel_reason, "confcast: too many watchers on one stream");
    assert_eq!(confcast.refused("watchers"), 1);

    let (_second_requests, _second) = stream(&mut client, 1).await.expect("opens");
    let status = stream(&mut client, 1).await.expect_err("one too many");
    assert_eq!(
        (status.code(), status.message()),
        (Code::ResourceExhausted, "confcast: too many watch streams on one connection")
    );
    for _ in 1..REFUSED {
        stream(&mut client, 1).await.expect_err("one too many");
    }
    assert_eq!(confcast.refused("watch_streams"), REFUSED);
    memory.stays_within(8, "refused watchers and watch streams");
    drop((first_requests, first));
    for _ in 0..100 {
        if stream(&mut client, 1).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a stream that has ended makes room");
}
