//! A model of how APISIX chooses a route and what the route then does, for tests: written from measurements of a running
//! 3.18 with its default router, rule by rule. What the translator emits is judged by it.
//!
//! Numbers in comments are those of the rules. Regular expressions are run by PCRE, as there.

mod answer;
mod headers;
mod request;
mod vars;

use std::collections::BTreeMap;
use std::net::IpAddr;

use pcre2::bytes::Regex;
use serde_json::Value;

pub use answer::{Answer, answer};
pub use headers::{Headers, request_headers, response_headers};
pub use request::Request;

/// A running instance: its routes in the order that decides between equals.
#[derive(Clone, Debug, Default)]
pub struct Router {
    routes: Vec<(String, Value)>,
}

impl Router {
    /// An instance that was just started: all routes in the order of their keys (8).
    pub fn load(routes: impl IntoIterator<Item = (String, Value)>) -> Self {
        let mut routes: Vec<_> = routes.into_iter().collect();
        routes.sort_by(|a, b| a.0.cmp(&b.0));
        Self { routes }
    }

    /// A route that is written: a new one comes last, another stays where it is (8).
    pub fn put(&mut self, key: &str, route: Value) {
        match self.routes.iter_mut().find(|(other, _)| other == key) {
            Some((_, old)) => *old = route,
            None => self.routes.push((key.to_owned(), route)),
        }
    }

    /// A route that is deleted (8).
    pub fn delete(&mut self, key: &str) {
        self.routes.retain(|(other, _)| other != key);
    }

    /// The key and the route that a request is answered by.
    pub fn choose(&self, request: &Request) -> Option<(&str, &Value)> {
        choose(&self.routes, request).map(|position| (self.routes[position].0.as_str(), &self.routes[position].1))
    }

    /// What becomes of a request.
    pub fn answer(&self, request: &Request) -> Answer {
        if request.path().is_none() {
            return Answer::Status(400);
        }
        self.choose(request).map_or(Answer::Status(404), |(_, route)| answer(route, request))
    }
}

/// Chooses among routes, given with their keys in the order of etcd. The position of the chosen one.
pub fn choose(routes: &[(String, Value)], request: &Request) -> Option<usize> {
    let path = request.path()?;
    let host = request.bare_host();
    // Host tables: the exact name, then suffixes from the longest, then none (9).
    let mut suffixes: Vec<String> = routes
        .iter()
        .flat_map(|(_, route)| hosts(route))
        .filter_map(|h| Some(h.strip_prefix('*')?.to_owned()))
        .collect();
    suffixes.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    suffixes.dedup();
    let of = |name: &str| in_table(routes, request, &path, |route| hosts(route).any(|host| host == name));
    let fitting = suffixes.iter().filter(|suffix| host.ends_with(suffix.as_str()));
    of(&host)
        .or_else(|| fitting.map(|suffix| format!("*{suffix}")).find_map(|name| of(&name)))
        .or_else(|| in_table(routes, request, &path, |route| hosts(route).next().is_none()))
}

/// The hosts of a route, in lower case (5).
fn hosts(route: &Value) -> impl Iterator<Item = String> {
    texts(route, "host", "hosts").map(str::to_ascii_lowercase)
}

/// One text, or a list of them.
fn texts<'a>(route: &'a Value, one: &str, several: &str) -> impl Iterator<Item = &'a str> {
    route[one].as_str().into_iter().chain(route[several].as_array().into_iter().flatten().filter_map(Value::as_str))
}

/// Looks in one host table: the exact path, then prefixes from the longest (10); at each place by priority, length of
/// the pattern and position (7).
fn in_table(routes: &[(String, Value)], request: &Request, path: &[u8], of: impl Fn(&Value) -> bool) -> Option<usize> {
    // Exact or not and length of the literal; then priority, length of the pattern, position and pattern of each there.
    type Places<'a> = BTreeMap<(bool, usize), Vec<(i64, usize, usize, &'a str)>>;
    let mut places = Places::new();
    let served = |route: &Value| route["status"].as_i64() != Some(0);
    for (position, (_, route)) in routes.iter().enumerate().filter(|(_, (_, route))| served(route) && of(route)) {
        let priority = route["priority"].as_i64().unwrap_or(0);
        for uri in texts(route, "uri", "uris") {
            // (6)
            let (exact, literal) = uri.split_once('*').map_or((true, uri), |(prefix, _)| (false, prefix));
            let fits = if exact { literal.as_bytes() == path } else { path.starts_with(literal.as_bytes()) };
            if fits {
                places.entry((exact, literal.len())).or_default().push((priority, uri.len(), position, uri));
            }
        }
    }
    for candidates in places.values_mut().rev() {
        candidates.sort_by_key(|(priority, length, position, _)| (-priority, std::cmp::Reverse(*length), *position));
        let fits = |candidate: &&(i64, usize, usize, &str)| fits(&routes[candidate.2].1, candidate.3, request, path);
        if let Some((_, _, found, _)) = candidates.iter().find(fits) {
            return Some(*found);
        }
    }
    None
}

/// Whether a route that is found at a place takes the request (11).
fn fits(route: &Value, uri: &str, request: &Request, path: &[u8]) -> bool {
    let methods = route["methods"].as_array();
    let method = |methods: &Vec<Value>| methods.is_empty() || methods.iter().any(|method| *method == *request.method);
    let remote = |value: &Value| value.is_null() || vars::ip_match(request.remote(), value);
    methods.is_none_or(method)
        && remote(&route["remote_addr"])
        && remote(&route["remote_addrs"])
        && route["vars"].as_array().is_none_or(|vars| vars.iter().all(|var| vars::holds(var, request)))
        && mid_star(uri, path)
}

/// The rule of a star inside a path: only one that begins a segment means anything, and its neighbours are read as
/// regular expressions (14, 15).
fn mid_star(uri: &str, path: &[u8]) -> bool {
    let segments: Vec<_> = uri.split('/').collect();
    let before_last = segments.len().saturating_sub(1);
    let last_is_plain = segments[..before_last].iter().all(|segment| !segment.starts_with('*'));
    if !segments.iter().any(|segment| segment.starts_with('*')) || (last_is_plain && segments[before_last] == "*") {
        return true;
    }
    let parts = segments.iter().map(|segment| if segment.starts_with('*') { "(?s:.*)" } else { *segment });
    let pattern = format!("^(?:{})$", parts.collect::<Vec<_>>().join("/"));
    Regex::new(&pattern).is_ok_and(|regex| regex.is_match(path).unwrap_or(false))
}

/// Whether an address is in a network, such as `10.0.0.0/8`, or is it.
fn in_network(address: IpAddr, network: &str) -> Option<bool> {
    let (base, length) = network.split_once('/').map_or((network, None), |(base, length)| (base, Some(length)));
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32_u32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let (base, width) = bits(base.parse().ok()?);
    let length = length.map_or(Some(width), |length| length.parse().ok())?;
    let (address, own) = bits(address);
    let rest = 128_u32.checked_sub(length).filter(|_| length <= width)?;
    Some(own == width && (address ^ base).checked_shr(rest).unwrap_or(0) == 0)
}

#[cfg(test)]
mod tests;
