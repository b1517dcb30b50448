//! The last gate: what APISIX would reject, or be poisoned by, is not published.
//!
//! Rules as read in APISIX's schemas and measured on a running one. Fields are those that every version from 2.15 on
//! takes: since 3.6 one unknown field rejects the whole object.

mod connections;
mod foreign;
mod plugins;

use serde_json::{Map, Value};

use super::object::{Kind, Object};
pub use foreign::check_foreign;

/// Fields of a route.
const ROUTE: [&str; 18] = [
    "id",
    "name",
    "desc",
    "labels",
    "uri",
    "uris",
    "host",
    "hosts",
    "methods",
    "vars",
    "priority",
    "upstream_id",
    "upstream",
    "plugins",
    "timeout",
    "enable_websocket",
    "status",
    "remote_addrs",
];

/// Fields of an upstream.
const UPSTREAM: [&str; 17] = [
    "id",
    "name",
    "desc",
    "labels",
    "type",
    "scheme",
    "nodes",
    "retries",
    "retry_timeout",
    "timeout",
    "keepalive_pool",
    "checks",
    "tls",
    "hash_on",
    "key",
    "pass_host",
    "upstream_host",
];

/// The only methods that a route may name.
pub const METHODS: [&str; 10] =
    ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PURGE"];

/// Checks an object. The reason names the field.
pub fn check(object: &Object) -> Result<(), String> {
    // APISIX deletes the object that it has when the new value is not JSON.
    let value: Value = serde_json::from_slice(&object.value).map_err(|error| format!("not JSON: {error}"))?;
    let Value::Object(fields) = &value else { return Err("not a JSON object".into()) };
    check_id(&object.key.id)?;
    no_nulls(fields)?;
    match object.key.kind {
        Kind::Route => check_route(fields),
        Kind::Upstream => check_upstream(fields),
        Kind::Ssl | Kind::LegacySsl => connections::check_ssl(fields),
        Kind::StreamRoute => connections::check_stream_route(fields),
        _ => Ok(()),
    }
}

fn check_id(id: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if id.is_empty() || id.len() > 64 || !id.chars().all(allowed) {
        return Err(format!("id {id:?}: 1 to 64 characters of A-Z a-z 0-9 - _ ."));
    }
    Ok(())
}

/// A null is no value for any field but inside `vars`.
fn no_nulls(fields: &Map<String, Value>) -> Result<(), String> {
    fields.iter().try_for_each(|(name, value)| {
        let inside = match value {
            Value::Null => return Err(format!("{name} is null")),
            Value::Object(inner) => no_nulls(inner),
            _ => Ok(()),
        };
        inside.map_err(|reason| format!("{name}.{reason}"))
    })
}

fn known_fields(fields: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("unknown field {name}")),
        None => Ok(()),
    }
}

fn check_common(fields: &Map<String, Value>) -> Result<(), String> {
    if let Some(name) = fields.get("name") {
        let length = name.as_str().map_or(0, |name| name.chars().count());
        if !(1..=100).contains(&length) {
            return Err("name: 1 to 100 characters".into());
        }
    }
    for (key, value) in fields.get("labels").and_then(Value::as_object).into_iter().flatten() {
        let good = |text: &str| !text.is_empty() && text.len() <= 64 && !text.contains(char::is_whitespace);
        if !value.as_str().is_some_and(good) {
            return Err(format!("labels.{key}: 1 to 64 characters without white space"));
        }
    }
    if let Some(timeout) = fields.get("timeout") {
        let positive = |name: &str| timeout.get(name).and_then(Value::as_f64).is_some_and(|seconds| seconds > 0.0);
        if !["connect", "send", "read"].into_iter().all(positive) {
            return Err("timeout: connect, send and read above zero".into());
        }
    }
    Ok(())
}

fn check_route(fields: &Map<String, Value>) -> Result<(), String> {
    known_fields(fields, &ROUTE)?;
    check_common(fields)?;
    let uris = texts(fields, "uris")?;
    if uris.is_empty() {
        return Err("uris: at least one".into());
    }
    unique("uris", &uris)?;
    for uri in &uris {
        if uri.is_empty() || uri.len() > 4096 {
            return Err("uris: 1 to 4096 bytes each".into());
        }
        // Elsewhere APISIX cuts the path at the star, or reads its neighbours as regular expressions.
        if uri.find('*').is_some_and(|star| star + 1 != uri.len()) {
            return Err(format!("uris: a star inside {uri}"));
        }
    }
    if fields.contains_key("hosts") {
        let hosts = texts(fields, "hosts")?;
        if hosts.is_empty() {
            return Err("hosts: empty".into());
        }
        unique("hosts", &hosts)?;
        hosts.iter().try_for_each(|host| check_host(host))?;
    }
    if fields.contains_key("methods") {
        let methods = texts(fields, "methods")?;
        unique("methods", &methods)?;
        if let Some(method) = methods.iter().find(|method| !METHODS.contains(method)) {
            return Err(format!("methods: {method} is not known"));
        }
    }
    if let Some(vars) = fields.get("vars") {
        check_vars(vars)?;
    }
    if !fields.get("priority").is_none_or(Value::is_i64) {
        return Err("priority: an integer".into());
    }
    if let Some(plugins) = fields.get("plugins") {
        plugins::check(plugins)?;
        // It calls what follows the place of the route, or refuses all if that is no place above others.
        if plugins.get("grpc-web").is_some() && uris.iter().any(|uri| *uri != "/*") {
            return Err("plugins.grpc-web: the whole path is the method's at /* only".into());
        }
    }
    if !["plugins", "upstream", "upstream_id"].iter().any(|field| fields.contains_key(*field)) {
        return Err("neither plugins nor an upstream".into());
    }
    Ok(())
}

fn check_host(host: &str) -> Result<(), String> {
    let name = host.strip_prefix('*').unwrap_or(host);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    // A port is taken by the schema and then never matches.
    let port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']') && !host.starts_with('['));
    if name.is_empty() || !name.chars().all(allowed) || port {
        return Err(format!("hosts: {host}"));
    }
    Ok(())
}

/// A list of conditions, each of a form that APISIX's own checker survives.
fn check_vars(vars: &Value) -> Result<(), String> {
    let conditions = vars.as_array().ok_or("vars: not a list")?;
    conditions.iter().try_for_each(check_condition)
}

fn check_condition(condition: &Value) -> Result<(), String> {
    let wrong = || format!("vars: {condition}");
    let items = condition.as_array().ok_or_else(wrong)?;
    let first = items.first().and_then(Value::as_str).ok_or_else(wrong)?;
    if ["AND", "OR", "!AND", "!OR"].contains(&first) {
        if items.len() < 3 {
            return Err(format!("{}: fewer than two operands", wrong()));
        }
        return items[1..].iter().try_for_each(check_condition);
    }
    let (op, value) = match items.as_slice() {
        [_, op, value] => (op, value),
        [_, not, op, value] if not == "!" => (op, value),
        _ => return Err(wrong()),
    };
    let op = op.as_str().ok_or_else(wrong)?;
    let fits = match op {
        "==" | "~=" => !value.is_array() && !value.is_object(),
        ">" | ">=" | "<" | "<=" => value.is_number() || value.as_str().is_some_and(|text| text.parse::<f64>().is_ok()),
        // A regular expression that is no text makes APISIX answer 500.
        "~~" | "~*" => value.is_string(),
        "in" | "has" => value.is_array(),
        // A range that is none rejects the route.
        "ipmatch" => value.as_array().is_some_and(|ranges| ranges.iter().all(is_range)),
        _ => false,
    };
    if fits { Ok(()) } else { Err(wrong()) }
}

/// Whether a value is an address, or one with the length of a prefix.
fn is_range(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<std::net::IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    length.is_none_or(|length| length.parse::<u8>().is_ok_and(|length| length <= most))
}

fn check_upstream(fields: &Map<String, Value>) -> Result<(), String> {
    known_fields(fields, &UPSTREAM)?;
    check_common(fields)?;
    let algorithm = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    if !["roundrobin", "least_conn", "chash", "ewma"].contains(&algorithm) {
        return Err(format!("type: {algorithm} is not known"));
    }
    if let Some(checks) = fields.get("checks") {
        connections::check_checks(checks)?;
    }
    let nodes = fields.get("nodes").and_then(Value::as_array).ok_or("nodes: a list")?;
    let mut seen = std::collections::HashSet::new();
    for node in nodes {
        let host = node.get("host").and_then(Value::as_str).unwrap_or_default();
        let port = node.get("port").and_then(Value::as_u64).unwrap_or_default();
        let weight = node.get("weight").and_then(Value::as_u64).unwrap_or_default();
        let priority = node.get("priority").and_then(Value::as_i64).unwrap_or_default();
        if host.is_empty() || !(1..=65535).contains(&port) || weight == 0 {
            return Err(format!("nodes: {node}"));
        }
        if !seen.insert((host, port, priority)) {
            return Err(format!("nodes: {host}:{port} twice, of which APISIX would use one"));
        }
    }
    Ok(())
}

fn texts<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Vec<&'a str>, String> {
    let items = fields.get(name).and_then(Value::as_array).ok_or_else(|| format!("{name}: a list"))?;
    items.iter().map(|item| item.as_str().ok_or_else(|| format!("{name}: texts"))).collect()
}

fn unique(name: &str, items: &[&str]) -> Result<(), String> {
    let mut seen = std::collections::HashSet::new();
    match items.iter().find(|item| !seen.insert(**item)) {
        Some(item) => Err(format!("{name}: {item} twice")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apisix::ObjectKey;

    fn verdict(kind: Kind, value: &Value) -> Result<(), String> {
        check(&Object { key: ObjectKey::new(kind, "id"), value: value.to_string().into() })
    }

    #[test]
    fn poison_and_rejects_do_not_pass() {
        let route = |field: &str, value: Value| {
            let mut route = json!({"id": "id", "uris": ["/a"], "upstream_id": "u"});
            route[field] = value;
            verdict(Kind::Route, &route)
        };
        assert_eq!(route("priority", json!(3)), Ok(()));
        assert_eq!(route("vars", json!([["OR", ["arg_a", "==", null], ["arg_a", "!", "~~", "x"]]])), Ok(()));
        for vars in [
            json!([["NOT", ["arg_a", "==", "1"]]]),
            json!([["AND", ["arg_a", "==", "1"]]]),
            json!([["OR"]]),
            json!([["OR", ["arg_a", "==", "1"], ["AND", ["arg_b", "==", "1"]]]]),
            json!([["arg_a"]]),
            json!([["arg_a", "!", "1"]]),
            json!(["arg_a", "==", "1"]),
            json!([["arg_a", "~~", 5]]),
            json!([["arg_a", "in", "1"]]),
            json!([["arg_a", "??", "1"]]),
            json!([["arg_a", ">", "abc"]]),
            json!([["remote_addr", "ipmatch", ["10.0.0.0/33"]]]),
        ] {
            assert!(route("vars", vars.clone()).is_err(), "{vars}");
        }
        for (field, value) in [
            ("uris", json!(["/m*x"])),
            ("uris", json!(["/n/*/z"])),
            ("uris", json!(["/a", "/a"])),
            ("uris", json!([])),
            ("hosts", json!([])),
            ("hosts", json!(["a.b:80"])),
            ("hosts", json!(["a.*"])),
            ("hosts", json!(["*"])),
            ("methods", json!(["FOO"])),
            ("name", json!("x".repeat(101))),
            ("labels", json!({"a": "b c"})),
            ("timeout", json!({"connect": 1, "send": 0, "read": 1})),
            ("surprise", json!(1)),
            ("plugins", json!({"cors": {"allow_origins": null}})),
            ("upstream_id", json!(null)),
            ("plugins", json!({"grpc-web": {}})),
        ] {
            assert!(route(field, value.clone()).is_err(), "{field}: {value}");
        }
        let upstream = |nodes: Value| verdict(Kind::Upstream, &json!({"type": "roundrobin", "nodes": nodes}));
        assert_eq!(upstream(json!([])), Ok(()));
        assert_eq!(upstream(json!([{"host": "::1", "port": 1, "weight": 1}])), Ok(()));
        for nodes in [
            json!([{"host": "a", "port": 0, "weight": 1}]),
            json!([{"host": "a", "port": 1, "weight": 0}]),
            json!([{"host": "a", "port": 1, "weight": 1}, {"host": "a", "port": 1, "weight": 2}]),
            json!({"a:1": 1}),
        ] {
            assert!(upstream(nodes.clone()).is_err(), "{nodes}");
        }
        assert!(verdict(Kind::Upstream, &json!({"type": "random", "nodes": []})).is_err());
        assert!(verdict(Kind::Route, &json!([])).is_err());
        let not_json = Object { key: ObjectKey::new(Kind::Route, "id"), value: "init_dir".into() };
        assert!(check(&not_json).is_err());
        let bad_id = Object { key: ObjectKey::new(Kind::Route, "a|b"), value: "{}".into() };
        assert!(check(&bad_id).is_err());
    }
}
