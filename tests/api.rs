//! The served API over real connections: the gateway's bytes as APISIX needs them, gRPC, and what becomes of bad input.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use confcast::pb::etcdserverpb::kv_client::KvClient;
use confcast::pb::etcdserverpb::watch_client::WatchClient;
use confcast::pb::etcdserverpb::watch_create_request::FilterType;
use confcast::pb::etcdserverpb::watch_request::RequestUnion;
use confcast::pb::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, WatchCancelRequest, WatchCreateRequest,
    WatchProgressRequest, WatchRequest, WatchResponse,
};
use serde_json::{Value, json};
use support::Confcast;
use support::http::{self, Connection, Watch, b64, post};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Channel;

fn server() -> Confcast {
    Confcast::serve(&["--source", "none"]).ready()
}

fn put(confcast: &Confcast, key: &str, value: &str) -> i64 {
    let answer = post(confcast.address, "/v3/kv/put", &json!({"key": b64(key), "value": b64(value)}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    number(&answer.json()["header"]["revision"])
}

fn number(value: &Value) -> i64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn defaults_are_left_out_as_etcd_leaves_them_out() {
    let confcast = server();
    let call = |path: &str, body: Value| post(confcast.address, path, &body).json();
    let fields = |answer: &Value| answer.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&call("/v3/kv/range", json!({"key": b64("a")}))), ["header"], "no kvs, no count");
    assert_eq!(fields(&call("/v3/kv/deleterange", json!({"key": b64("a")}))), ["header"], "no deleted");
    let put = call("/v3/kv/put", json!({"key": b64("a"), "value": "", "prev_kv": true}));
    assert_eq!(fields(&put), ["header"], "no prev_kv of a new key");
    let range = call("/v3/kv/range", json!({"key": b64("a")}));
    assert_eq!(fields(&range["kvs"][0]), ["create_revision", "key", "mod_revision", "version"], "no empty value");
    assert_eq!(range["count"], "1");
    for field in ["cluster_id", "member_id", "revision", "raft_term"] {
        assert!(range["header"][field].as_str().is_some_and(|text| text != "0"), "{field}");
    }
    let txn = json!({"compare": [{"key": b64("a"), "target": "MOD", "result": "EQUAL", "mod_revision": 1}],
        "success": [{"requestPut": {"key": b64("a"), "value": b64("x")}}]});
    assert_eq!(fields(&call("/v3/kv/txn", txn)), ["header"], "no succeeded");
    let revision = number(&range["kvs"][0]["mod_revision"]);
    let txn = json!({"compare": [{"key": b64("a"), "target": "MOD", "result": "EQUAL", "mod_revision": revision}],
        "success": [{"requestPut": {"key": b64("a"), "value": b64("x")}}]});
    assert_eq!(call("/v3/kv/txn", txn)["succeeded"], true);
    let setnx = json!({"compare": [{"key": b64("new"), "target": "CREATE", "createRevision": 0}],
        "success": [{"requestPut": {"key": b64("new"), "value": b64("x")}}]});
    assert_eq!(call("/v3/kv/txn", setnx.clone())["succeeded"], true);
    assert!(call("/v3/kv/txn", setnx).get("succeeded").is_none());
}

#[test]
fn errors_have_etcds_codes_texts_and_shape() {
    let confcast = server();
    let revision = put(&confcast, "a", "1");
    let cases = [
        ("/v3/kv/range", json!({}), 400, 3, "etcdserver: key is not provided"),
        (
            "/v3/kv/range",
            json!({"key": b64("a"), "revision": revision + 1}),
            400,
            11,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        ("/v3/kv/put", json!({"key": b64("a"), "lease": "77"}), 404, 5, "etcdserver: requested lease not found"),
        ("/v3/kv/put", json!({"key": b64("b"), "ignore_value": true}), 400, 3, "etcdserver: key not found"),
        ("/v3/lease/grant", json!({"TTL": 9_000_000_001_i64}), 400, 11, "etcdserver: too large lease TTL"),
        (
            "/v3/auth/authenticate",
            json!({"name": "a", "password": "b"}),
            400,
            9,
            "etcdserver: authentication is not enabled",
        ),
        (
            "/v3/kv/compaction",
            json!({"revision": revision + 9}),
            400,
            11,
            "etcdserver: mvcc: required revision is a future revision",
        ),
    ];
    for (path, body, status, code, text) in cases {
        let answer = post(confcast.address, path, &body);
        assert_eq!(answer.status, status, "{path} {body}");
        assert_eq!(answer.json(), json!({"error": text, "message": text, "code": code}), "{path} {body}");
    }
    for (method, path, status) in [
        ("GET", "/v3/kv/range", 405),
        ("POST", "/v3/kv/nothing", 404),
        ("POST", "/v3alpha/kv/range", 404),
        ("POST", "/version", 405),
        ("OPTIONS", "/v3/kv/range", 200),
        ("GET", "/health", 200),
        ("GET", "/nothing", 404),
    ] {
        let mut connection = Connection::open(confcast.address);
        connection.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").as_bytes());
        assert_eq!(connection.head().0, status, "{method} {path}");
    }
    let bad = |body: &str| {
        let mut connection = Connection::open(confcast.address);
        connection.post("/v3/kv/range", body);
        let answer = connection.answer();
        assert_eq!((answer.status, answer.json()["code"].clone()), (400, json!(3)), "{body}");
    };
    ["{", "[1]", "{\"key\":7}", "{\"key\":\"YQ==\",\"sort_target\":-1}", "{\"revision\":\"x\"}", "\u{0}"]
        .into_iter()
        .for_each(bad);
    // A watch that cannot be understood is refused with a status, on which APISIX pauses.
    assert_eq!(post(confcast.address, "/v3/watch", &json!([])).status, 400);
}

#[test]
fn too_large_is_refused_before_it_is_read() {
    let confcast = server();
    let large = b64(vec![b'x'; 1_700_000]);
    let answer = post(confcast.address, "/v3/kv/put", &json!({"key": b64("a"), "value": large}));
    assert_eq!((answer.status, answer.json()["error"].clone()), (400, json!("etcdserver: request is too large")));
    let mut connection = Connection::open(confcast.address);
    connection.send(b"POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n");
    let answer = connection.answer();
    assert_eq!((answer.status, answer.json()["code"].clone()), (429, json!(8)));
    // What goes out may be of any size.
    for number in 0..6 {
        put(&confcast, &format!("big/{number}"), &"y".repeat(1_000_000));
    }
    assert_eq!(http::range(confcast.address, "big/", "big0").pairs.len(), 6);
}

#[test]
fn connections_are_kept_and_a_watch_may_follow_on_one() {
    let confcast = server();
    let mut connection = Connection::open(confcast.address);
    for _ in 0..3 {
        connection.post("/v3/kv/range", &json!({"key": b64("a")}).to_string());
        assert_eq!(connection.answer().status, 200);
    }
    // Head and body in pieces, without a type, as APISIX sends them.
    let body = json!({"create_request": {"key": b64("a")}}).to_string();
    connection.send(format!("POST /v3/watch HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n", body.len()).as_bytes());
    connection.send(format!("\r\n{body}").as_bytes());
    let (status, headers) = connection.head();
    assert_eq!(status, 200);
    assert!(headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked"));
    let created: Value = serde_json::from_slice(&connection.chunk()).expect("JSON");
    assert_eq!(created["result"]["created"], true);
    assert!(created["result"].get("watch_id").is_none(), "the id 0 is left out");
}

#[test]
fn several_watchers_share_a_stream_and_each_message_is_a_chunk() {
    let confcast = server();
    let first = put(&confcast, "a/1", "one");
    let mut connection = Connection::open(confcast.address);
    // Requests one after the other in one body that stays open.
    connection.send(b"POST /v3/watch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let send = |connection: &mut Connection, request: Value| {
        let text = request.to_string();
        connection.send(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes());
    };
    let next = |connection: &mut Connection| -> Value {
        serde_json::from_slice::<Value>(&connection.chunk()).expect("JSON")["result"].take()
    };
    send(
        &mut connection,
        json!({"create_request": {"key": b64("a/"), "range_end": b64("a0"), "start_revision": first, "prev_kv": true}}),
    );
    assert_eq!(connection.head().0, 200, "the answer does not wait for the end of the requests");
    assert_eq!(next(&mut connection)["created"], true);
    let replayed = next(&mut connection);
    assert_eq!(replayed["events"][0]["kv"]["mod_revision"], first.to_string());
    assert_eq!(replayed["header"]["revision"], first.to_string());
    send(&mut connection, json!({"create_request": {"key": b64("a/1"), "watch_id": 7, "filters": ["NOPUT"]}}));
    let created = next(&mut connection);
    assert_eq!((created["watch_id"].clone(), created["created"].clone()), (json!("7"), json!(true)));
    send(&mut connection, json!({"create_request": {"key": b64("b"), "range_end": b64("a")}}));
    let refused = next(&mut connection);
    assert_eq!((refused["watch_id"].clone(), refused["canceled"].clone()), (json!("-1"), json!(true)));
    assert_eq!(refused["cancel_reason"], "mvcc: watcher range is empty");
    put(&confcast, "a/1", "two");
    let event = next(&mut connection);
    assert!(event.get("watch_id").is_none());
    assert_eq!(event["events"][0]["prev_kv"]["value"], b64("one"));
    post(confcast.address, "/v3/kv/deleterange", &json!({"key": b64("a/1")}));
    let mut both = [next(&mut connection), next(&mut connection)];
    both.sort_by_key(|message| message.get("watch_id").is_some());
    assert_eq!(both[1]["watch_id"], "7");
    for message in &both {
        assert_eq!(message["events"][0]["type"], "DELETE");
        assert_eq!(message["events"][0]["kv"].as_object().expect("a pair").len(), 2, "only key and revision");
    }
    assert!(both[1]["events"][0].get("prev_kv").is_none(), "it did not ask for it");
    send(&mut connection, json!({"progress_request": {}}));
    let progress = next(&mut connection);
    assert_eq!((progress["watch_id"].clone(), progress.get("events")), (json!("-1"), None));
    send(&mut connection, json!({"cancel_request": {"watch_id": "7"}}));
    let canceled = next(&mut connection);
    assert_eq!((canceled["watch_id"].clone(), canceled["canceled"].clone()), (json!("7"), json!(true)));
    // The end of the requests is not the end of the watch.
    connection.send(b"0\r\n\r\n");
    put(&confcast, "a/2", "three");
    assert_eq!(next(&mut connection)["events"][0]["kv"]["key"], b64("a/2"));
}

#[test]
fn compaction_is_told_in_two_messages_and_only_to_those_who_lost_something() {
    let confcast = server();
    let first = put(&confcast, "a", "1");
    put(&confcast, "a", "2");
    let last = put(&confcast, "a", "3");
    assert_eq!(post(confcast.address, "/v3/kv/compaction", &json!({"revision": last.to_string()})).status, 200);
    let mut old = Watch::open(confcast.address, "a", "", first);
    let canceled = old.next();
    assert_eq!(
        (canceled["canceled"].clone(), canceled["compact_revision"].clone()),
        (json!(true), json!(last.to_string()))
    );
    assert!(canceled.get("created").is_none() && canceled["header"].get("revision").is_none());
    let mut at = Watch::open(confcast.address, "a", "", last);
    assert_eq!(at.keys(), [("a".to_owned(), false)], "the revision of the compaction itself can be watched from");
    let future = last + 2;
    let mut later = Watch::open(confcast.address, "a", "", future);
    put(&confcast, "a", "4");
    put(&confcast, "a", "5");
    assert_eq!(later.next()["header"]["revision"], future.to_string(), "events before the start are not sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_reads_writes_and_watches() {
    let confcast = server();
    let channel =
        Channel::from_shared(format!("http://{}", confcast.address)).expect("a URL").connect().await.expect("connects");
    let mut kv = KvClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    let put = |key: &str, value: &str| PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    };
    for number in 0..5 {
        kv.put(put(&format!("k{number}"), &"v".repeat(1_000_000))).await.expect("put");
    }
    let all = RangeRequest { key: "k".into(), range_end: "l".into(), ..RangeRequest::default() };
    let range = kv.range(all.clone()).await.expect("range").into_inner();
    assert_eq!((range.count, range.kvs.len(), range.more), (5, 5, false));
    assert_eq!(range.kvs[4].value.len(), 1_000_000, "a message may be larger than gRPC's default limit");
    let limited = RangeRequest { limit: 2, keys_only: true, sort_order: 2, ..all.clone() };
    let range = kv.range(limited).await.expect("range").into_inner();
    let keys: Vec<_> = range.kvs.iter().map(|pair| pair.key.clone()).collect();
    assert_eq!((keys, range.count, range.more), (vec!["k4".into(), "k3".into()], 5, true));
    assert!(range.kvs.iter().all(|pair| pair.value.is_empty()));
    let error = kv.range(RangeRequest::default()).await.expect_err("no key");
    assert_eq!((error.code(), error.message()), (Code::InvalidArgument, "etcdserver: key is not provided"));
    let deleted = DeleteRangeRequest { key: "k0".into(), prev_kv: true, ..DeleteRangeRequest::default() };
    assert_eq!(kv.delete_range(deleted).await.expect("delete").into_inner().prev_kvs.len(), 1);
    let old =
        kv.compact(CompactionRequest { revision: -1, ..CompactionRequest::default() }).await.expect_err("too old");
    assert_eq!(
        (old.code(), old.message()),
        (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted")
    );

    let (requests, outgoing) = mpsc::channel(8);
    let create = WatchCreateRequest {
        key: "k".into(),
        range_end: "l".into(),
        filters: vec![FilterType::Nodelete as i32],
        ..WatchCreateRequest::default()
    };
    let send = async |request| requests.send(WatchRequest { request_union: Some(request) }).await.expect("open");
    send(RequestUnion::CreateRequest(create.clone())).await;
    let mut stream = WatchClient::new(channel).watch(ReceiverStream::new(outgoing)).await.expect("opens").into_inner();
    let mut next = async || -> WatchResponse { stream.message().await.expect("goes on").expect("a message") };
    assert!(next().await.created);
    send(RequestUnion::CreateRequest(WatchCreateRequest { watch_id: 0, ..create.clone() })).await;
    assert_eq!(next().await.watch_id, 1);
    send(RequestUnion::CreateRequest(WatchCreateRequest { watch_id: 1, ..create })).await;
    let refused = next().await;
    assert_eq!((refused.watch_id, refused.canceled), (-1, true));
    assert_eq!(refused.cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");
    kv.put(put("k9", "new")).await.expect("put");
    let (one, two) = (next().await, next().await);
    assert_eq!([one.watch_id, two.watch_id].iter().sum::<i64>(), 1);
    assert_eq!(one.events, two.events);
    assert_eq!(one.header.expect("a header").revision, one.events[0].kv.as_ref().expect("a pair").mod_revision);
    send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 1 })).await;
    assert!(next().await.canceled);
    send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
    assert_eq!(next().await.watch_id, -1);
    // The server ends streams with a code on which clients come back.
    assert!(confcast.terminate());
    assert_eq!(stream.message().await.expect_err("ended").code(), Code::Unavailable);
}

#[test]
fn bytes_that_are_no_protocol_do_no_harm() {
    let confcast = server();
    for bytes in [
        &b"\x16\x03\x01\x00"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff",
        b"GET\r\n\r\n",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let mut stream = TcpStream::connect(confcast.address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
        stream.write_all(bytes).expect("writes");
        stream.shutdown(std::net::Shutdown::Write).expect("shut");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    assert_eq!(http::get(confcast.address, "/health").text(), "{\"health\":\"true\",\"reason\":\"\"}");
    let version = http::get(confcast.address, "/version").json();
    assert_eq!(version["etcdcluster"], "3.5.0");
}

#[test]
fn a_client_that_leaves_is_forgotten_and_one_that_does_not_read_costs_nothing() {
    let confcast = server();
    let streams = || {
        let watch = http::get(confcast.admin, "/status").json()["watch"].clone();
        json!({"streams": watch["streams"], "watchers": watch["watchers"], "interests": watch["interests"]})
    };
    let mut watches: Vec<_> = (0..50).map(|_| Watch::open(confcast.address, "a/", "a0", 0)).collect();
    assert_eq!(streams(), json!({"streams": 50, "watchers": 50, "interests": 1}));
    // Nobody reads while 60 MB are written to each of them.
    let before = memory(&confcast);
    for number in 0..60 {
        put(&confcast, &format!("a/{}", number % 3), &format!("{number}{}", "x".repeat(1_000_000)));
    }
    let grown = memory(&confcast) - before;
    // What the log keeps, its encoded form, and what the kernel holds for no one: far from 50 times 80 MB.
    assert!(grown < 500 << 20, "{} MB", grown >> 20);
    // Those who read on get everything, each revision whole.
    let mut seen = 0;
    while seen < 60 {
        seen += watches[0].keys().len();
    }
    drop(watches);
    support::until("forgotten", || streams() == json!({"streams": 0, "watchers": 0, "interests": 0}));
}

/// Resident memory of the server, in bytes.
fn memory(confcast: &Confcast) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", confcast.id())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") << 10
}

#[test]
fn an_answer_that_is_not_read_yet_is_not_lost_to_a_watch_behind_it() {
    let server = server();
    let value = b64("v".repeat(1 << 20));
    for key in 0..12 {
        let put = json!({"key": b64(format!("/big/{key:02}")), "value": value});
        assert_eq!(http::post(server.address, "/v3/kv/put", &put).status, 200);
    }
    let mut connection = Connection::open(server.address);
    connection.post("/v3/kv/range", &json!({"key": b64("/big/"), "range_end": b64("/big0")}).to_string());
    let create = json!({"create_request": {"key": b64("/big/"), "range_end": b64("/big0")}});
    connection.post("/v3/watch", &create.to_string());
    // The server has had time to look at the second request before the first answer is read.
    assert_eq!(http::get(server.address, "/version").status, 200);
    let answer = connection.answer().json();
    assert_eq!(answer["kvs"].as_array().map(Vec::len), Some(12));
    assert_eq!(connection.head().0, 200);
    let created: Value = serde_json::from_slice(&connection.chunk()).expect("a line of JSON");
    assert_eq!(created["result"]["created"], json!(true));
}
