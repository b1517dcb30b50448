//! What is counted of calls and of bytes, over gRPC and over the gateway.
#![allow(clippy::print_stdout, missing_docs)]
#![expect(clippy::float_cmp, reason = "small whole numbers")]

mod support;

use confcast::pb::etcdserverpb::kv_client::KvClient;
use confcast::pb::etcdserverpb::lease_client::LeaseClient;
use confcast::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use confcast::pb::etcdserverpb::watch_client::WatchClient;
use confcast::pb::etcdserverpb::watch_request::RequestUnion;
use confcast::pb::etcdserverpb::{
    LeaseKeepAliveRequest, PutRequest, RangeRequest, SnapshotRequest, WatchCreateRequest, WatchRequest,
};
use serde_json::json;
use support::http::{Watch, b64, post};
use support::{Confcast, until};
use tonic::transport::Channel;

/// How many calls were begun and, by this code, answered.
fn counted(server: &Confcast, service: &str, method: &str, kind: &str, code: &str) -> (f64, f64) {
    let labels = format!("grpc_service=\"etcdserverpb.{service}\",grpc_method=\"{method}\",grpc_type=\"{kind}\"");
    let started = server.metric(&format!("grpc_server_started_total{{{labels}}}"));
    (started, server.metric(&format!("grpc_server_handled_total{{{labels},grpc_code=\"{code}\"}}")))
}

fn server() -> Confcast {
    Confcast::serve(&["--source", "none"]).ready()
}

async fn connect(server: &Confcast) -> Channel {
    let url = format!("http://{}", server.address);
    Channel::from_shared(url).expect("a URL").connect().await.expect("connects")
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_with_one_answer_are_counted_by_their_code_whatever_their_way() {
    let server = server();
    let mut kv = KvClient::new(connect(&server).await);
    let put = |lease| PutRequest { key: "k".into(), value: "v".into(), lease, ..PutRequest::default() };
    let range = |key: &str| RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
    assert_eq!(counted(&server, "KV", "Put", "unary", "OK"), (0.0, 0.0), "from the start");
    kv.put(put(0)).await.expect("put");
    kv.put(put(7)).await.expect_err("no such lease");
    kv.range(range("k")).await.expect("read");
    kv.range(range("")).await.expect_err("no key");
    assert_eq!(post(server.address, "/v3/kv/put", &json!({"key": b64("k")})).status, 200);
    assert_eq!(post(server.address, "/v3/kv/put", &json!({"key": b64("k"), "lease": 7})).status, 404);
    assert_eq!(post(server.address, "/v3/kv/range", &json!({"key": b64("k")})).status, 200);
    assert_eq!(post(server.address, "/v3/kv/range", &json!({"key": "%"})).status, 400);
    assert_eq!(post(server.address, "/v3/cluster/member/remove", &json!({})).status, 501);
    for (method, code) in [("Put", "NotFound"), ("Range", "InvalidArgument")] {
        assert_eq!(counted(&server, "KV", method, "unary", "OK"), (4.0, 2.0), "{method}");
        assert_eq!(counted(&server, "KV", method, "unary", code), (4.0, 2.0), "{method}");
    }
    assert_eq!(counted(&server, "Cluster", "MemberRemove", "unary", "Unimplemented"), (1.0, 1.0));
    let of_put = "grpc_service=\"etcdserverpb.KV\",grpc_method=\"Put\",grpc_type=\"unary\"";
    assert_eq!(server.metric(&format!("grpc_server_handling_seconds_count{{{of_put}}}")), 4.0);
    assert_eq!(server.metric(&format!("grpc_server_handling_seconds_bucket{{{of_put},le=\"+Inf\"}}")), 4.0);
    let seconds = server.metric(&format!("grpc_server_handling_seconds_sum{{{of_put}}}"));
    assert!(seconds > 0.0 && seconds < 4.0 * 10.0, "{seconds}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_go_on_are_counted_when_they_end() {
    let server = server();
    let channel = connect(&server).await;
    let create = WatchCreateRequest { key: "k".into(), ..WatchCreateRequest::default() };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let requests = tokio_stream::once(create);
    let mut over_grpc = WatchClient::new(channel.clone()).watch(requests).await.expect("opens").into_inner();
    over_grpc.message().await.expect("created");
    let over_gateway = Watch::open(server.address, "k", "", 0);
    let of_watch = |code| counted(&server, "Watch", "Watch", "bidi_stream", code);
    assert_eq!(of_watch("OK"), (2.0, 0.0));
    drop((over_grpc, over_gateway));
    until("both have ended", || server.metric("confcast_watch_streams") == 0.0);
    until("it is counted", || {
        let text = support::http::get(server.admin, "/metrics").text();
        text.contains("grpc_method=\"Watch\",grpc_type=\"bidi_stream\",grpc_code=\"Canceled\"} 2")
    });
    MaintenanceClient::new(channel.clone()).snapshot(SnapshotRequest {}).await.expect_err("not served");
    assert_eq!(counted(&server, "Maintenance", "Snapshot", "server_stream", "Unimplemented"), (1.0, 1.0));
    // The end of the last answer is the end of the call.
    let renewed = tokio_stream::once(LeaseKeepAliveRequest { id: 7 });
    let mut renewed = LeaseClient::new(channel).lease_keep_alive(renewed).await.expect("begins").into_inner();
    while renewed.message().await.expect("comes").is_some() {}
    assert_eq!(counted(&server, "Lease", "LeaseKeepAlive", "bidi_stream", "OK"), (1.0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_counted_by_the_protocol_of_their_connection() {
    const LENGTH: usize = 1_000_000;
    let server = server();
    let large = |name: &str| server.metric(name) >= 1e6;
    let both = ["confcast_received_bytes_total", "confcast_sent_bytes_total"];
    let of = |protocol: &str| both.map(|name| format!("{name}{{protocol=\"{protocol}\"}}"));
    let value = b64(vec![b'x'; LENGTH]);
    let put = post(server.address, "/v3/kv/put", &json!({"key": b64("k"), "value": value}));
    let revision = put.json()["header"]["revision"].as_str().expect("a number").parse().expect("a number");
    assert_eq!(of("http1").map(|name| large(&name)), [true, false]);
    // A watch has its connection for itself.
    Watch::open(server.address, "k", "", revision).next();
    assert_eq!(of("http1").map(|name| large(&name)), [true, true]);
    assert_eq!(of("http2").map(|name| large(&name)), [false, false]);
    let mut kv = KvClient::new(connect(&server).await);
    let put = PutRequest { key: "k".into(), value: vec![b'x'; LENGTH].into(), ..PutRequest::default() };
    kv.put(put).await.expect("put");
    let names = ["etcd_network_client_grpc_received_bytes_total", "etcd_network_client_grpc_sent_bytes_total"];
    assert_eq!(names.map(large), [true, false]);
    kv.range(RangeRequest { key: "k".into(), ..RangeRequest::default() }).await.expect("read");
    assert_eq!(names.map(large), [true, true]);
    assert_eq!(of("http2").map(|name| large(&name)), [true, true]);
}
