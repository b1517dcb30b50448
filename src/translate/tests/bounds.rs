//! Bounds of clusters, in the routes to them.

use serde_json::{Value, json};

use super::{mesh, translate};
use crate::envoy::{Resource, ResourceChange, ResourceType};
use crate::translate::{Options, Translator};

fn cluster(name: &str, thresholds: &Value, http2: bool) -> Resource {
    let mut fields = json!({"name": name, "type": "STATIC", "circuit_breakers": {"thresholds": [thresholds]}});
    if http2 {
        fields["http2_protocol_options"] = json!({});
    }
    mesh::resource(ResourceType::Cluster, fields)
}

fn dropping(name: &str, shares: &[Value]) -> Resource {
    let drops = |share: &Value| json!({"category": "some", "drop_percentage": share});
    let policy = json!({"drop_overloads": shares.iter().map(drops).collect::<Vec<_>>()});
    mesh::resource(ResourceType::Endpoints, json!({"cluster_name": name, "policy": policy}))
}

fn to(action: &Value) -> Resource {
    mesh::routes("rc", &json!([{"match": {"prefix": "/"}, "route": action}]))
}

/// The plugins of the route to a cluster with these thresholds, and how many entries the report has.
fn bounded(thresholds: &Value, http2: bool) -> (Value, usize) {
    let (routes, _, report) = translate(vec![cluster("c", thresholds, http2), to(&json!({"cluster": "c"}))]);
    let said = report.entries.iter().filter(|entry| entry.field.starts_with("circuit_breakers")).count();
    (routes[0]["plugins"].clone(), said)
}

#[test]
fn routes_have_the_requests_at_once_of_their_cluster() {
    let at_once = |plugins: &Value| plugins["limit-conn"]["conn"].clone();
    for (thresholds, http1, http2) in [
        (json!({"max_requests": 10}), 10, 10),
        (json!({"max_connections": 3, "max_pending_requests": 4}), 7, 1024),
        (json!({"max_connections": 3}), 1024, 1024),
        (json!({"max_connections": 3, "max_pending_requests": 4, "max_requests": 5}), 5, 5),
    ] {
        let (plugins, said) = bounded(&thresholds, false);
        assert_eq!((at_once(&plugins), said), (json!(http1), 1), "{thresholds}");
        assert_eq!(at_once(&bounded(&thresholds, true).0), json!(http2), "{thresholds}");
    }
    for (none, said) in
        [(json!({"max_requests": u32::MAX, "max_connections": u32::MAX}), 0), (json!({"max_retries": 3}), 1)]
    {
        assert_eq!(bounded(&none, false), (Value::Null, said), "{none}");
    }
    let (plugins, _) = bounded(&json!({"max_requests": 0}), false);
    let abort = json!({"http_status": 503, "body": "drop overload", "percentage": 100});
    assert_eq!(plugins, json!({"fault-injection": {"abort": abort}}), "none at all");
    let high = bounded(&json!({"max_requests": 1, "priority": "HIGH"}), false);
    assert_eq!(high, (Value::Null, 1), "requests of another priority");
}

#[test]
fn requests_that_are_split_have_the_bounds_of_all_clusters() {
    let split = to(&json!({"weighted_clusters": {"clusters": [
        {"name": "a", "weight": 1}, {"name": "b", "weight": 1}]}}));
    let (a, b) = (cluster("a", &json!({"max_requests": 10}), true), cluster("b", &json!({"max_requests": 5}), true));
    let (routes, ..) = translate(vec![a.clone(), b, split.clone()]);
    assert_eq!(routes[0]["plugins"]["limit-conn"]["conn"], 15);
    let (routes, ..) = translate(vec![a, mesh::static_cluster("b", &[1]), split]);
    assert_eq!(routes[0]["plugins"]["limit-conn"], Value::Null, "one of them has no bound");
}

#[test]
fn a_share_of_requests_is_dropped() {
    let dropped = |shares: &[Value], action: &Value| {
        let (routes, _, report) = translate(vec![mesh::eds_cluster("c"), dropping("c", shares), to(action)]);
        let said = report.entries.iter().filter(|entry| entry.field == "policy.drop_overloads").count();
        (routes[0]["plugins"]["fault-injection"]["abort"]["percentage"].clone(), said)
    };
    let action = json!({"cluster": "c"});
    assert_eq!(dropped(&[json!({"numerator": 20})], &action), (json!(20), 0));
    assert_eq!(dropped(&[json!({"numerator": 50}), json!({"numerator": 50})], &action), (json!(75), 0));
    let fine = json!({"numerator": 15_500, "denominator": "MILLION"});
    assert_eq!(dropped(&[fine], &action), (json!(2), 1));
    assert_eq!(dropped(&[json!({"numerator": 0})], &action), (Value::Null, 0));
    let split = json!({"weighted_clusters": {"clusters": [{"name": "c", "weight": 1}, {"name": "d", "weight": 1}]}});
    assert_eq!(dropped(&[json!({"numerator": 20})], &split), (Value::Null, 1));
}

#[test]
fn only_other_bounds_make_routes_anew() {
    let mut translator = Translator::new(Options::default());
    let mut set = |resource| {
        translator.apply(ResourceChange::Set(resource));
        let changes = translator.flush();
        changes.puts.iter().filter(|object| object.key.kind == crate::apisix::Kind::Route).count()
    };
    set(mesh::eds_cluster("c"));
    assert_eq!(set(to(&json!({"cluster": "c"}))), 1);
    assert_eq!(set(mesh::endpoints("c", &[1])), 0);
    assert_eq!(set(dropping("c", &[json!({"numerator": 20})])), 1);
    assert_eq!(set(dropping("c", &[json!({"numerator": 20})])), 0);
    assert_eq!(set(mesh::endpoints("c", &[1])), 1, "nothing is dropped any more");
}
