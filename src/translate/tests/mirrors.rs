//! Copies of requests.

use serde_json::{Value, json};

use super::{mesh, translate};
use crate::envoy::{Resource, ResourceChange};
use crate::translate::{Options, Translator};

fn mirroring(policies: &Value) -> Resource {
    let action = json!({"cluster": "c", "request_mirror_policies": policies});
    mesh::routes("rc", &json!([{"match": {"prefix": "/"}, "route": action}]))
}

#[test]
fn copies_go_to_one_backend_of_the_mirror() {
    let half = json!({"default_value": {"numerator": 50}});
    let policies = json!([{"cluster": "m", "runtime_fraction": half}, {"cluster": "n"}]);
    let (routes, _, report) = translate(vec![mesh::static_cluster("m", &[8001, 8002]), mirroring(&policies)]);
    assert_eq!(routes[0]["plugins"]["proxy-mirror"], json!({"host": "http://127.0.0.1:8001", "sample_ratio": 0.5}));
    let said: Vec<_> = report.entries.iter().filter(|entry| entry.field == "request_mirror_policies").collect();
    assert_eq!(said.len(), 2, "one address, and one mirror: {report:?}");
}

#[test]
fn without_a_backend_no_copies_are_sent() {
    for policies in [
        json!([{"cluster": "gone"}]),
        json!([{"cluster": "m", "runtime_fraction": {"default_value": {"numerator": 0}}}]),
        json!([{"cluster_header": "x-mirror"}]),
    ] {
        let (routes, ..) = translate(vec![mesh::static_cluster("m", &[8001]), mirroring(&policies)]);
        assert_eq!(routes[0]["plugins"], Value::Null, "{policies}");
    }
    let http2 = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}}}});
    let endpoints = json!({"cluster_name": "g", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
        "socket_address": {"address": "10.0.0.1", "port_value": 1}}}}]}]});
    let grpc = mesh::resource(
        crate::envoy::ResourceType::Cluster,
        json!({"name": "g", "type": "STATIC", "load_assignment": endpoints, "typed_extension_protocol_options": http2}),
    );
    let (routes, _, report) = translate(vec![grpc, mirroring(&json!([{"cluster": "g"}]))]);
    assert_eq!(routes[0]["plugins"], Value::Null);
    assert!(report.entries.iter().any(|entry| entry.reason.contains("HTTP/1.1")), "{report:?}");
}

#[test]
fn only_another_address_makes_routes_anew() {
    let mut translator = Translator::new(Options::default());
    let mut set = |resource| {
        translator.apply(ResourceChange::Set(resource));
        let changes = translator.flush();
        changes.puts.iter().filter(|object| object.key.kind == crate::apisix::Kind::Route).count()
    };
    set(mesh::eds_cluster("m"));
    set(mirroring(&json!([{"cluster": "m"}])));
    assert_eq!(set(mesh::endpoints("m", &[1])), 1, "there is an address now");
    assert_eq!(set(mesh::endpoints("m", &[1, 2])), 0);
    assert_eq!(set(mesh::endpoints("m", &[2])), 1);
    assert_eq!(set(mesh::endpoints("m", &[])), 1);
}
