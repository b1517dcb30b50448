//! A model of how APISIX chooses a route, for tests: written from measurements of a running 3.18 with its default
//! router, rule by rule. What the translator emits is judged by it.

use std::collections::BTreeMap;

use regex::bytes::RegexBuilder;
use serde_json::Value;

/// A request, as it is on the wire.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The Host header.
    pub host: String,
    /// Path and query.
    pub target: String,
    /// The other headers.
    pub headers: Vec<(String, String)>,
    /// The port that it came to.
    pub port: u16,
}

/// The value of a variable: text, or true for an argument without a value.
#[derive(Clone, Debug, PartialEq)]
enum Var {
    Text(Vec<u8>),
    True,
}

/// Chooses among routes, given with their keys in the order of etcd. The position of the chosen one.
pub fn choose(routes: &[(String, Value)], request: &Request) -> Option<usize> {
    let (path, _) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let path = normalised(path)?;
    let host = bare_host(&request.host);
    // Host tables: the exact name, then suffixes from the longest, then none.
    let mut suffixes: Vec<&str> =
        routes.iter().flat_map(|(_, route)| hosts(route)).filter_map(|host| host.strip_prefix('*')).collect();
    suffixes.sort_by_key(|suffix| std::cmp::Reverse(suffix.len()));
    suffixes.dedup();
    let exact = |route: &Value| hosts(route).any(|name| name.eq_ignore_ascii_case(&host));
    if let Some(found) = in_table(routes, request, &path, exact) {
        return Some(found);
    }
    for suffix in suffixes.into_iter().filter(|suffix| host.ends_with(*suffix)) {
        let of = |route: &Value| hosts(route).any(|name| name.strip_prefix('*') == Some(suffix));
        if let Some(found) = in_table(routes, request, &path, of) {
            return Some(found);
        }
    }
    in_table(routes, request, &path, |route| hosts(route).next().is_none())
}

fn hosts(route: &Value) -> impl Iterator<Item = &str> {
    route["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Looks in one host table: the exact path, then prefixes from the longest; by priority at each place.
fn in_table(routes: &[(String, Value)], request: &Request, path: &[u8], of: impl Fn(&Value) -> bool) -> Option<usize> {
    // Exact or not and length of the literal; then priority, length of the pattern and position of each route there.
    type Places = BTreeMap<(bool, usize), Vec<(i64, usize, usize)>>;
    let mut places = Places::new();
    for (position, (_, route)) in routes.iter().enumerate().filter(|(_, (_, route))| of(route)) {
        let priority = route["priority"].as_i64().unwrap_or(0);
        for uri in route["uris"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let (exact, literal) = match uri.split_once('*') {
                None => (true, uri),
                Some((prefix, _)) => (false, prefix),
            };
            let fits = if exact { literal.as_bytes() == path } else { path.starts_with(literal.as_bytes()) };
            if fits {
                places.entry((exact, literal.len())).or_default().push((priority, uri.len(), position));
            }
        }
    }
    for candidates in places.values_mut().rev() {
        candidates.sort_by_key(|(priority, length, position)| (-priority, std::cmp::Reverse(*length), *position));
        if let Some((_, _, found)) =
            candidates.iter().find(|(_, _, position)| fits(&routes[*position].1, request, path))
        {
            return Some(*found);
        }
    }
    None
}

fn fits(route: &Value, request: &Request, path: &[u8]) -> bool {
    let methods = route["methods"].as_array();
    methods.is_none_or(|methods| methods.is_empty() || methods.iter().any(|method| *method == request.method.as_str()))
        && route["vars"].as_array().is_none_or(|vars| vars.iter().all(|var| holds(var, request, path)))
}

fn holds(condition: &Value, request: &Request, path: &[u8]) -> bool {
    let items = condition.as_array().map(Vec::as_slice).unwrap_or_default();
    let operands = || items[1..].iter().map(|item| holds(item, request, path));
    match items.first().and_then(Value::as_str).unwrap_or_default() {
        "AND" => operands().all(|holds| holds),
        "OR" => operands().any(|holds| holds),
        "!AND" => !operands().all(|holds| holds),
        "!OR" => !operands().any(|holds| holds),
        name => match items {
            [_, op, value] => compare(variable(name, request, path).as_ref(), op.as_str().unwrap_or_default(), value),
            [_, not, op, value] if not == "!" => {
                !compare(variable(name, request, path).as_ref(), op.as_str().unwrap_or_default(), value)
            }
            _ => false,
        },
    }
}

fn compare(var: Option<&Var>, op: &str, value: &Value) -> bool {
    let number = || match var {
        Some(Var::Text(text)) => std::str::from_utf8(text).ok()?.trim().parse::<f64>().ok(),
        Some(Var::True) | None => None,
    };
    let target = || value.as_f64().or_else(|| value.as_str()?.parse().ok());
    match op {
        "==" => match (var, value) {
            (None, Value::Null) | (Some(Var::True), Value::Bool(true)) => true,
            (Some(Var::Text(text)), Value::String(value)) => text == value.as_bytes(),
            (Some(Var::Text(_)), Value::Number(value)) => number() == value.as_f64(),
            _ => false,
        },
        "~=" => !compare(var, "==", value),
        ">=" => number().zip(target()).is_some_and(|(a, b)| a >= b),
        "<" => number().zip(target()).is_some_and(|(a, b)| a < b),
        "ipmatch" => match var {
            Some(Var::Text(text)) => {
                value.as_array().is_some_and(|ranges| ranges.iter().any(|range| within(text, range)))
            }
            Some(Var::True) | None => false,
        },
        "in" => value.as_array().is_some_and(|list| list.iter().any(|item| compare(var, "==", item))),
        "~~" | "~*" => {
            let text = match var {
                None => return false,
                Some(Var::True) => b"true".as_slice(),
                Some(Var::Text(text)) => text,
            };
            let pattern = value.as_str().unwrap_or_default();
            let unicode = pattern.starts_with("(*UTF)");
            if unicode && std::str::from_utf8(text).is_err() {
                return false;
            }
            let regex = RegexBuilder::new(pattern.trim_start_matches("(*UTF)")).case_insensitive(op == "~*").build();
            regex.is_ok_and(|regex| regex.is_match(text))
        }
        _ => false,
    }
}

/// Whether an address is within a range.
fn within(text: &[u8], range: &Value) -> bool {
    let bits = |text: &str| match text.parse().ok()? {
        std::net::IpAddr::V4(address) => Some((u128::from(u32::from(address)) << 96, 32)),
        std::net::IpAddr::V6(address) => Some((u128::from(address), 128)),
    };
    let range = range.as_str().unwrap_or_default();
    let (network, length) = range.split_once('/').map_or((range, None), |(network, length)| (network, Some(length)));
    let address = std::str::from_utf8(text).ok().and_then(bits);
    let (Some((address, size)), Some((network, of))) = (address, bits(network)) else { return false };
    let length: u32 = length.and_then(|length| length.parse().ok()).unwrap_or(of);
    size == of && (length == 0 || (address ^ network) >> (128 - length) == 0)
}

fn variable(name: &str, request: &Request, path: &[u8]) -> Option<Var> {
    let text = |text: &str| Some(Var::Text(text.as_bytes().to_vec()));
    match name {
        "uri" => Some(Var::Text(path.to_vec())),
        "real_request_uri" => text(&request.target),
        "request_method" => text(&request.method),
        "host" => text(&bare_host(&request.host)),
        "http_host" => text(&request.host),
        "server_port" => text(&request.port.to_string()),
        "scheme" => text("http"),
        "remote_addr" => text("127.0.0.1"),
        _ if name.starts_with("arg_") => argument(&name[4..], &request.target),
        _ => {
            let wanted = name.strip_prefix("http_")?;
            let same = |header: &str| header.to_ascii_lowercase().replace('-', "_") == wanted.replace('-', "_");
            let values: Vec<_> =
                request.headers.iter().filter(|(header, _)| same(header)).map(|(_, value)| value.as_str()).collect();
            (!values.is_empty()).then(|| Var::Text(values.join(", ").into_bytes()))
        }
    }
}

/// The first argument of a name; true if it has no equals sign.
fn argument(name: &str, target: &str) -> Option<Var> {
    let (_, query) = target.split_once('?')?;
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').map_or((pair, None), |(key, value)| (key, Some(value)));
        (decoded(key) == name.as_bytes())
            .then(|| value.map_or(Var::True, |value| Var::Text(decoded(&value.replace('+', " ")))))
    })
}

fn bare_host(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let end = if host.starts_with('[') {
        host.find(']').map_or(host.len(), |end| end + 1)
    } else {
        host.find(':').unwrap_or(host.len())
    };
    host[..end].trim_end_matches('.').to_owned()
}

fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut rest = bytes.clone();
        let hex = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match (byte, hex(rest.next()), hex(rest.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                bytes = rest;
            }
            _ => out.push(byte),
        }
    }
    out
}

/// The path as APISIX looks at it: decoded, slashes merged, dots resolved. None for one that it answers 400.
fn normalised(path: &str) -> Option<Vec<u8>> {
    let path = decoded(path);
    let mut segments: Vec<&[u8]> = Vec::new();
    let all: Vec<_> = path.split(|byte| *byte == b'/').skip(1).collect();
    for (position, segment) in all.iter().enumerate() {
        let last = position + 1 == all.len();
        match *segment {
            b"" | b"." if !last => {}
            b".." => {
                segments.pop()?;
                if last {
                    segments.push(b"");
                }
            }
            b"." => segments.push(b""),
            other => segments.push(other),
        }
    }
    Some([b"/".as_slice(), &segments.join(b"/".as_slice())].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn routes(list: Vec<Value>) -> Vec<(String, Value)> {
        list.into_iter().map(|route| (route["id"].as_str().unwrap_or_default().to_owned(), route)).collect()
    }

    fn chosen<'a>(routes: &'a [(String, Value)], host: &str, target: &str) -> &'a str {
        let request = Request { method: "GET".into(), host: host.into(), target: target.into(), ..Request::default() };
        choose(routes, &request).map_or("none", |position| &routes[position].0)
    }

    /// The cases by which the rules were pinned on a running APISIX.
    #[test]
    fn agrees_with_measurements() {
        let by_path = routes(vec![
            json!({"id": "exact", "uris": ["/a/b"], "priority": -5}),
            json!({"id": "ab", "uris": ["/a/b*"]}),
            json!({"id": "a", "uris": ["/a*"], "priority": 100}),
            json!({"id": "all", "uris": ["/*"], "priority": 1000}),
        ]);
        for (path, id) in [("/a/b", "exact"), ("/a/b/c", "ab"), ("/a", "a"), ("/a/c", "a"), ("/z", "all")] {
            assert_eq!(chosen(&by_path, "h", path), id, "{path}");
        }
        let by_host = routes(vec![
            json!({"id": "exact", "uris": ["/e"], "hosts": ["a.foo.com"]}),
            json!({"id": "wild", "uris": ["/w*", "/*"], "hosts": ["*.foo.com"], "priority": -10}),
            json!({"id": "wilder", "uris": ["/*"], "hosts": ["*.b.foo.com"]}),
            json!({"id": "any", "uris": ["/x", "/n*"], "priority": 100}),
        ]);
        for (host, path, id) in [
            ("a.foo.com", "/e", "exact"),
            ("a.foo.com:80", "/e", "exact"),
            ("A.FOO.com", "/e", "exact"),
            ("a.foo.com", "/w1", "wild"),
            ("x.b.foo.com", "/", "wilder"),
            ("y.x.foo.com", "/x", "wild"),
            ("foo.com", "/n", "any"),
            ("foo.com", "/w", "none"),
        ] {
            assert_eq!(chosen(&by_host, host, path), id, "{host}{path}");
        }
        let by_var = routes(vec![
            json!({"id": "false", "uris": ["/a/b"], "vars": [["arg_k", "==", "0"]]}),
            json!({"id": "one", "uris": ["/a/b*"], "priority": 1, "vars": [["arg_k", "==", "1"]]}),
            json!({"id": "two", "uris": ["/a*"], "vars": [["arg_k", "==", "2"]]}),
            json!({"id": "all", "uris": ["/*"]}),
        ]);
        for (target, id) in [("/a/b?k=1", "one"), ("/a/b?k=2", "two"), ("/a/b", "all")] {
            assert_eq!(chosen(&by_var, "h", target), id, "{target}");
        }
        let normal = routes(vec![json!({"id": "s", "uris": ["/s/x/y"]}), json!({"id": "A", "uris": ["/A"]})]);
        for (path, id) in [("/s%2Fx/y", "s"), ("/%41", "A"), ("//A", "A"), ("/b/../A", "A"), ("/../A", "none")] {
            assert_eq!(chosen(&normal, "h", path), id, "{path}");
        }
    }

    #[test]
    fn variables_compare_as_measured() {
        let check = |header: Option<&str>, op: &[&str], value: Value, expected: bool| {
            let headers = header.map(|value| ("x".to_owned(), value.to_owned())).into_iter().collect();
            let request = Request { headers, target: "/?x".into(), ..Request::default() };
            let mut condition = vec![json!("http_x")];
            condition.extend(op.iter().map(|op| json!(op)));
            condition.push(value);
            assert_eq!(holds(&Value::Array(condition.clone()), &request, b"/"), expected, "{header:?} {condition:?}");
        };
        check(None, &["=="], Value::Null, true);
        check(Some(""), &["=="], Value::Null, false);
        check(Some(""), &["~="], Value::Null, true);
        check(None, &["~="], json!("1"), true);
        check(None, &["!", "=="], json!("1"), true);
        check(Some("abc"), &["!", "<"], json!(5), true);
        check(Some("1"), &[">="], json!("1"), true);
        check(Some("abc"), &["~~"], json!("("), false);
        check(Some("abc"), &["!", "~~"], json!("("), true);
        check(Some("1"), &["in"], json!(["1", "abc"]), true);
        let request = Request { target: "/?x".into(), ..Request::default() };
        assert!(holds(&json!(["arg_x", "==", true]), &request, b"/"));
        assert!(!holds(&json!(["arg_x", "==", ""]), &request, b"/"));
        assert!(holds(&json!(["arg_x", "~~", "^true\\z"]), &request, b"/"));
    }
}
