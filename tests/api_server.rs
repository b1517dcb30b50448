//! The port as a whole: reads after writes over any connection, reflection, health, probes and metrics.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use confcast::pb::etcdserverpb::kv_client::KvClient;
use confcast::pb::etcdserverpb::{PutRequest, RangeRequest};
use serde_json::json;
use support::Confcast;
use support::http::{Connection, b64, from_b64, get};
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

fn server() -> Confcast {
    Confcast::serve(&["--source", "none"]).ready()
}

async fn channel(confcast: &Confcast) -> Channel {
    Channel::from_shared(format!("http://{}", confcast.address)).expect("a URL").connect().await.expect("it runs")
}

/// What was acknowledged on one connection is read on another, of either protocol.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_sees_every_acknowledged_write() {
    let confcast = server();
    let (mut writer, mut reader) = (KvClient::new(channel(&confcast).await), KvClient::new(channel(&confcast).await));
    let (mut gateway, mut other) = (Connection::open(confcast.address), Connection::open(confcast.address));
    let mut read_over_http = |expected: &str| {
        other.post("/v3/kv/range", &json!({"key": b64("k")}).to_string());
        assert_eq!(from_b64(&other.answer().json()["kvs"][0]["value"]), expected.as_bytes());
    };
    for round in 0..300 {
        let value = format!("grpc {round}");
        let put = PutRequest { key: "k".into(), value: value.clone().into(), ..PutRequest::default() };
        writer.put(put).await.expect("put");
        read_over_http(&value);
        let value = format!("http {round}");
        gateway.post("/v3/kv/put", &json!({"key": b64("k"), "value": b64(&value)}).to_string());
        assert_eq!(gateway.answer().status, 200);
        for serializable in [false, true] {
            let request = RangeRequest { key: "k".into(), serializable, ..RangeRequest::default() };
            assert_eq!(reader.range(request).await.expect("read").into_inner().kvs[0].value, value);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_learn_what_there_is() {
    let confcast = server();
    let channel = channel(&confcast).await;
    let ask = |message_request| ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
    let requests = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("v3lockpb.Lock".into())),
    ];
    let mut client = ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::iter(requests)).await.expect("a stream").into_inner();
    let mut next = async || answers.next().await.expect("an answer").expect("no error").message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = next().await else { panic!("no list") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in ["etcdserverpb.KV", "etcdserverpb.Watch", "etcdserverpb.Auth", "v3electionpb.Election"] {
        assert!(names.iter().any(|other| other == name), "{name} in {names:?}");
    }
    assert!(matches!(next().await, Some(MessageResponse::FileDescriptorResponse(_))));

    let mut health = HealthClient::new(channel);
    let whole = health.check(HealthCheckRequest { service: String::new() }).await.expect("an answer").into_inner();
    assert_eq!(whole.status, 1, "serving");
    let unknown = health.check(HealthCheckRequest { service: "unknown".into() }).await.expect_err("no such service");
    assert_eq!(unknown.code(), tonic::Code::NotFound);
}

#[test]
fn probes_and_metrics_are_on_the_port() {
    let confcast = server();
    let metrics = get(confcast.address, "/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("confcast_store_revision "), "{}", metrics.text());
    let waiting = Confcast::serve(&["--xds-server", "http://127.0.0.1:9", "--xds-node-id", "a"]);
    for (path, status, part) in [
        ("/livez", 200, "ok"),
        ("/readyz", 503, "[-]linearizable_read failed: waiting for the control plane"),
        ("/readyz/non_learner", 503, "[-]non_learner failed"),
        ("/readyz/nothing", 404, "404 page not found"),
        ("/health", 503, "\"health\":\"false\""),
        ("/version", 200, "\"etcdserver\":\"3.5."),
    ] {
        let answer = get(waiting.address, path);
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text().contains(part), "{path}: {}", answer.text());
    }
}
