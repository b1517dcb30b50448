use serde_json::{Value, json};

use super::typed;
use crate::apisix::Kind;
use crate::testing::mesh;
use crate::translate::{Options, Report, translate_all};

fn state(kind: &str, mut fields: Value) -> Value {
    fields["@type"] = json!(format!("type.googleapis.com/envoy.extensions.http.stateful_session.{kind}"));
    json!({"session_state": {"name": "s", "typed_config": fields}})
}

fn by_cookie(name: &str) -> Value {
    state("cookie.v3.CookieBasedSessionState", json!({"cookie": {"name": name, "path": "/", "ttl": "60s"}}))
}

fn by_header(name: &str) -> Value {
    state("header.v3.HeaderBasedSessionState", json!({"name": name}))
}

fn of_route(fields: Value) -> Value {
    typed("stateful_session.v3.StatefulSessionPerRoute", fields)
}

/// The upstream to which a route with this configuration of its own goes, behind a filter, and the report.
fn upstream(filter: Value, own: Option<Value>, cluster: &Value) -> (Value, Report) {
    let own = own.map(|own| json!({"f": own})).unwrap_or_default();
    let routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": "c", "hash_policy": [
        {"header": {"header_name": "x-user"}}]}, "typed_per_filter_config": own}]);
    let hosts = json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]});
    let filters = json!([{"name": "f", "typed_config": typed("stateful_session.v3.StatefulSession", filter)}]);
    let listener = mesh::listener_with("l", 80, json!({"route_config": hosts, "http_filters": filters}));
    let mut fields = json!({"name": "c", "type": "STATIC"});
    fields.as_object_mut().expect("an object").extend(cluster.as_object().expect("an object").clone());
    let cluster = mesh::resource(crate::envoy::ResourceType::Cluster, fields);
    let translation = translate_all(vec![listener, cluster], Options::default());
    let of = |kind: Kind| {
        let objects = translation.objects.iter().filter(move |object| object.key.kind == kind);
        objects.map(|object| serde_json::from_slice::<Value>(&object.value).expect("JSON")).collect::<Vec<_>>()
    };
    let id = of(Kind::Route)[0]["upstream_id"].clone();
    let upstream = of(Kind::Upstream).into_iter().find(|upstream| upstream["id"] == id);
    (upstream.expect("the route's upstream"), translation.report)
}

#[test]
fn requests_of_a_session_are_hashed_by_what_they_bring() {
    let by = |filter: Value, own: Option<Value>| {
        let (upstream, _) = upstream(filter, own, &json!({}));
        json!([upstream["type"], upstream["hash_on"], upstream["key"]])
    };
    let (cookie, plain) = (json!(["chash", "cookie", "session"]), json!(["roundrobin", null, null]));
    assert_eq!(by(by_cookie("session"), None), cookie);
    assert_eq!(by(by_header("X-Session"), None), json!(["chash", "header", "x-session"]));
    assert_eq!(by(json!({}), None), plain);
    // Routes say otherwise.
    assert_eq!(by(by_cookie("session"), Some(of_route(json!({"disabled": true})))), plain);
    let other = of_route(json!({"stateful_session": by_cookie("session")}));
    assert_eq!(by(by_header("x"), Some(other)), cookie);
    assert_eq!(by(by_cookie("session"), Some(of_route(json!({"stateful_session": {}})))), plain);
    // It goes before a hash that the cluster's policy asks for.
    let (hashed, _) = upstream(by_cookie("session"), None, &json!({"lb_policy": "RING_HASH"}));
    assert_eq!(hashed["hash_on"], "cookie");
    let (hashed, _) = upstream(json!({}), None, &json!({"lb_policy": "RING_HASH"}));
    assert_eq!(hashed["key"], "x-user");
}

#[test]
fn what_is_different_of_a_session_is_said() {
    let said = |filter: Value, field: &str| {
        let (_, report) = upstream(filter, None, &json!({}));
        report.entries.iter().any(|entry| entry.field == field)
    };
    assert!(said(by_cookie("s"), "stateful_session"));
    assert!(!said(by_cookie("s"), "stateful_session.strict"));
    let mut strict = by_cookie("s");
    strict["strict"] = json!(true);
    assert!(said(strict, "stateful_session.strict"));
    let path = state("cookie.v3.CookieBasedSessionState", json!({"cookie": {"name": "s", "path": "/app"}}));
    assert!(said(path, "stateful_session.cookie.path"));
    for other in [by_cookie("a.b"), state("envelope.v3.EnvelopeSessionState", json!({"header": {"name": "x"}}))] {
        let (upstream, report) = upstream(other.clone(), None, &json!({}));
        assert_eq!(upstream["type"], "roundrobin", "{other}");
        assert!(report.entries.iter().any(|entry| entry.effect.contains("any backend")), "{report:?}");
    }
}
