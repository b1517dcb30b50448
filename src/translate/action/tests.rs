use serde_json::{Value, json};

use crate::apisix::Kind;
use crate::testing::mesh;
use crate::translate::{Options, Report, translate_all};

/// Translates one route to a hashing cluster: the route, the upstream that it uses, and the report.
fn forward(action: &Value) -> (Value, Value, Report) {
    let assignment = json!({"cluster_name": "c", "endpoints": [{"lb_endpoints": [
        {"endpoint": {"address": {"socket_address": {"address": "b.test", "port_value": 80}}}}]}]});
    let cluster = json!({"name": "c", "type": "STRICT_DNS", "lb_policy": "RING_HASH", "load_assignment": assignment});
    let cluster = mesh::resource(crate::envoy::ResourceType::Cluster, cluster);
    let routes = mesh::routes("rc", &json!([{"match": {"prefix": "/"}, "route": action}]));
    let translation = translate_all(vec![cluster, routes], Options::default());
    let of = |kind: Kind, id: Option<&str>| {
        let fits = |key: &crate::apisix::ObjectKey| key.kind == kind && id.is_none_or(|id| key.id == id);
        let found = translation.objects.iter().find(|object| fits(&object.key)).expect("there is one");
        serde_json::from_slice::<Value>(&found.value).expect("JSON")
    };
    let route = of(Kind::Route, None);
    let upstream = of(Kind::Upstream, route["upstream_id"].as_str());
    (route, upstream, translation.report)
}

#[test]
fn retries_and_times_of_a_route_are_those_of_an_upstream_of_its_own() {
    let (route, upstream, _) = forward(&json!({"cluster": "c", "timeout": "4s", "retry_policy": {
        "retry_on": "5xx,connect-failure", "num_retries": 3, "per_try_timeout": "0.5s"}}));
    assert_eq!((&upstream["retries"], &upstream["retry_timeout"]), (&json!(3), &json!(4.0)));
    assert_eq!(route["timeout"], json!({"connect": 0.5, "send": 0.5, "read": 0.5}));
    // No policy, or one for what APISIX does not look at: one try, as without it APISIX tries every node.
    for policy in [json!(null), json!({"retry_on": "retriable-status-codes"}), json!({"num_retries": 2})] {
        let (_, upstream, _) = forward(&json!({"cluster": "c", "retry_policy": policy}));
        assert_eq!((&upstream["retries"], &upstream["retry_timeout"]), (&json!(0), &Value::Null), "{policy}");
    }
    let (route, ..) = forward(&json!({"cluster": "c", "timeout": "0s", "idle_timeout": "7s"}));
    assert_eq!(route["timeout"]["read"], 7.0);
}

#[test]
fn hash_policies_choose_what_is_hashed() {
    let hashed = |policies: Value| {
        let (_, upstream, _) = forward(&json!({"cluster": "c", "hash_policy": policies}));
        (upstream["type"].clone(), upstream["hash_on"].clone(), upstream["key"].clone())
    };
    let is = |on: &str, key: &str| (json!("chash"), json!(on), json!(key));
    let header = json!({"header": {"header_name": "X-K"}});
    let source = json!({"connection_properties": {"source_ip": true}});
    assert_eq!(hashed(json!([header])), is("header", "X-K"));
    assert_eq!(hashed(json!([{"cookie": {"name": "s", "ttl": "0s"}}])), is("cookie", "s"));
    assert_eq!(hashed(json!([source])), is("vars", "remote_addr"));
    assert_eq!(hashed(json!([{"query_parameter": {"name": "q"}}])), is("vars", "arg_q"));
    assert_eq!(hashed(json!([header, source])), is("vars_combinations", "$http_x_k$remote_addr"));
    let terminal = json!({"header": {"header_name": "x-k"}, "terminal": true});
    assert_eq!(hashed(json!([terminal, source])), is("header", "x-k"));
    assert_eq!(hashed(json!([])).0, json!("roundrobin"), "Envoy chooses at random");
}

#[test]
fn hosts_are_rewritten() {
    let (route, upstream, _) = forward(&json!({"cluster": "c", "auto_host_rewrite": true}));
    assert_eq!((&upstream["pass_host"], &upstream["upstream_host"]), (&json!("rewrite"), &json!("b.test")));
    assert_eq!(route["plugins"], Value::Null);
    let clusters = json!([{"name": "c", "weight": 1, "host_rewrite_literal": "entry.test"}]);
    let (_, upstream, _) = forward(&json!({"weighted_clusters": {"clusters": clusters}}));
    assert_eq!(upstream["upstream_host"], "entry.test");
    let (_, _, report) = forward(&json!({"cluster": "c", "host_rewrite_header": "x-h"}));
    assert!(report.entries.iter().any(|entry| entry.field == "host_rewrite"), "{report:?}");
}
