//! What a route does with a request: the plugins that answer, change the path or choose the upstream, in the order in
//! which APISIX runs them.

use std::sync::LazyLock;

use pcre2::bytes::Regex;
use serde_json::Value;

use super::request::{Request, Var};
use super::vars;

/// A variable in a text, also with what stands for one that is not there.
static VARIABLES: LazyLock<regex::Regex> = LazyLock::new(|| known(r"\$(?:\{(\w+)(?:\s*\?\?\s*([^}]*))?\}|(\w+))"));

/// What stands for a group, or a dollar sign, in a replacement.
static GROUPS: LazyLock<regex::Regex> = LazyLock::new(|| known(r"\$(?:\$|(\d)|\{(\d)\})"));

fn known(pattern: &str) -> regex::Regex {
    regex::Regex::new(pattern).expect("a valid expression")
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It goes to one of these upstreams, by their weights.
    Upstream {
        /// Ids of the upstreams.
        ids: Vec<String>,
        /// Path and query as the upstream gets them.
        target: String,
        /// Host as the upstream gets it, unless the upstream says otherwise.
        host: String,
    },
    /// It is sent elsewhere.
    Redirect {
        /// Status of the answer.
        status: u16,
        /// Where to.
        location: String,
    },
    /// The gateway answers by itself.
    Status(u16),
}

/// What a route does with a request that it takes.
pub fn answer(route: &Value, request: &Request) -> Answer {
    let plugins = &route["plugins"];
    let abort = &plugins["fault-injection"]["abort"];
    if !abort.is_null() && abort["percentage"].as_u64() != Some(0) && any_of(&abort["vars"], request) {
        return Answer::Status(status(&abort["http_status"], 500));
    }
    if let Some(mocking) = plugins.get("mocking") {
        return Answer::Status(status(&mocking["response_status"], 200));
    }
    let path = request.path().unwrap_or_default();
    let (target, host) = rewritten(&plugins["proxy-rewrite"], &path, request);
    if let Some(answer) = plugins.get("redirect").and_then(|redirect| redirected(redirect, &path, request)) {
        return answer;
    }
    if plugins.get("grpc-web").is_some()
        && let Some(refusal) = refused_web(request)
    {
        return Answer::Status(refusal);
    }
    let ids = split(&plugins["traffic-split"], request)
        .or_else(|| route["upstream_id"].as_str().map(|id| vec![id.to_owned()]));
    // Without an upstream a request that no plugin answers fails.
    ids.map_or(Answer::Status(502), |ids| Answer::Upstream { ids, target, host })
}

/// The status by which `grpc-web` answers what is no call in the form of gRPC-Web.
fn refused_web(request: &Request) -> Option<u16> {
    let Some(Var::Text(kind)) = request.variable("http_content_type") else { return Some(400) };
    let kind = kind.strip_prefix(b"application/grpc-web").map(|rest| rest.strip_prefix(b"-text").unwrap_or(rest));
    match (request.method.as_str(), kind) {
        ("OPTIONS", _) => Some(204),
        ("POST", Some(b"" | b"+proto")) => None,
        ("POST", _) => Some(400),
        _ => Some(405),
    }
}

fn status(value: &Value, default: u16) -> u16 {
    value.as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(default)
}

/// Lists of conditions of which one must hold; none means always.
fn any_of(lists: &Value, request: &Request) -> bool {
    lists.as_array().is_none_or(|lists| lists.is_empty() || lists.iter().any(|list| vars::holds(list, request)))
}

/// Upstreams of the first rule that matches, without those of weight zero.
fn split(plugin: &Value, request: &Request) -> Option<Vec<String>> {
    let rules = plugin["rules"].as_array()?;
    let matches = |rule: &&Value| match rule["match"].as_array() {
        Some(list) => list.iter().any(|entry| any_of(&Value::from(vec![entry["vars"].clone()]), request)),
        None => true,
    };
    let entries = rules.iter().find(matches)?["weighted_upstreams"].as_array()?;
    let chosen = entries.iter().filter(|entry| entry["weight"].as_u64() != Some(0));
    Some(chosen.filter_map(|entry| Some(entry["upstream_id"].as_str()?.to_owned())).collect())
}

/// Path with query, and host, as the upstream gets them. Without the plugin both are as they were sent.
fn rewritten(plugin: &Value, path: &[u8], request: &Request) -> (String, String) {
    let host = plugin["host"].as_str().unwrap_or(&request.host).to_owned();
    if plugin.is_null() || plugin["use_real_request_uri_unsafe"] == true {
        return (request.target.clone(), host);
    }
    let path = match (&plugin["uri"], plugin["regex_uri"].as_array()) {
        (Value::String(uri), _) => substituted(uri, request).into_bytes(),
        (_, Some(pairs)) => pairs.chunks(2).find_map(|pair| replaced(pair, path)).unwrap_or_else(|| path.to_vec()),
        _ => path.to_vec(),
    };
    let mut target = encoded(&path);
    if let Some(query) = request.query().filter(|query| !query.is_empty()) {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(query);
    }
    (target, host)
}

/// The path with the first match of a regular expression replaced; none if there is none.
fn replaced(pair: &[Value], path: &[u8]) -> Option<Vec<u8>> {
    let [Value::String(pattern), Value::String(replacement)] = pair else { return None };
    let captures = Regex::new(pattern).ok()?.captures(path).ok()??;
    // `$1` ends at the digit, and a dollar sign is written twice.
    let value = |found: &regex::Captures<'_>| match found.get(1).or_else(|| found.get(2)) {
        Some(number) => {
            let group = number.as_str().parse().ok().and_then(|number| captures.get(number));
            String::from_utf8_lossy(group.map_or(b"", |group| group.as_bytes())).into_owned()
        }
        None => "$".into(),
    };
    let whole = captures.get(0)?;
    let replacement = GROUPS.replace_all(replacement, value);
    Some([&path[..whole.start()], replacement.as_bytes(), &path[whole.end()..]].concat())
}

/// The answer of `redirect`; none if its regular expression finds nothing.
fn redirected(plugin: &Value, path: &[u8], request: &Request) -> Option<Answer> {
    let mut location = if let Some(uri) = plugin["uri"].as_str() {
        substituted(uri, request)
    } else {
        let location = replaced(plugin["regex_uri"].as_array()?, path)?;
        if plugin["encode_uri"] == true { encoded(&location) } else { String::from_utf8_lossy(&location).into() }
    };
    if let Some(query) = request.query().filter(|_| plugin["append_query_string"] == true) {
        location.push(if location.contains('?') { '&' } else { '?' });
        location.push_str(query);
    }
    Some(Answer::Redirect { status: status(&plugin["ret_code"], 302), location })
}

/// Text with `$name` and `${name}` replaced by the variables; one that is not known is empty.
pub(super) fn substituted(text: &str, request: &Request) -> String {
    let value = |found: &regex::Captures<'_>| {
        let name = found.get(1).or_else(|| found.get(3)).map_or("", |name| name.as_str());
        match request.variable(name) {
            Some(Var::Text(text)) => String::from_utf8_lossy(&text).into_owned(),
            Some(Var::True) => "true".into(),
            None => found.get(2).map_or("", |default| default.as_str()).to_owned(),
        }
    };
    VARIABLES.replace_all(text, value).into_owned()
}

/// A path as nginx writes it: what may not stand in an address is escaped.
fn encoded(path: &[u8]) -> String {
    let mut out = String::new();
    for byte in path {
        match byte {
            0..=32 | 127..=255 | b'"' | b'#' | b'%' | b'<' | b'>' | b'?' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
                let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
                out.extend(['%', digit(byte >> 4), digit(*byte)]);
            }
            plain => out.push(char::from(*plain)),
        }
    }
    out
}
