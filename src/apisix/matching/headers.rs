//! What a route changes of headers: those that are added, then those that are set, then those that are removed (measured
//! beside the rules).

use serde_json::Value;

use super::answer::substituted;
use super::request::Request;

/// Names with their values, as they are on the wire.
pub type Headers = Vec<(String, String)>;

/// The headers of a request as the upstream gets them, but for those that APISIX gives each.
pub fn request_headers(route: &Value, request: &Request) -> Headers {
    changed(&route["plugins"]["proxy-rewrite"]["headers"], request, &request.headers)
}

/// The headers of a response as the client gets them, from what the upstream sent.
pub fn response_headers(route: &Value, request: &Request, sent: &[(String, String)]) -> Headers {
    changed(&route["plugins"]["response-rewrite"]["headers"], request, sent)
}

fn changed(plugin: &Value, request: &Request, given: &[(String, String)]) -> Headers {
    let mut headers = given.to_vec();
    let named = |way: &str| plugin[way].as_object().into_iter().flatten();
    let value = |value: &Value| substituted(value.as_str().unwrap_or_default(), request);
    headers.extend(named("add").map(|(name, text)| (name.clone(), value(text))));
    for (name, text) in named("set") {
        headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        // An empty value removes the header.
        headers.extend(Some((name.clone(), value(text))).filter(|(_, value)| !value.is_empty()));
    }
    for name in plugin["remove"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    }
    headers
}
