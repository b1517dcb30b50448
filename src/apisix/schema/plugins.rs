//! Configurations of the plugins that are written. APISIX rejects a route whose plugin has a wrong one, and leaves out a
//! plugin that it does not know, so that one that is not listed here does not pass either.

use serde_json::{Map, Value};

use super::{check_host, check_vars};

/// Checks the plugins of an object.
pub(super) fn check(plugins: &Value) -> Result<(), String> {
    let plugins = plugins.as_object().ok_or("plugins: not an object")?;
    plugins.iter().try_for_each(|(name, config)| {
        let config = config.as_object().ok_or_else(|| format!("plugins.{name}: not an object"))?;
        plugin(name, &Config(config)).map_err(|reason| format!("plugins.{name}: {reason}"))
    })
}

struct Config<'a>(&'a Map<String, Value>);

impl<'a> Config<'a> {
    fn get(&self, field: &str) -> Option<&'a Value> {
        self.0.get(field)
    }

    fn needs(&self, field: &str, fits: impl Fn(&Value) -> bool) -> Result<(), String> {
        self.get(field).filter(|value| fits(value)).map(|_| ()).ok_or_else(|| format!("{field}: {:?}", self.get(field)))
    }

    fn may(&self, field: &str, fits: impl Fn(&Value) -> bool) -> Result<(), String> {
        if self.get(field).is_none_or(fits) { Ok(()) } else { Err(format!("{field}: {:?}", self.get(field))) }
    }
}

fn integer(low: i64, high: i64) -> impl Fn(&Value) -> bool {
    move |value| value.as_i64().is_some_and(|number| (low..=high).contains(&number))
}

fn above(low: f64) -> impl Fn(&Value) -> bool {
    move |value| value.as_f64().is_some_and(|number| number > low)
}

fn texts(value: &Value) -> bool {
    value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_string))
}

fn pairs(value: &Value) -> bool {
    texts(value) && value.as_array().is_some_and(|list| list.len().is_multiple_of(2))
}

const HIGHEST: i64 = i64::MAX;

fn plugin(name: &str, config: &Config<'_>) -> Result<(), String> {
    match name {
        "proxy-rewrite" => {
            config.may("uri", |uri| uri.as_str().is_some_and(|uri| uri.starts_with('/')))?;
            config.may("regex_uri", pairs)?;
            config.may("host", |host| host.as_str().is_some_and(is_rewritten_host))?;
            if !["uri", "regex_uri", "host", "headers", "method"].iter().any(|field| config.get(field).is_some()) {
                return Err("nothing is rewritten".into());
            }
            headers(config, false)
        }
        "response-rewrite" => headers(config, true),
        "fault-injection" => fault_injection(config),
        "mocking" => {
            config.needs("response_example", Value::is_string)?;
            config.may("response_status", integer(200, 599))
        }
        "redirect" => {
            config.may("uri", |uri| uri.as_str().is_some_and(|uri| uri.len() > 1))?;
            // A variable in the replacement rejects the route.
            let plain = |value: &Value| value.as_str().is_some_and(|text| !names_a_variable(text));
            config.may("regex_uri", |value| {
                pairs(value) && value.as_array().is_some_and(|list| list.iter().skip(1).step_by(2).all(plain))
            })?;
            config.may("ret_code", integer(200, 999))?;
            match (config.get("uri").is_some(), config.get("regex_uri").is_some()) {
                (true, false) | (false, true) => Ok(()),
                _ => Err("one of uri and regex_uri".into()),
            }
        }
        "traffic-split" => config.needs("rules", |rules| rules.as_array().is_some_and(|rules| rules.iter().all(split))),
        "cors" => cors(config),
        "limit-count" => {
            config.needs("count", integer(1, HIGHEST))?;
            config.needs("time_window", integer(1, HIGHEST))?;
            config.may("rejected_code", integer(200, 599))
        }
        "limit-req" => {
            config.needs("rate", above(0.0))?;
            config.needs("burst", integer(0, HIGHEST))?;
            config.needs("key", Value::is_string)?;
            config.may("rejected_code", integer(200, 599))
        }
        "limit-conn" => {
            config.needs("conn", integer(1, HIGHEST))?;
            config.needs("burst", integer(0, HIGHEST))?;
            config.needs("default_conn_delay", above(0.0))?;
            config.needs("key", Value::is_string)?;
            config.may("rejected_code", integer(200, 599))
        }
        "proxy-mirror" => {
            config.needs("host", |host| host.as_str().is_some_and(is_mirror))?;
            config.may("sample_ratio", |share| share.as_f64().is_some_and(|share| (0.000_01..=1.0).contains(&share)))
        }
        "openid-connect" => token(config),
        "forward-auth" => {
            config.needs("uri", |uri| uri.as_str().is_some_and(|uri| uri.starts_with("http")))?;
            config.may("timeout", integer(1, 60_000))?;
            config.may("status_on_error", integer(200, 599))?;
            // Without an answer nothing passes.
            config.may("allow_degradation", |allow| *allow == false)
        }
        "grpc-web" => config.may("cors_allow_headers", Value::is_string),
        "client-control" => config.needs("max_body_size", integer(0, HIGHEST)),
        "gzip" | "brotli" => {
            config.needs("types", texts)?;
            config.may("min_length", integer(1, HIGHEST))
        }
        _ => Err("not a plugin that is known here".into()),
    }
}

/// A check of bearer tokens as APISIX 3.18 takes it, and none that lets tokens pass unchecked.
fn token(config: &Config<'_>) -> Result<(), String> {
    config.needs("client_id", Value::is_string)?;
    config.needs("discovery", Value::is_string)?;
    config.needs("bearer_only", |bearer| *bearer == true)?;
    config.needs("accept_none_alg", |accept| *accept == false)?;
    config.needs("accept_unsupported_alg", |accept| *accept == false)?;
    let issuers = |validator: &Value| texts(&validator["issuer"]["valid_issuers"]);
    config.needs("claim_validator", issuers)?;
    match (config.get("public_key"), config.get("use_jwks")) {
        (Some(key), None) if key.is_string() => config.needs("token_signing_alg_values_expected", Value::is_string),
        (None, Some(Value::Bool(true))) => config.may("jwk_expires_in", integer(1, HIGHEST)),
        _ => Err("one of public_key and use_jwks".into()),
    }
}

fn is_rewritten_host(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    check_host(name).is_ok() && !name.contains(['_', '*'])
}

/// Whether all versions of APISIX mirror to it.
fn is_mirror(url: &str) -> bool {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
}

/// Whether there is a variable other than a capture.
fn names_a_variable(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('$') {
        let name = after.strip_prefix('{').unwrap_or(after);
        if let Some(escaped) = after.strip_prefix('$') {
            rest = escaped;
            continue;
        }
        if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return true;
        }
        rest = after;
    }
    false
}

fn headers(config: &Config<'_>, response: bool) -> Result<(), String> {
    let Some(headers) = config.get("headers") else { return Ok(()) };
    let headers = headers.as_object().ok_or("headers: not an object")?;
    for (way, list) in headers {
        let fits = match (way.as_str(), response) {
            ("remove", _) => texts(list),
            // `name: value` without another colon or a slash at the end, or the whole route is lost.
            ("add", true) => list.as_array().is_some_and(|list| {
                list.iter().all(|line| {
                    let parts = line.as_str().and_then(|line| line.split_once(": "));
                    parts.is_some_and(|(_, value)| !value.contains(':') && !value.ends_with('/'))
                })
            }),
            // An empty value removes the header.
            ("add" | "set", _) => list
                .as_object()
                .is_some_and(|list| list.values().all(|value| value.as_str().is_some_and(|value| !value.is_empty()))),
            _ => false,
        };
        if !fits {
            return Err(format!("headers.{way}: {list}"));
        }
    }
    Ok(())
}

fn fault_injection(config: &Config<'_>) -> Result<(), String> {
    let part =
        |name: &str| config.get(name).map(|part| part.as_object().ok_or_else(|| format!("{name}: not an object")));
    for part in [part("abort"), part("delay")].into_iter().flatten() {
        let part = Config(part?);
        part.may("percentage", integer(0, 100))?;
        for vars in part.get("vars").and_then(Value::as_array).into_iter().flatten() {
            check_vars(vars)?;
        }
    }
    match (part("abort").transpose()?, part("delay").transpose()?) {
        (None, None) => return Err("neither abort nor delay".into()),
        (abort, delay) => {
            if let Some(abort) = abort {
                Config(abort).needs("http_status", integer(200, 999))?;
                // Without one APISIX sends a page of its web server.
                Config(abort).needs("body", Value::is_string)?;
            }
            if let Some(delay) = delay {
                Config(delay).needs("duration", |value| value.as_f64().is_some_and(|seconds| seconds >= 0.0))?;
            }
        }
    }
    Ok(())
}

/// A rule that splits requests among one to twenty upstreams, each named and with a weight.
fn split(rule: &Value) -> bool {
    let entry = |entry: &Value| entry["upstream_id"].is_string() && integer(1, HIGHEST)(&entry["weight"]);
    let fits = |list: &Vec<Value>| (1..=20).contains(&list.len()) && list.iter().all(entry);
    rule["weighted_upstreams"].as_array().is_some_and(fits)
}

fn cors(config: &Config<'_>) -> Result<(), String> {
    config.may("max_age", Value::is_i64)?;
    config.may("allow_origins_by_regex", texts)?;
    let all = ["allow_origins", "allow_methods", "allow_headers", "expose_headers"];
    let star = |field: &&str| config.get(field).is_some_and(|value| value == "*");
    if config.get("allow_credential") == Some(&Value::Bool(true))
        && let Some(field) = all.iter().find(|field| star(field))
    {
        return Err(format!("{field}: a star together with credentials"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn plugins_that_apisix_would_reject_or_leave_out_do_not_pass() {
        let check = |name: &str, config: serde_json::Value| super::check(&json!({ name: config }));
        for (name, config) in [
            ("fault-injection", json!({"abort": {"http_status": 403, "body": ""}})),
            ("fault-injection", json!({"delay": {"duration": 0.4, "percentage": 5, "vars": [[["arg_a", "==", "1"]]]}})),
            ("mocking", json!({"response_example": "", "response_status": 200})),
            ("redirect", json!({"uri": "https://$http_host$real_request_uri", "ret_code": 301})),
            ("redirect", json!({"regex_uri": ["^/a(.*)", "https://h/$1"]})),
            ("proxy-rewrite", json!({"host": "a.test:8080", "headers": {"set": {"x": "v"}, "remove": ["y"]}})),
            ("response-rewrite", json!({"headers": {"add": ["x: v"]}})),
            ("traffic-split", json!({"rules": [{"weighted_upstreams": [{"upstream_id": "a", "weight": 1}]}]})),
            ("limit-count", json!({"count": 1, "time_window": 60, "rejected_code": 429})),
            ("limit-conn", json!({"conn": 1, "burst": 0, "default_conn_delay": 0.1, "key": "hostname"})),
            ("proxy-mirror", json!({"host": "https://a.test:8443", "sample_ratio": 0.5})),
            ("gzip", json!({"types": ["text/html"], "min_length": 30})),
        ] {
            assert_eq!(check(name, config.clone()), Ok(()), "{name}: {config}");
        }
        for (name, config) in [
            ("ldap-auth", json!({})),
            ("fault-injection", json!({"abort": {"http_status": 100, "body": ""}})),
            ("fault-injection", json!({"abort": {"http_status": 403}})),
            (
                "fault-injection",
                json!({"abort": {"http_status": 403, "body": "", "vars": [[["NOT", ["a", "==", "1"]]]]}}),
            ),
            ("fault-injection", json!({})),
            ("redirect", json!({"uri": "/"})),
            ("redirect", json!({"regex_uri": ["^/a(.*)", "https://$host/$1"]})),
            ("redirect", json!({})),
            ("proxy-rewrite", json!({"host": "a_b.test"})),
            ("proxy-rewrite", json!({"host": "$http_x"})),
            ("proxy-rewrite", json!({})),
            ("proxy-rewrite", json!({"headers": {"set": {"x": ""}}})),
            ("response-rewrite", json!({"headers": {"add": ["Set-Cookie: a=b; Path=/"]}})),
            ("response-rewrite", json!({"headers": {"add": ["x: http://a"]}})),
            ("traffic-split", json!({"rules": [{"weighted_upstreams": [{"upstream_id": "a", "weight": 0}]}]})),
            ("traffic-split", json!({"rules": [{"weighted_upstreams": []}]})),
            ("cors", json!({"allow_credential": true, "allow_methods": "*"})),
            ("limit-count", json!({"count": 0, "time_window": 60})),
            ("limit-req", json!({"rate": 0, "burst": 1, "key": "route_id"})),
            ("limit-conn", json!({"conn": 0, "burst": 0, "default_conn_delay": 0.1, "key": "hostname"})),
            ("mocking", json!({"response_status": 200})),
            ("proxy-mirror", json!({"host": "grpc://a.test:8443"})),
            ("proxy-mirror", json!({"host": "http://[::1]:80"})),
            ("proxy-mirror", json!({"host": "http://a.test", "sample_ratio": 0})),
        ] {
            assert!(check(name, config.clone()).is_err(), "{name}: {config}");
        }
    }
}
