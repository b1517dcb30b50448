//! Servers that are asked whether a request may pass.

use serde_json::{Value, json};

use super::typed;
use crate::apisix::Kind;
use crate::testing::mesh;
use crate::translate::{Options, Servers, translate_all};

fn filter(fields: Value, service: Value) -> Value {
    let mut http = json!({"path_prefix": "/check",
        "server_uri": {"uri": "http://authz.test:9000/ignored", "cluster": "authz", "timeout": "0.5s"}});
    http.as_object_mut().expect("an object").extend(service.as_object().expect("an object").clone());
    let mut config = typed("ext_authz.v3.ExtAuthz", json!({"http_service": http}));
    config.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    config
}

/// The plugins of the only route behind filters.
fn behind(filters: &[Value], own: &Value, route: &Value, servers: Servers) -> Value {
    let mut route = route.clone();
    route["match"] = json!({"prefix": "/"});
    route["typed_per_filter_config"] = own.clone();
    let hosts = json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]});
    let filters: Vec<_> = filters
        .iter()
        .enumerate()
        .map(|(number, filter)| json!({"name": format!("f{number}"), "typed_config": filter}))
        .collect();
    let listener = mesh::listener_with("l", 80, json!({"route_config": hosts, "http_filters": filters}));
    let translation = translate_all(vec![listener], Options { servers, ..Options::default() });
    let route = translation.objects.iter().find(|object| object.key.kind == Kind::Route).expect("a route");
    serde_json::from_slice::<Value>(&route.value).expect("JSON")["plugins"].clone()
}

fn to_cluster() -> Value {
    json!({"route": {"cluster": "c"}})
}

fn plugins(filter: Value) -> Value {
    behind(&[filter], &json!({}), &to_cluster(), Servers::ForwardAuth)
}

fn is_closed(plugins: &Value) -> bool {
    plugins["fault-injection"]["abort"]["http_status"] == 403
}

#[test]
fn a_server_is_asked_as_the_filter_says() {
    let names =
        |names: &[&str]| json!({"patterns": names.iter().map(|name| json!({"exact": name})).collect::<Vec<_>>()});
    let found = plugins(filter(
        json!({"allowed_headers": names(&["Cookie"]), "status_on_error": {"code": 503}, "failure_mode_allow": true}),
        json!({
            "authorization_request": {"headers_to_add": [{"key": "x-from", "value": "gate$way"}]},
            "authorization_response": {
                "allowed_upstream_headers": names(&["X-User"]), "allowed_client_headers": names(&["Location"])},
        }),
    ));
    assert_eq!(
        found["forward-auth"],
        json!({"uri": "http://authz.test:9000/check", "request_method": "GET", "timeout": 500,
            "request_headers": ["authorization", "cookie"], "extra_headers": {"x-from": "gate${nil ?? $}way"},
            "upstream_headers": ["x-user"], "client_headers": ["location"],
            "status_on_error": 503, "allow_degradation": false, "ssl_verify": true})
    );
    let fixed = plugins(filter(json!({}), json!({"path_override": "/auth"})));
    assert_eq!(fixed["forward-auth"]["uri"], "http://authz.test:9000/auth");
}

#[test]
fn what_a_server_cannot_be_asked_is_closed() {
    let grpc = typed("ext_authz.v3.ExtAuthz", json!({"grpc_service": {"envoy_grpc": {"cluster_name": "a"}}}));
    let half = json!({"default_value": {"numerator": 50}, "runtime_key": "k"});
    let pattern = json!({"patterns": [{"prefix": "x-"}]});
    for closed in [
        grpc,
        typed("ext_authz.v3.ExtAuthz", json!({})),
        filter(json!({"with_request_body": {"max_request_bytes": 10}}), json!({})),
        filter(json!({"filter_enabled": half}), json!({})),
        filter(json!({"filter_enabled_metadata": {"filter": "f"}}), json!({})),
        filter(json!({"allowed_headers": pattern}), json!({})),
        filter(json!({"disallowed_headers": pattern}), json!({})),
        filter(json!({}), json!({"server_uri": {"uri": "authz.test", "cluster": "a", "timeout": "1s"}})),
    ] {
        assert!(is_closed(&plugins(closed.clone())), "{closed}");
    }
    let good = || filter(json!({}), json!({}));
    assert!(is_closed(&behind(&[good()], &json!({}), &to_cluster(), Servers::Closed)), "it is to be asked for");
    assert!(is_closed(&behind(&[good(), good()], &json!({}), &to_cluster(), Servers::ForwardAuth)));
    let answer = json!({"direct_response": {"status": 200}});
    assert!(is_closed(&behind(&[good()], &json!({}), &answer, Servers::ForwardAuth)));
}

#[test]
fn routes_say_whether_the_server_is_asked() {
    let of = |own: Value| {
        let own = json!({"f0": typed("ext_authz.v3.ExtAuthzPerRoute", own)});
        behind(&[filter(json!({}), json!({}))], &own, &to_cluster(), Servers::ForwardAuth)
    };
    assert_eq!(of(json!({"disabled": true})), Value::Null);
    assert!(of(json!({"check_settings": {}}))["forward-auth"].is_object());
    assert!(is_closed(&of(json!({"check_settings": {"with_request_body": {"max_request_bytes": 10}}}))));
    assert!(is_closed(&of(json!({"check_settings": {"http_service": {"path_prefix": "/other"}}}))));
}
