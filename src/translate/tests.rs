//! Acceptance cases of earlier translators, with what we make of them, and cases of our own.

mod bounds;
mod clusters;
mod listeners;
mod mirrors;

use serde_json::{Value, json};

use super::*;
use crate::apisix::Kind;
use crate::envoy::ResourceType;
use crate::testing::mesh;

/// Translates resources. Objects as JSON, by kind, sorted by name.
fn translate(resources: Vec<Resource>) -> (Vec<Value>, Vec<Value>, Report) {
    let translation = translate_all(resources, Options::default());
    let of = |kind: Kind| {
        let mut objects: Vec<Value> = translation
            .objects
            .iter()
            .filter(|object| object.key.kind == kind)
            .map(|object| serde_json::from_slice(&object.value).expect("JSON"))
            .collect();
        objects.sort_by_key(|object| (object["name"].to_string(), -object["priority"].as_i64().unwrap_or(0)));
        objects
    };
    (of(Kind::Route), of(Kind::Upstream), translation.report)
}

/// Translates one route of a virtual host for any host.
fn route(route: &Value) -> (Vec<Value>, Report) {
    let (routes, _, report) = translate(vec![mesh::routes("rc", &json!([route]))]);
    (routes, report)
}

/// The conditions that a header matcher becomes.
fn header(matcher: &Value) -> Value {
    let (routes, _) = route(&json!({"match": {"prefix": "/", "headers": [matcher]}, "route": {"cluster": "c"}}));
    routes[0]["vars"].clone()
}

#[test]
fn r1_string_matchers_are_escaped_and_anchored() {
    let cases = [
        (json!({"exact": "a.b"}), json!(["http_x", "==", "a.b"])),
        (json!({"prefix": "a.b"}), json!(["http_x", "~~", "(*UTF)^a\\.b"])),
        (json!({"suffix": "a.b"}), json!(["http_x", "~~", "(*UTF)a\\.b\\z"])),
        (json!({"contains": "a.b"}), json!(["http_x", "~~", "(*UTF)a\\.b"])),
        (json!({"safe_regex": {"regex": "a.b|c"}}), json!(["http_x", "~~", "(*UTF)^(?:a.b|c)\\z"])),
        (json!({"exact": "A", "ignore_case": true}), json!(["http_x", "~*", "(*UTF)^A\\z"])),
    ];
    for (matcher, expected) in cases {
        assert_eq!(header(&json!({"name": "x", "string_match": matcher})), json!([expected]), "{matcher}");
    }
}

#[test]
fn r2_to_r5_headers() {
    let (routes, _) = route(&json!({"match": {"prefix": "/", "headers": [
        {"name": ":method", "string_match": {"exact": "POST"}}]}, "route": {"cluster": "c"}}));
    assert_eq!((&routes[0]["methods"], &routes[0]["vars"]), (&json!(["POST"]), &Value::Null));
    let contains = header(&json!({"name": ":method", "string_match": {"contains": "POST"}}));
    assert_eq!(contains, json!([["request_method", "~~", "(*UTF)POST"]]));
    let host = header(&json!({"name": ":authority", "string_match": {"exact": "a.b"}}));
    assert_eq!(host, json!([["http_host", "==", "a.b"]]));
    // Inverted, an absent header does not match.
    let inverted = header(&json!({"name": "Accept-Like", "invert_match": true, "string_match": {"prefix": "a"}}));
    assert_eq!(inverted, json!([["http_accept_like", "~=", null], ["http_accept_like", "!", "~~", "(*UTF)^a"]]));
    let empty = header(&json!({"name": "x", "treat_missing_header_as_empty": true, "string_match": {"exact": ""}}));
    assert_eq!(empty, json!([["OR", ["http_x", "==", null], ["http_x", "==", ""]]]));
    let range = header(&json!({"name": "x", "range_match": {"start": -5, "end": 16}}));
    assert_eq!(range, json!([["http_x", "~~", "(*UTF)^[+-]?[0-9]+\\z"], ["http_x", ">=", -5], ["http_x", "<", 16]]));
    assert_eq!(header(&json!({"name": "x", "present_match": true})), json!([["http_x", "~=", null]]));
    assert_eq!(
        header(&json!({"name": "x", "present_match": true, "invert_match": true})),
        json!([["http_x", "==", null]])
    );
}

#[test]
fn r6_query_parameters() {
    let query = |matcher: Value| {
        let found = json!({"prefix": "/", "query_parameters": [matcher]});
        route(&json!({"match": found, "route": {"cluster": "c"}})).0[0]["vars"].clone()
    };
    let first = r"^[^?#]*\?(?:(?!q(?:[=&#]|\z))[^&#]*&)*q";
    let is = |pattern: &str| json!([["real_request_uri", "~~", format!("{first}{pattern}")]]);
    assert_eq!(query(json!({"name": "q", "present_match": true})), is(r"(?:[=&#]|\z)"));
    assert_eq!(query(json!({"name": "q", "string_match": {"exact": "1"}})), is(r"(?:=(?:1))(?=[&#]|\z)"));
    let contains = query(json!({"name": "q", "string_match": {"contains": "a", "ignore_case": true}}));
    assert_eq!(contains, is(r"(?:=[^&#]*(?i:a)[^&#]*)(?=[&#]|\z)"));
    let empty = query(json!({"name": "q", "string_match": {"exact": ""}}));
    assert_eq!(empty, is(r"(?:=(?:))?(?=[&#]|\z)"));
}

#[test]
fn r7_paths() {
    let uris = |found: Value| route(&json!({"match": found, "route": {"cluster": "c"}})).0[0]["uris"].clone();
    assert_eq!(uris(json!({"prefix": "/foo"})), json!(["/foo*"]));
    assert_eq!(uris(json!({"path": "/foo"})), json!(["/foo"]));
    assert_eq!(uris(json!({"path_separated_prefix": "/foo"})), json!(["/foo", "/foo/*"]));
    let (routes, _) = route(&json!({"match": {"safe_regex": {"regex": "/a.*"}}, "route": {"cluster": "c"}}));
    assert_eq!(
        (&routes[0]["uris"], &routes[0]["vars"]),
        (&json!(["/*"]), &json!([["uri", "~~", "(*UTF)^(?:/a.*)\\z"]]))
    );
    // A star would be a wildcard.
    let (routes, _) = route(&json!({"match": {"path": "/a*b"}, "route": {"cluster": "c"}}));
    assert_eq!((&routes[0]["uris"], &routes[0]["vars"]), (&json!(["/*"]), &json!([["uri", "==", "/a*b"]])));
}

#[test]
fn r8_actions() {
    let (routes, report) = route(&json!({"match": {"prefix": "/"}, "route": {"cluster_header": "x"}}));
    assert_eq!(routes[0]["plugins"]["fault-injection"]["abort"]["http_status"], 503);
    assert_eq!(report.entries[0].field, "cluster_header");
    assert_eq!(report.entries[0].fidelity, Fidelity::NotExpressible);
    let redirect =
        json!({"host_redirect": "h", "path_redirect": "/p", "https_redirect": true, "response_code": "SEE_OTHER"});
    let (routes, _) = route(&json!({"match": {"prefix": "/"}, "redirect": redirect}));
    let expected = json!({"uri": "https://h/p", "ret_code": 303, "append_query_string": true});
    assert_eq!(routes[0]["plugins"]["redirect"], expected);
    let (routes, _) = route(
        &json!({"match": {"prefix": "/"}, "direct_response": {"status": 418, "body": {"inline_string": "$a 5$"}}}),
    );
    let mocking = &routes[0]["plugins"]["mocking"];
    assert_eq!((&mocking["response_status"], &mocking["response_example"]), (&json!(418), &json!("${nil ?? $}a 5$")));
}

#[test]
fn r9_r11_r12_hosts_names_and_ids() {
    let hosts = |domains: Value| {
        let routes = json!([
            {"name": "same", "match": {"path": "/a"}, "route": {"cluster": "c"}},
            {"name": "same", "match": {"path": "/b"}, "route": {"cluster": "c"}},
            {"name": "same", "match": {"path": "/b", "headers": [{"name": "x"}]}, "route": {"cluster": "d"}},
        ]);
        let hosts = json!([{"name": "v", "domains": domains, "routes": routes}]);
        mesh::resource(ResourceType::Route, json!({"name": "rc", "virtual_hosts": hosts}))
    };
    let (routes, ..) = translate(vec![hosts(json!(["b.test:80", "a.test", "a.test:80", "b.test"]))]);
    // The last can never be reached behind the second.
    assert_eq!(routes.len(), 2);
    for route in &routes {
        assert_eq!(route["hosts"], json!(["a.test", "b.test"]));
        assert_eq!(
            route["vars"],
            json!([["OR", ["http_host", "!", "~~", ":[0-9]+\\z"], ["http_host", "~~", ":(?:80)\\z"]]])
        );
        assert_eq!(route["name"], "rc/v/same");
        assert_eq!(route["id"].as_str().map(str::len), Some(32));
    }
    assert_ne!(routes[0]["id"], routes[1]["id"]);
    let (permuted, ..) = translate(vec![hosts(json!(["a.test:80", "b.test", "b.test:80", "a.test"]))]);
    assert_eq!(routes, permuted);
}

#[test]
fn r15_weighted_clusters_are_all_named() {
    let clusters = json!([{"name": "a", "weight": 3}, {"name": "zero", "weight": 0}, {"name": "b", "weight": 1}, {"name": "a", "weight": 1}]);
    let (routes, upstreams, _) = translate(vec![mesh::routes(
        "rc",
        &json!([{"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": clusters}}}]),
    )]);
    let split = &routes[0]["plugins"]["traffic-split"]["rules"][0]["weighted_upstreams"];
    let expected =
        json!([{"upstream_id": ids::upstream("a"), "weight": 4}, {"upstream_id": ids::upstream("b"), "weight": 1}]);
    assert_eq!(*split, expected);
    // Clusters that are not there answer 503 and do not break the others: APISIX answers 500 for a missing upstream.
    assert_eq!(upstreams.iter().map(|upstream| upstream["nodes"].clone()).collect::<Vec<_>>(), [json!([]), json!([])]);
}

#[test]
fn what_cannot_be_matched_is_never_widened() {
    for found in [
        json!({"prefix": "/", "headers": [{"name": "x.y", "present_match": true}]}),
        json!({"prefix": "/", "dynamic_metadata": [{"filter": "f", "path": [{"key": "k"}], "value": {"present_match": true}}]}),
        json!({"prefix": "/a//b"}),
        json!({"path": "/a%2Fb"}),
        json!({"safe_regex": {"regex": "("}}),
    ] {
        let (routes, report) = route(&json!({"match": found, "route": {"cluster": "c"}}));
        assert_eq!(routes[0]["plugins"]["fault-injection"]["abort"]["http_status"], 503, "{found}");
        assert!(routes[0].get("upstream_id").is_none());
        assert_eq!(report.entries.len(), 1, "{found}");
    }
    // Only at the place where the path would be, so that it takes no more than it must.
    let uris = |found: Value| route(&json!({"match": found, "route": {"cluster": "c"}})).0[0]["uris"].clone();
    assert_eq!(uris(json!({"prefix": "/a//b/../%63"})), json!(["/a/c*"]));
    assert_eq!(uris(json!({"path": "/a%2Fb"})), json!(["/a/b"]));
    // No request has such a path.
    for found in [json!({"path": "a"}), json!({"connect_matcher": {}})] {
        assert_eq!(route(&json!({"match": found, "route": {"cluster": "c"}})).0, Vec::<Value>::new(), "{found}");
    }
    let fraction = |numerator| json!({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": numerator}}});
    for (numerator, routes_left, reported) in [(0, 0, 0), (100, 1, 0), (50, 0, 1)] {
        let (routes, report) = route(&json!({"match": fraction(numerator), "route": {"cluster": "c"}}));
        assert_eq!((routes.len(), report.entries.len()), (routes_left, reported), "{numerator} %");
    }
}

#[test]
fn what_cannot_be_expressed_leaves_its_neighbours_alone() {
    let routes = json!([
        {"match": {"path": "/before"}, "route": {"cluster": "before"}},
        {"match": {"path": "/no"}, "route": {"cluster_header": "x"}},
        {"match": {"path": "/no", "grpc": {}}, "filter_action": {}},
        {"match": {"path": "/after"}, "route": {"cluster": "after"}},
    ]);
    let bad = mesh::resource(ResourceType::Cluster, json!({"name": "before", "cluster_type": {"name": "unknown"}}));
    let (routes, upstreams, report) =
        translate(vec![mesh::routes("rc", &routes), bad, mesh::static_cluster("after", &[9])]);
    let to = |path: &str| {
        let route = routes.iter().find(|route| route["uris"] == json!([path])).expect("a route");
        let found = upstreams.iter().find(|upstream| upstream["id"] == route["upstream_id"]);
        found.map(|upstream| upstream["nodes"].as_array().map_or(0, Vec::len))
    };
    assert_eq!((to("/before"), to("/no"), to("/after")), (Some(0), None, Some(1)));
    assert!(report.entries.len() >= 3, "{report:?}");
}

#[test]
fn a15_protected_routes_fail_closed() {
    let rbac = |rules: Value| json!({"name": "rbac", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC", "rules": rules}});
    let named = json!([{"authenticated": {"principal_name": {"exact": "spiffe://a"}}}]);
    let allow = json!({"action": "ALLOW", "policies": {"p": {"permissions": [{"any": true}], "principals": named}}});
    let off = json!({"rbac": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true}});
    let routes = json!([
        {"name": "closed", "match": {"path": "/a"}, "route": {"cluster": "c"}},
        {"name": "open", "match": {"path": "/b"}, "route": {"cluster": "c"}, "typed_per_filter_config": off},
    ]);
    let hosts = json!({"name": "rc", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]});
    let (routes, _, report) =
        translate(vec![mesh::listener_with("l", 80, json!({"route_config": hosts, "http_filters": [rbac(allow)]}))]);
    assert_eq!(routes[0]["plugins"]["fault-injection"]["abort"]["http_status"], 403);
    assert_eq!(routes[1]["upstream_id"], ids::upstream("c"));
    assert!(report.entries.iter().any(|entry| entry.reason.contains("certificate")), "{report:?}");
    // One that lets everything pass protects nothing.
    let none = json!({"name": "rbac", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"}});
    let (routes, ..) =
        translate(vec![mesh::listener_with("l", 80, json!({"route_config": hosts, "http_filters": [none]}))]);
    assert!(routes.iter().all(|route| route["upstream_id"] == ids::upstream("c")));
    // What is fetched later may protect.
    let later = json!({"name": "later", "config_discovery": {"config_source": {"ads": {}}, "type_urls": ["x"]}});
    let (routes, ..) =
        translate(vec![mesh::listener_with("l", 80, json!({"route_config": hosts, "http_filters": [later]}))]);
    assert!(routes.iter().all(|route| route.get("upstream_id").is_none()));
}

#[test]
fn c1_to_c6_clusters_and_endpoints() {
    let cluster = |fields: Value| {
        let mut value = json!({"name": "c", "type": "STATIC"});
        value.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        let (_, upstreams, report) = translate(vec![mesh::resource(ResourceType::Cluster, value)]);
        (upstreams[0].clone(), report.entries.len())
    };
    for (policy, algorithm, reported) in
        [("ROUND_ROBIN", "roundrobin", 0), ("LEAST_REQUEST", "least_conn", 0), ("RING_HASH", "roundrobin", 0)]
    {
        let (upstream, entries) = cluster(json!({"lb_policy": policy}));
        assert_eq!((&upstream["type"], entries), (&json!(algorithm), reported), "{policy}");
    }
    assert_eq!(
        cluster(json!({"connect_timeout": "0.25s"})).0["timeout"],
        json!({"connect": 0.25, "send": 15.0, "read": 15.0})
    );
    assert_eq!(cluster(json!({})).0["timeout"]["connect"], 5.0, "Envoy's default");
    let (upstream, entries) = cluster(json!({"type": "ORIGINAL_DST"}));
    assert_eq!((&upstream["nodes"], entries), (&json!([]), 1));
    let address = |address: Value| json!({"endpoint": {"address": address}});
    let endpoints = json!([
        address(json!({"socket_address": {"address": "10.0.0.1", "port_value": 80, "protocol": "UDP"}})),
        address(json!({"pipe": {"path": "/x"}})),
        address(json!({"socket_address": {"address": "10.0.0.1", "named_port": "http"}})),
        {"endpoint_name": "x"},
        address(json!({"socket_address": {"address": "10.0.0.1", "port_value": 80}})),
    ]);
    let assignment = json!({"cluster_name": "c", "endpoints": [{"lb_endpoints": endpoints}]});
    let (upstream, entries) = cluster(json!({"load_assignment": assignment}));
    assert_eq!(upstream["nodes"], json!([{"host": "10.0.0.1", "port": 80, "weight": 1}]));
    assert_eq!(entries, 4, "one for each that is left out");
}

#[test]
fn a12_weights_health_priority_and_scale_to_zero() {
    let endpoint = |address: &str, fields: Value| {
        let mut value = json!({"endpoint": {"address": {"socket_address": {"address": address, "port_value": 80}}}});
        value.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        value
    };
    let nodes = |localities: Value| {
        let assignment = mesh::resource(ResourceType::Endpoints, json!({"cluster_name": "c", "endpoints": localities}));
        let (_, upstreams, _) = translate(vec![mesh::eds_cluster("c"), assignment]);
        (upstreams[0]["nodes"].clone(), upstreams[0]["retries"].clone())
    };
    let (list, retries) = nodes(json!([
        {"lb_endpoints": [
            endpoint("10.0.0.2", json!({"load_balancing_weight": 3})),
            endpoint("10.0.0.1", json!({})),
            endpoint("10.0.0.3", json!({"health_status": "UNHEALTHY"})),
            endpoint("10.0.0.4", json!({"health_status": "DEGRADED"})),
            endpoint("10.0.0.2", json!({"load_balancing_weight": 2})),
            endpoint("::1", json!({})),
        ]},
        {"priority": 1, "lb_endpoints": [endpoint("10.0.0.9", json!({}))]},
    ]));
    assert_eq!(
        list,
        json!([
            {"host": "10.0.0.1", "port": 80, "weight": 1},
            {"host": "10.0.0.2", "port": 80, "weight": 5},
            {"host": "::1", "port": 80, "weight": 1},
            {"priority": -1, "host": "10.0.0.4", "port": 80, "weight": 1},
            {"priority": -2, "host": "10.0.0.9", "port": 80, "weight": 1},
        ])
    );
    assert_eq!(retries, 4, "enough to get from the first level to the last");
    assert_eq!(nodes(json!([])), (json!([]), json!(0)));
}

#[test]
fn l1_listeners_with_inline_and_named_routes() {
    let routes = |path: &str| json!([{"match": {"path": path}, "route": {"cluster": "c"}}]);
    let inline = json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes("/inline")}]});
    let listeners = [mesh::listener("one", 80, "rc"), mesh::listener_with("two", 81, json!({"route_config": inline}))];
    let unused = mesh::routes("unused", &routes("/unused"));
    let (translated, ..) =
        translate([listeners.to_vec(), vec![mesh::routes("rc", &routes("/named")), unused]].concat());
    // Two listeners with different routes are told apart by their ports; what no listener uses is not served.
    let seen: Vec<_> = translated.iter().map(|route| (route["uris"][0].clone(), route["vars"].clone())).collect();
    let vars = |path: &str, port: &str| {
        json!([["real_request_uri", "~~", format!("^{path}(?:[?#]|\\z)")], ["server_port", "==", port]])
    };
    assert_eq!(seen, [(json!("/named"), vars("/named", "80")), (json!("/inline"), vars("/inline", "81"))]);
    let never = Options { ports: Ports::Never, ..Options::default() };
    let all = translate_all([listeners.to_vec(), vec![mesh::routes("rc", &routes("/named"))]].concat(), never);
    assert!(all.objects.iter().all(|object| !String::from_utf8_lossy(&object.value).contains("server_port")));
}

#[test]
fn headers_are_changed_as_envoy_changes_them() {
    let option =
        |key: &str, value: &str, action: &str| json!({"header": {"key": key, "value": value}, "append_action": action});
    let (routes, report) = route(&json!({
        "match": {"prefix": "/"},
        "route": {"cluster": "c", "prefix_rewrite": "/new", "host_rewrite_literal": "h.test"},
        "request_headers_to_add": [option("X-Set", "a$b", "OVERWRITE_IF_EXISTS_OR_ADD"), option("x-add", "50%%", "APPEND_IF_EXISTS_OR_ADD"), option("x-var", "%START_TIME%", "APPEND_IF_EXISTS_OR_ADD")],
        "request_headers_to_remove": ["X-Gone"],
        "response_headers_to_add": [option("x-out", "v", "OVERWRITE_IF_EXISTS_OR_ADD")],
    }));
    let rewrite = &routes[0]["plugins"]["proxy-rewrite"];
    let headers = json!({"add": {"x-add": "50%"}, "set": {"x-set": "a${nil ?? $}b"}, "remove": ["x-gone"]});
    assert_eq!(*rewrite, json!({"regex_uri": ["^/(.*)", "/new$1"], "host": "h.test", "headers": headers}));
    assert_eq!(routes[0]["plugins"]["response-rewrite"], json!({"headers": {"set": {"x-out": "v"}}}));
    assert_eq!(report.entries.len(), 1, "the value made by a formatter");
}
