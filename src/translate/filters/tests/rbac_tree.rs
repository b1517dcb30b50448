//! Access rules as lists of matchers.

use serde_json::{Value, json};

use super::{behind, typed, ways};

fn extension(kind: &str, fields: Value) -> Value {
    let mut config = fields;
    config["@type"] = json!(format!("type.googleapis.com/{kind}"));
    json!({"name": "x", "typed_config": config})
}

fn header(name: &str, exact: &str) -> Value {
    let input = extension("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", json!({"header_name": name}));
    json!({"single_predicate": {"input": input, "value_match": {"exact": exact}}})
}

fn address(prefix: &str) -> Value {
    let input = extension("envoy.extensions.matching.common_inputs.network.v3.SourceIPInput", json!({}));
    let ranges = json!([{"address_prefix": prefix, "prefix_len": 8}]);
    let ip = extension(
        "envoy.extensions.matching.input_matchers.ip.v3.Ip",
        json!({"cidr_ranges": ranges, "stat_prefix": "i"}),
    );
    json!({"single_predicate": {"input": input, "custom_match": ip}})
}

/// What a token says, of which APISIX knows nothing.
fn claim() -> Value {
    let fields = json!({"filter": "envoy.filters.http.jwt_authn", "path": [{"key": "role"}]});
    let input = extension("envoy.extensions.matching.common_inputs.network.v3.DynamicMetadataInput", fields);
    let value = json!({"value": {"string_match": {"exact": "admin"}}});
    let metadata = extension("envoy.extensions.matching.input_matchers.metadata.v3.Metadata", value);
    json!({"single_predicate": {"input": input, "custom_match": metadata}})
}

fn action(name: &str) -> Value {
    json!({"action": extension("envoy.config.rbac.v3.Action", json!({"name": name, "action": name}))})
}

fn tree(fields: &[(Value, Value)], otherwise: Option<Value>) -> Value {
    let fields: Vec<_> = fields.iter().map(|(if_, then)| json!({"predicate": if_, "on_match": then})).collect();
    let mut tree = json!({});
    if !fields.is_empty() {
        tree["matcher_list"] = json!({"matchers": fields});
    }
    if let Some(then) = otherwise {
        tree["on_no_match"] = then;
    }
    tree
}

fn rbac(tree: &Value) -> Value {
    typed("rbac.v3.RBAC", json!({"matcher": tree}))
}

/// Conditions and status of each route, in the order in which they are tried.
fn of(fields: &[(Value, Value)], otherwise: Option<&str>) -> Vec<(Value, Value)> {
    ways(rbac(&tree(fields, otherwise.map(action))), None)
}

fn closed() -> Vec<(Value, Value)> {
    vec![(Value::Null, json!(403))]
}

fn open() -> Vec<(Value, Value)> {
    vec![(Value::Null, Value::Null)]
}

#[test]
fn without_matchers_all_or_nothing_passes() {
    assert_eq!(of(&[], Some("DENY")), closed());
    assert_eq!(of(&[], None), closed());
    assert_eq!(of(&[], Some("ALLOW")), open());
    // Who is logged passes.
    assert_eq!(of(&[], Some("LOG")), open());
}

#[test]
fn the_first_that_matches_decides() {
    let internal = json!(["remote_addr", "ipmatch", ["10.0.0.0/8"]]);
    let get = json!(["http_x_one", "==", "1"]);
    let allowed = of(&[(address("10.0.0.0"), action("ALLOW"))], Some("DENY"));
    assert_eq!(allowed, [(json!([internal]), Value::Null), (Value::Null, json!(403))]);
    let denied = of(&[(address("10.0.0.0"), action("DENY"))], Some("ALLOW"));
    let outside = json!(["remote_addr", "!", "ipmatch", ["10.0.0.0/8"]]);
    assert_eq!(denied, [(json!([outside]), Value::Null), (Value::Null, json!(403))]);
    // What the first denies, the second cannot let pass.
    let both = of(&[(address("10.0.0.0"), action("DENY")), (header("x-one", "1"), action("ALLOW"))], None);
    assert_eq!(both, [(json!([outside, get]), Value::Null), (Value::Null, json!(403))]);
    let either = of(&[(header("x-one", "1"), action("ALLOW")), (address("10.0.0.0"), action("DENY"))], Some("ALLOW"));
    assert_eq!(either, [(json!([["OR", get, outside]]), Value::Null), (Value::Null, json!(403))]);
}

/// Hundreds of rules, as long lists of addresses become, are one list of conditions and no deep tree.
#[test]
fn many_matchers_are_one_list() {
    let fields: Vec<_> = (0..300).map(|number| (header("x-one", &number.to_string()), action("ALLOW"))).collect();
    let vars = of(&fields, Some("DENY"))[0].0.clone();
    assert_eq!((&vars[0][0], vars[0].as_array().map(Vec::len)), (&json!("OR"), Some(301)));
}

#[test]
fn what_cannot_be_asked_lets_nothing_pass() {
    let with_claim = |other: Value| json!({"and_matcher": {"predicate": [other, claim()]}});
    let get = json!(["http_x_one", "==", "1"]);
    // One rule can be asked, and one cannot.
    let fields = [(header("x-one", "1"), action("ALLOW")), (with_claim(header("x-two", "2")), action("ALLOW"))];
    assert_eq!(of(&fields, Some("DENY")), [(json!([get]), Value::Null), (Value::Null, json!(403))]);
    let (_, report) = behind(&rbac(&tree(&fields, Some(action("DENY")))), None, &json!({}));
    let reason = &report.entries.iter().find(|entry| entry.field == "rbac.matcher").expect("told").reason;
    assert!(reason.contains("DynamicMetadataInput"), "{reason}");
    // Whom a claim would stop is stopped whatever it says.
    assert_eq!(of(&[(claim(), action("DENY"))], Some("ALLOW")), closed());
    assert_eq!(of(&[(json!({"not_matcher": claim()}), action("ALLOW"))], Some("DENY")), closed());
    // Actions that are not the last word, unknown ones, and trees that are maps.
    let keeps = json!({"keep_matching": true, "action": action("ALLOW")["action"]});
    assert_eq!(of(&[(header("x-one", "1"), keeps)], Some("DENY")), closed());
    let strange = json!({"action": extension("envoy.config.core.v3.TypedExtensionConfig", json!({"name": "x"}))});
    assert_eq!(of(&[(header("x-one", "1"), strange)], Some("DENY")), closed());
    let map = json!({"exact_match_map": {"map": {"1": action("ALLOW")}}, "input": extension(
        "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", json!({"header_name": "x-one"}))});
    let tree = json!({"matcher_tree": map, "on_no_match": action("ALLOW")});
    assert_eq!(ways(rbac(&tree), None), closed());
}

#[test]
fn matchers_inside_of_others() {
    let get = json!(["http_x_one", "==", "1"]);
    let two = json!(["http_x_two", "==", "2"]);
    let inner = json!({"matcher": tree(&[(header("x-two", "2"), action("ALLOW"))], Some(action("DENY")))});
    let found = of(&[(header("x-one", "1"), inner)], Some("DENY"));
    assert_eq!(found, [(json!([get, two]), Value::Null), (Value::Null, json!(403))]);
    // Without a last word of its own.
    let inner = json!({"matcher": tree(&[(header("x-two", "2"), action("ALLOW"))], None)});
    assert_eq!(of(&[(header("x-one", "1"), inner)], Some("DENY")), closed());
    let mut deep = action("ALLOW");
    for _ in 0..10 {
        deep = json!({"matcher": tree(&[(header("x-one", "1"), deep)], Some(action("DENY")))});
    }
    assert_eq!(of(&[(header("x-one", "1"), deep)], Some("DENY")), closed());
}
