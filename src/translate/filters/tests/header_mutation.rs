use serde_json::{Value, json};

use super::{behind, plugins, typed};
use crate::apisix::Kind;
use crate::testing::mesh;
use crate::translate::{Options, Report, translate_all};

fn put(name: &str, value: &str, action: &str) -> Value {
    json!({"append": {"header": {"key": name, "value": value}, "append_action": action}})
}

fn set(name: &str, value: &str) -> Value {
    put(name, value, "OVERWRITE_IF_EXISTS_OR_ADD")
}

fn filter(request: Value, response: Value, inner_last: bool) -> Value {
    let mutations = json!({"request_mutations": request, "response_mutations": response});
    let last = json!(inner_last);
    typed(
        "header_mutation.v3.HeaderMutation",
        json!({"mutations": mutations, "most_specific_header_mutations_wins": last}),
    )
}

fn of_route(request: Value) -> Value {
    typed("header_mutation.v3.HeaderMutationPerRoute", json!({"mutations": {"request_mutations": request}}))
}

/// The plugins of the one route, whose levels of configuration have these mutations and whose own headers are these,
/// behind filters; and the report.
fn served(filters: &[Value], levels: [Value; 3], route: &Value) -> (Value, Report) {
    let own = |config: &Value| if config.is_null() { json!({}) } else { json!({"f0": config}) };
    let [config, host, inner] = levels.each_ref().map(own);
    let mut fields = json!({"match": {"prefix": "/"}, "route": {"cluster": "c"}, "typed_per_filter_config": inner});
    fields.as_object_mut().expect("an object").extend(route.as_object().expect("an object").clone());
    let hosts = json!([{"name": "v", "domains": ["*"], "routes": [fields], "typed_per_filter_config": host}]);
    let routes = json!({"virtual_hosts": hosts, "typed_per_filter_config": config});
    let filters = filters.iter().enumerate();
    let filters: Vec<_> =
        filters.map(|(at, config)| json!({"name": format!("f{at}"), "typed_config": config})).collect();
    let listener = mesh::listener_with("l", 80, json!({"route_config": routes, "http_filters": filters}));
    let translation = translate_all(vec![listener], Options::default());
    let mut routes = translation.objects.iter().filter(|object| object.key.kind == Kind::Route);
    let route: Value = serde_json::from_slice(&routes.next().expect("a route").value).expect("JSON");
    (route["plugins"].clone(), translation.report)
}

#[test]
fn filters_change_headers_before_routes_do_and_responses_behind_them() {
    let both = |value: &str| json!([set("x", value), set("y", value), {"remove": "z"}]);
    let none = || [Value::Null, Value::Null, Value::Null];
    let option = |name: &str| json!([{"header": {"key": name, "value": "route"}, "append_action": 2}]);
    let route = json!({"request_headers_to_add": option("y"), "response_headers_to_add": option("y")});
    let (first, second) = (filter(both("1"), both("1"), false), filter(json!([set("x", "2")]), json!([]), false));
    let (plugins, report) = served(&[first, second], none(), &route);
    let request = json!({"set": {"x": "2", "y": "route"}, "remove": ["z"]});
    assert_eq!(plugins["proxy-rewrite"]["headers"], request);
    assert_eq!(plugins["response-rewrite"]["headers"], json!({"set": {"x": "1", "y": "1"}, "remove": ["z"]}));
    assert!(report.entries.iter().all(|entry| !entry.field.contains("header")), "{report:?}");
    // Responses go through them the other way.
    let pair = ["1", "2"].map(|value| filter(json!([]), json!([set("x", value)]), false));
    assert_eq!(served(&pair, none(), &json!({})).0["response-rewrite"]["headers"], json!({"set": {"x": "1"}}));
}

#[test]
fn all_levels_of_a_route_count_in_the_order_that_the_filter_says() {
    let level = |name: &str| of_route(json!([set("x", name), put("all", name, "APPEND_IF_EXISTS_OR_ADD")]));
    let levels = || [level("config"), level("host"), level("route")];
    for (inner_last, x, all) in
        [(false, "config", "filter,route,host,config"), (true, "route", "filter,config,host,route")]
    {
        let filter = filter(json!([set("x", "filter"), set("all", "filter")]), json!([]), inner_last);
        let headers = json!({"set": {"x": x, "all": all}});
        assert_eq!(served(&[filter], levels(), &json!({})).0["proxy-rewrite"]["headers"], headers, "{inner_last}");
    }
    let switch = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true});
    let filter = filter(json!([set("x", "filter")]), json!([]), false);
    let (plugins, _) = served(&[filter], [level("config"), Value::Null, switch], &json!({}));
    assert_eq!(plugins, Value::Null, "it is off");
}

#[test]
fn what_has_no_equal_is_said() {
    let said = |mutations: Value, field: &str| {
        let config = typed("header_mutation.v3.HeaderMutation", json!({"mutations": mutations}));
        let (routes, report) = behind(&config, None, &json!({}));
        assert_eq!(routes[0]["plugins"], Value::Null, "{mutations}");
        assert!(report.entries.iter().any(|entry| entry.field.contains(field)), "{field}: {report:?}");
    };
    said(json!({"query_parameter_mutations": [{"remove": "q"}]}), "query_parameter");
    said(json!({"response_trailers_mutations": [{"remove": "t"}]}), "trailers");
    said(json!({"request_mutations": [{"remove_on_match": {"key_matcher": {"prefix": "x-"}}}]}), "request_mutations");
    said(json!({"response_mutations": [set("x", "%START_TIME%")]}), "response_mutations");
    said(json!({"request_mutations": [set("host", "h")]}), "request_mutations");
    assert_eq!(plugins(filter(json!([]), json!([]), false), None), Value::Null);
}

#[test]
fn a_filter_that_protects_by_a_changed_header_is_closed() {
    let rbac = |principal: Value| {
        let policies = json!({"p": {"permissions": [{"any": true}], "principals": [principal]}});
        typed("rbac.v3.RBAC", json!({"rules": {"action": "ALLOW", "policies": policies}}))
    };
    let by_header = || rbac(json!({"header": {"name": "x-admin", "string_match": {"exact": "1"}}}));
    let changes = |mutation: Value| filter(json!([mutation]), json!([]), false);
    let none = || [Value::Null, Value::Null, Value::Null];
    let is_closed = |filters: &[Value]| {
        let (plugins, _) = served(filters, none(), &json!({}));
        let abort = plugins["fault-injection"]["abort"].clone();
        let body = abort["body"].as_str().unwrap_or_default();
        // Not the route beside it, for those who may not pass.
        body.contains("cannot be expressed")
    };
    for mutation in [
        json!({"remove": "X-Admin"}),
        set("x-admin", "0"),
        set("x-admin", "%START_TIME%"),
        json!({"remove_on_match": {"key_matcher": {"prefix": "x-"}}}),
    ] {
        assert!(is_closed(&[changes(mutation.clone()), by_header()]), "{mutation}");
        assert!(!is_closed(&[by_header(), changes(mutation.clone())]), "behind it, {mutation}");
    }
    assert!(!is_closed(&[changes(json!({"remove": "x-other"})), by_header()]));
    let by_path = || rbac(json!({"url_path": {"path": {"prefix": "/admin"}}}));
    assert!(!is_closed(&[changes(json!({"remove": "x-admin"})), by_path()]));
    assert!(is_closed(&[changes(set(":path", "/admin")), by_path()]));
}
