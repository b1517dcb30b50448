#![expect(clippy::needless_pass_by_value, reason = "shorter where it is called")]

mod ext_authz;
mod grpc_web;
mod header_mutation;
mod jwt;
mod rbac_tree;
mod stateful_session;
mod transcoder;

use serde_json::{Value, json};

use crate::apisix::Kind;
use crate::testing::mesh;
use crate::translate::{Options, Report, translate_all};

fn typed(name: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("type.googleapis.com/envoy.extensions.filters.http.{name}"));
    config
}

/// Translates a route behind a filter, with a configuration of its own for it: the routes by priority, and the report.
fn behind(filter: &Value, own: Option<Value>, manager: &Value) -> (Vec<Value>, Report) {
    let own = own.map(|own| json!({"f": own})).unwrap_or_default();
    let routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": "c"}, "typed_per_filter_config": own}]);
    let hosts = json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]});
    let mut fields = json!({
        "route_config": hosts, "http_filters": [{"name": "f", "typed_config": filter}], "use_remote_address": true});
    fields.as_object_mut().expect("an object").extend(manager.as_object().cloned().unwrap_or_default());
    let translation = translate_all(vec![mesh::listener_with("l", 80, fields)], Options::default());
    let routes = translation.objects.iter().filter(|object| object.key.kind == Kind::Route);
    let mut routes: Vec<Value> = routes.map(|route| serde_json::from_slice(&route.value).expect("JSON")).collect();
    routes.sort_by_key(|route| -route["priority"].as_i64().unwrap_or(0));
    (routes, translation.report)
}

/// What each route does, with its conditions.
fn ways(filter: Value, own: Option<Value>) -> Vec<(Value, Value)> {
    let (routes, _) = behind(&filter, own, &json!({}));
    let status = |route: &Value| route["plugins"]["fault-injection"]["abort"]["http_status"].clone();
    routes.iter().map(|route| (route["vars"].clone(), status(route))).collect()
}

fn plugins(filter: Value, own: Option<Value>) -> Value {
    behind(&filter, own, &json!({})).0[0]["plugins"].clone()
}

#[test]
fn r16_r17_faults_of_a_route() {
    let fault = |numerator: u32, denominator: &str| {
        let share = json!({"numerator": numerator, "denominator": denominator});
        typed(
            "fault.v3.HTTPFault",
            json!({
                "abort": {"http_status": 555, "percentage": share},
                "delay": {"fixed_delay": "0.25s", "percentage": share},
                "headers": [{"name": "x", "string_match": {"exact": "1"}}],
            }),
        )
    };
    let empty = || typed("fault.v3.HTTPFault", json!({}));
    for (numerator, denominator, percent) in
        [(100, "HUNDRED", 100), (5, "HUNDRED", 5), (2500, "TEN_THOUSAND", 25), (1_000_000, "MILLION", 100)]
    {
        let plugin = &plugins(empty(), Some(fault(numerator, denominator)))["fault-injection"];
        let vars = json!([[["http_x", "==", "1"]]]);
        let abort = json!({"http_status": 555, "body": "fault filter abort", "percentage": percent, "vars": vars});
        assert_eq!(plugin["abort"], abort);
        assert_eq!(plugin["delay"], json!({"duration": 0.25, "percentage": percent, "vars": vars}));
    }
    // Less than half a percent is none, and said.
    let (routes, report) = behind(&empty(), Some(fault(10, "TEN_THOUSAND")), &json!({}));
    assert_eq!(routes[0]["plugins"], Value::Null);
    assert!(report.entries.iter().any(|entry| entry.field == "fault.percentage"), "{report:?}");
}

#[test]
fn cors_policies() {
    let filter = || typed("cors.v3.Cors", json!({}));
    let policy = |fields: Value| Some(typed("cors.v3.CorsPolicy", fields));
    let any = json!({"allow_origin_string_match": [{"exact": "*"}], "allow_credentials": true, "allow_headers": "*"});
    let cors = &plugins(filter(), policy(any))["cors"];
    assert_eq!((&cors["allow_origins"], &cors["allow_headers"]), (&json!("**"), &json!("")));
    let some = json!({"allow_origin_string_match": [{"exact": "http://a.b"}, {"safe_regex": {"regex": "https://.*"}}],
        "allow_methods": "GET, PUT", "max_age": "1000"});
    let cors = &plugins(filter(), policy(some))["cors"];
    assert_eq!(cors["allow_origins_by_regex"], json!(["^http://a\\.b\\z", "^(?:https://.*)\\z"]));
    assert_eq!((&cors["allow_methods"], &cors["max_age"]), (&json!("GET,PUT"), &json!(1000)));
    assert_eq!(plugins(filter(), policy(json!({}))), Value::Null, "no origin is let");
    assert_eq!(plugins(filter(), None), Value::Null);
}

#[test]
fn limits_buffers_and_compression() {
    let share = json!({"default_value": {"numerator": 100}});
    let limit = |bucket: Value| {
        typed(
            "local_ratelimit.v3.LocalRateLimit",
            json!({"stat_prefix": "s", "token_bucket": bucket,
            "filter_enabled": share, "filter_enforced": share}),
        )
    };
    let window = &plugins(limit(json!({"max_tokens": 10, "tokens_per_fill": 10, "fill_interval": "60s"})), None);
    let count = &window["limit-count"];
    assert_eq!(
        (&count["count"], &count["time_window"], &count["rejected_code"]),
        (&json!(10), &json!(60), &json!(429))
    );
    let leaky = &plugins(limit(json!({"max_tokens": 10, "tokens_per_fill": 1, "fill_interval": "0.5s"})), None);
    assert_eq!((&leaky["limit-req"]["rate"], &leaky["limit-req"]["burst"]), (&json!(2.0), &json!(9)));
    let off = typed(
        "local_ratelimit.v3.LocalRateLimit",
        json!({"stat_prefix": "s",
        "token_bucket": {"max_tokens": 1, "fill_interval": "1s"}}),
    );
    assert_eq!(plugins(off, None), Value::Null, "enabled for no request unless it says so");
    let buffer = || typed("buffer.v3.Buffer", json!({"max_request_bytes": 100}));
    assert_eq!(plugins(buffer(), None)["client-control"]["max_body_size"], 100);
    let disabled = typed("buffer.v3.BufferPerRoute", json!({"disabled": true}));
    assert_eq!(plugins(buffer(), Some(disabled)), Value::Null);
    let library = json!({"name": "l", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip"}});
    let gzip = plugins(typed("compressor.v3.Compressor", json!({"compressor_library": library})), None);
    assert_eq!(
        (&gzip["gzip"]["min_length"], &gzip["gzip"]["types"][0]),
        (&json!(30), &json!("application/javascript"))
    );
}

#[test]
fn rules_become_conditions_and_closed_routes() {
    let rbac = |action: &str, principal: Value| {
        let policies = json!({"p": {"permissions": [{"any": true}], "principals": [principal]}});
        typed("rbac.v3.RBAC", json!({"rules": {"action": action, "policies": policies}}))
    };
    let network = || json!({"remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}});
    let inside = json!([["remote_addr", "ipmatch", ["10.0.0.0/8"]]]);
    let (all, none) = (Value::Null, Value::Null);
    assert_eq!(ways(rbac("ALLOW", network()), None), [(inside.clone(), none.clone()), (all.clone(), json!(403))]);
    assert_eq!(ways(rbac("DENY", network()), None), [(inside, json!(403)), (all.clone(), none.clone())]);
    // What cannot be expressed allows nothing, and denies everything.
    let unknown = || json!({"metadata": {"filter": "f", "path": [{"key": "k"}], "value": {"present_match": true}}});
    for action in ["ALLOW", "DENY"] {
        assert_eq!(ways(rbac(action, unknown()), None), [(all.clone(), json!(403))], "{action}");
        let inverted = json!({"not_id": unknown()});
        assert_eq!(ways(rbac(action, inverted), None), [(all.clone(), json!(403))], "not, {action}");
    }
    let off = typed("rbac.v3.RBACPerRoute", json!({}));
    assert_eq!(ways(rbac("ALLOW", unknown()), Some(off)), [(all.clone(), none)]);
    // An address that is taken from a header is not the one by which APISIX chooses.
    let (routes, report) = behind(&rbac("ALLOW", network()), None, &json!({"xff_num_trusted_hops": 1}));
    assert_eq!(routes[0]["plugins"]["fault-injection"]["abort"]["http_status"], 403);
    assert!(report.entries.iter().any(|entry| entry.reason.contains("address of the connection")), "{report:?}");
}

#[test]
fn keys_and_origins_are_asked_for() {
    let keys = typed(
        "api_key_auth.v3.ApiKeyAuth",
        json!({
        "credentials": [{"key": "k1", "client": "one"}], "key_sources": [{"header": "X-Key"}, {"query": "key"}]}),
    );
    let either = json!([["OR", ["http_x_key", "in", ["k1", "Bearer k1"]], ["arg_key", "in", ["k1"]]]]);
    assert_eq!(ways(keys, None), [(either, Value::Null), (Value::Null, json!(401))]);
    let share = json!({"default_value": {"numerator": 100}});
    let csrf = typed("csrf.v3.CsrfPolicy", json!({"filter_enabled": share, "additional_origins": [{"exact": "a.b"}]}));
    let denied = json!([
        ["request_method", "in", ["POST", "PUT", "DELETE", "PATCH"]],
        ["http_origin", "!", "~~", "(*UTF)^[A-Za-z]+://a\\.b\\z"],
    ]);
    assert_eq!(ways(csrf, None), [(denied, json!(403)), (Value::Null, Value::Null)]);
}

#[test]
fn what_protects_without_an_equal_is_closed_and_what_is_off_is_open() {
    for (name, config) in [
        ("basic_auth.v3.BasicAuth", json!({"users": {"inline_string": "a:{SHA}x"}})),
        ("oauth2.v3.OAuth2", json!({})),
        ("ext_authz.v3.ExtAuthz", json!({"grpc_service": {"envoy_grpc": {"cluster_name": "c"}}})),
    ] {
        assert_eq!(ways(typed(name, config), None), [(Value::Null, json!(403))], "{name}");
    }
    let authz = typed("ext_authz.v3.ExtAuthz", json!({"grpc_service": {"envoy_grpc": {"cluster_name": "c"}}}));
    let off = typed("ext_authz.v3.ExtAuthzPerRoute", json!({"disabled": true}));
    assert_eq!(ways(authz, Some(off)), [(Value::Null, Value::Null)]);
}

#[test]
fn requests_for_the_gateways_health_are_answered_by_it() {
    let matcher = || json!([{"name": ":path", "string_match": {"exact": "/healthz"}}]);
    let asked = json!([["real_request_uri", "==", "/healthz"]]);
    let own = typed("health_check.v3.HealthCheck", json!({"pass_through_mode": false, "headers": matcher()}));
    assert_eq!(ways(own, None), [(asked, json!(200)), (Value::Null, Value::Null)]);
    let shares = json!({"pass_through_mode": false, "headers": matcher(),
        "cluster_min_healthy_percentages": {"c": {"value": 50.0}}});
    let (_, report) = behind(&typed("health_check.v3.HealthCheck", shares), None, &json!({}));
    assert!(report.entries.iter().any(|entry| entry.field.contains("min_healthy")), "{report:?}");
    let passed = typed("health_check.v3.HealthCheck", json!({"pass_through_mode": true, "headers": matcher()}));
    assert_eq!(ways(passed, None), [(Value::Null, Value::Null)], "the backend is asked");
}

#[test]
fn what_is_set_up_where_apisix_runs_is_remarked() {
    let log = json!([{"name": "l", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"}}]);
    let provider = json!({"provider": {"name": "envoy.tracers.zipkin"}});
    for (field, value) in [
        ("access_log", log),
        ("tracing", provider),
        ("xff_num_trusted_hops", json!(2)),
        ("local_reply_config", json!({"body_format": {"text_format_source": {"inline_string": "no"}}})),
        ("max_request_headers_kb", json!(96)),
    ] {
        let (_, report) = behind(&typed("cors.v3.Cors", json!({})), None, &json!({field: value}));
        assert!(report.entries.iter().any(|entry| entry.field == field), "{field}: {report:?}");
        let (_, report) = behind(&typed("cors.v3.Cors", json!({})), None, &json!({}));
        assert!(report.entries.iter().all(|entry| entry.field != field), "{field}: {report:?}");
    }
}

#[test]
fn a_filter_that_waits_is_switched_on_by_its_route() {
    let deny = || {
        let policies = json!({"p": {"permissions": [{"any": true}], "principals": [{"any": true}]}});
        typed("rbac.v3.RBAC", json!({"rules": {"action": "DENY", "policies": policies}}))
    };
    let switch = |fields: Value| {
        let mut config = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig"});
        config.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        json!({"f": config})
    };
    let serves = |filter: Value, route: Value, own: Value, disabled: bool| {
        let routes = json!([{"match": {"prefix": "/"}, "route": route, "typed_per_filter_config": own}]);
        let hosts = json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]});
        let filters = json!([{"name": "f", "typed_config": filter, "disabled": disabled}]);
        let listener = mesh::listener_with("l", 80, json!({"route_config": hosts, "http_filters": filters}));
        let translation = translate_all(vec![listener], Options::default());
        let routes = translation.objects.iter().filter(|object| object.key.kind == Kind::Route);
        let routes: Vec<Value> = routes.map(|route| serde_json::from_slice(&route.value).expect("JSON")).collect();
        routes.iter().any(|route| route["upstream_id"].is_string())
    };
    let served = |filter, own, disabled| serves(filter, json!({"cluster": "c"}), own, disabled);
    for (own, disabled, expected) in [
        (json!({}), false, false),
        (json!({}), true, true),
        (switch(json!({})), true, false),
        (switch(json!({"config": {}})), true, false),
        (switch(json!({"disabled": true})), false, true),
        (switch(json!({"disabled": true})), true, true),
    ] {
        assert_eq!(served(deny(), own.clone(), disabled), expected, "{own} {disabled}");
    }
    // One that is not translated closes what it is switched on for.
    let unknown = || typed("oauth2.v3.OAuth2", json!({}));
    assert!(served(unknown(), json!({}), true));
    assert!(!served(unknown(), switch(json!({"config": {}})), true));
    // So does one that waits for one of several clusters.
    let split = |own: Value| {
        json!({"weighted_clusters": {"clusters": [
        {"name": "a", "weight": 1, "typed_per_filter_config": own}, {"name": "b", "weight": 1}]}})
    };
    assert!(serves(deny(), split(json!({})), json!({}), true));
    assert!(!serves(deny(), split(switch(json!({}))), json!({}), true));
}

#[test]
fn a_filter_that_protects_does_so_inside_of_a_matcher_too() {
    let wrapped = |name: &str, inner: Value| {
        let extension = json!({"name": "inner", "typed_config": typed(name, inner)});
        json!({"@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            "extension_config": extension})
    };
    let is_closed = |filter: Value| plugins(filter, None)["fault-injection"]["abort"]["http_status"] == 403;
    let policies = json!({"p": {"permissions": [{"any": true}], "principals": [{"any": true}]}});
    assert!(is_closed(wrapped("rbac.v3.RBAC", json!({"rules": {"action": "DENY", "policies": policies}}))));
    assert!(is_closed(wrapped("ext_authz.v3.ExtAuthz", json!({}))));
    assert!(is_closed(typed("composite.v3.Composite", json!({}))));
    assert!(!is_closed(wrapped("router.v3.Router", json!({}))));
    assert!(!is_closed(wrapped("buffer.v3.Buffer", json!({"max_request_bytes": 5}))));
}
