//! Random meshes and requests, of parts that often meet.

use confcast::apisix::matching::Request;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::{Value, json};

use crate::world::{CLUSTERS, Listener, World};

const HOSTS: [&str; 12] = [
    "a.test",
    "b.test",
    "x.a.test",
    "*.test",
    "*.a.test",
    "*-c.test",
    "a.*",
    "b.test:8080",
    "*",
    "[::1]",
    "127.0.0.1",
    "a.test:PORT",
];
const PATHS: [&str; 12] = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/A", "/a*b", "/b.c", "/x-y", "/a;b", "/d(e)+"];
const VALUES: [&str; 9] = ["1", "abc", "a.c", "ABC", "15", "-3", "a b", "a,b", "\u{e9}"];
const HEADERS: [&str; 4] = ["x-one", "x-two", "user-agent", "x_three"];

fn pick(list: &[&str], random: &mut StdRng) -> String {
    (*list.choose(random).expect("not empty")).to_owned()
}

/// A mesh of one to four listeners on these ports.
pub fn world(random: &mut StdRng, ports: &[u16]) -> World {
    let count = random.random_range(1..=ports.len());
    let listener = |port: &u16| {
        let inline = random.random_bool(0.3);
        let manager = manager(random);
        // What `:path` is compared with is not known to the end where Envoy normalises it.
        let raw = manager["normalize_path"] == false && manager["merge_slashes"] == false;
        Listener { port: *port, manager, inline, routes: routes(random, *port, raw) }
    };
    World { listeners: ports[..count].iter().map(listener).collect() }
}

/// What the connection manager does before routes are looked for.
fn manager(random: &mut StdRng) -> Value {
    let mut manager = json!({});
    for field in ["normalize_path", "merge_slashes"] {
        manager[field] = json!(random.random_bool(0.5));
    }
    match random.random_range(0..5) {
        0 => manager["strip_matching_host_port"] = json!(true),
        1 => manager["strip_any_host_port"] = json!(true),
        _ => {}
    }
    if random.random_bool(0.4) {
        let filter = |name: &str, kind: &str| {
            let config = json!({"@type": format!("type.googleapis.com/envoy.extensions.filters.http.{kind}")});
            json!({"name": name, "typed_config": config})
        };
        manager["http_filters"] = json!([filter("web", "grpc_web.v3.GrpcWeb"), filter("router", "router.v3.Router")]);
    }
    manager
}

fn routes(random: &mut StdRng, port: u16, raw: bool) -> Value {
    let mut hosts = HOSTS.to_vec();
    hosts.shuffle(random);
    let mut virtual_hosts = Vec::new();
    for number in 0..random.random_range(1..5) {
        let domains = hosts.split_off(hosts.len().saturating_sub(random.random_range(1..4)));
        if domains.is_empty() {
            break;
        }
        let domains: Vec<_> = domains.iter().map(|domain| domain.replace("PORT", &port.to_string())).collect();
        let routes: Vec<_> = (0..random.random_range(1..7)).map(|_| route(random, raw)).collect();
        virtual_hosts.push(json!({"name": format!("host{number}"), "domains": domains, "routes": routes}));
    }
    let mut routes = json!({"virtual_hosts": virtual_hosts});
    if random.random_bool(0.3) {
        routes["ignore_port_in_host_matching"] = json!(true);
    }
    routes
}

fn route(random: &mut StdRng, raw: bool) -> Value {
    let mut found = path_match(random);
    if random.random_bool(0.4) {
        found["headers"] = (0..random.random_range(1..3)).map(|_| header(random, raw)).collect();
    }
    if random.random_bool(0.25) {
        let name = pick(&["q", "q", "r", "x-y"], random);
        let matcher = match random.random_range(0..3) {
            0 => json!({"name": name, "present_match": random.random_bool(0.7)}),
            _ => json!({"name": name, "string_match": string_match(random)}),
        };
        found["query_parameters"] = json!([matcher]);
    }
    if random.random_bool(0.1) {
        let mut matcher = json!({"name": pick(&["k", "session"], random), "string_match": string_match(random)});
        if matcher["string_match"].get("safe_regex").is_some() {
            matcher["string_match"] = json!({"exact": "1"});
        }
        if random.random_bool(0.3) {
            matcher["invert_match"] = json!(true);
        }
        found["cookies"] = json!([matcher]);
    }
    if random.random_bool(0.1) {
        let numerator = if random.random_bool(0.7) { 100 } else { 0 };
        found["runtime_fraction"] = json!({"default_value": {"numerator": numerator, "denominator": "HUNDRED"}});
    }
    let (name, action) = action(random, &found);
    json!({"match": found, name: action})
}

fn path_match(random: &mut StdRng) -> Value {
    let path = pick(&PATHS, random);
    let mut found = match random.random_range(0..11) {
        0..=3 => json!({"prefix": path}),
        4..=6 => json!({"path": path}),
        7 => json!({"path_separated_prefix": pick(&["/a", "/a/b", "/x-y"], random)}),
        8 => {
            let regexes = ["/a.*", "/[ab]", "/a/(b|c)", ".*b", "/a/[^/]+", "/a/b( |%20)c", "/\\w+/?", "/a%2[Ff]b"];
            json!({"safe_regex": {"regex": pick(&regexes, random)}})
        }
        9 => {
            let templates = ["/a/*", "/{x}", "/a/{y=**}", "/*/b", "/**.c", "/x-{v}/*", "/a/b/{rest=*/*}"];
            let kind = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig";
            let config = json!({"@type": kind, "path_template": pick(&templates, random)});
            json!({"path_match_policy": {"name": "template", "typed_config": config}})
        }
        _ => json!({"prefix": "/"}),
    };
    if random.random_bool(0.15) && found.get("safe_regex").is_none() && found.get("path_match_policy").is_none() {
        found["case_sensitive"] = json!(false);
    }
    found
}

fn action(random: &mut StdRng, found: &Value) -> (&'static str, Value) {
    match random.random_range(0..12) {
        0 => {
            let mut redirect =
                json!({"host_redirect": "moved.test", "path_redirect": "/there", "response_code": "FOUND"});
            if random.random_bool(0.3) {
                redirect["strip_query"] = json!(true);
            }
            ("redirect", redirect)
        }
        1 => ("redirect", json!({"https_redirect": true})),
        2 => {
            let code = pick(&["SEE_OTHER", "TEMPORARY_REDIRECT", "PERMANENT_REDIRECT"], random);
            let parts =
                [json!({"host_redirect": "h.test"}), json!({"port_redirect": 8443, "scheme_redirect": "https"})];
            let mut redirect = parts.choose(random).expect("some").clone();
            redirect["response_code"] = json!(code);
            ("redirect", redirect)
        }
        // To an answer of its own from 300 to 399 Envoy adds the address that was asked for, which is no redirect.
        3 => ("direct_response", json!({"status": random.random_range(400..600)})),
        4 => {
            let clusters =
                json!([{"name": "red", "weight": 1}, {"name": "green", "weight": 0}, {"name": "blue", "weight": 2}]);
            ("route", json!({"weighted_clusters": {"clusters": clusters}}))
        }
        5 if found.get("safe_regex").is_none() && found.get("path_match_policy").is_none() => {
            let to = pick(&["/new", "/", "/new/"], random);
            ("route", json!({"cluster": "gray", "prefix_rewrite": to}))
        }
        6 => {
            let pattern = json!({"regex": pick(&["^/a/(.*)$", "b", "^/([^/]+)"], random)});
            let by = json!({"pattern": pattern, "substitution": pick(&["/n/\\1x", "/\\0", "/lit"], random).replace("\\1x", "x")});
            ("route", json!({"cluster": "gray", "regex_rewrite": by}))
        }
        7 => ("route", json!({"cluster": "blue", "host_rewrite_literal": "up.test"})),
        _ => ("route", json!({"cluster": pick(&CLUSTERS, random)})),
    }
}

fn string_match(random: &mut StdRng) -> Value {
    let value = pick(&VALUES, random);
    let mut matcher = match random.random_range(0..5) {
        0 => json!({"exact": value}),
        1 => json!({"prefix": value}),
        2 => json!({"suffix": value}),
        3 => json!({"contains": value}),
        _ => return json!({"safe_regex": {"regex": pick(&["[0-9]+", "a.c", "(abc|1)", "a.*"], random)}}),
    };
    if random.random_bool(0.3) {
        matcher["ignore_case"] = json!(true);
    }
    matcher
}

fn header(random: &mut StdRng, raw: bool) -> Value {
    let name = pick(&HEADERS, random);
    let mut matcher = match random.random_range(0..7) {
        0 => json!({"name": name, "present_match": random.random_bool(0.5)}),
        1 => json!({"name": name, "range_match": {"start": -5, "end": 16}}),
        2 => return json!({"name": ":method", "string_match": {"exact": pick(&["GET", "POST"], random)}}),
        3 if raw => json!({"name": ":path", "string_match": {"prefix": pick(&["/a", "/a/", "/%61"], random)}}),
        _ => json!({"name": name, "string_match": string_match(random)}),
    };
    if random.random_bool(0.3) {
        matcher["invert_match"] = json!(true);
    }
    if random.random_bool(0.2) && matcher.get("string_match").is_some() {
        matcher["treat_missing_header_as_empty"] = json!(true);
    }
    matcher
}

/// A request to a listener, more often than not for a host that it has.
pub fn request(random: &mut StdRng, world: &World, port: u16) -> Request {
    let hosts = [
        "a.test",
        "b.test",
        "x.a.test",
        "y.x.a.test",
        "z-c.test",
        "-c.test",
        "a.other",
        "c",
        "b.test:8080",
        "A.Test",
        "a.test:8080",
        "a.test:PORT",
        "b.test:PORT",
        "[::1]:PORT",
        "127.0.0.1:PORT",
        "[::1]",
    ];
    let queries = [
        "",
        "",
        "",
        "?q",
        "?q=",
        "?q=1",
        "?q=abc",
        "?q=ABC",
        "?r=1&q=a.c",
        "?q=1&q=abc",
        "?x-y=15",
        "?q=a%20b",
        "?%71=1&q=abc",
        "?&q=1",
        "?q&q=1",
        "?qq=1",
    ];
    let paths = [
        "/", "/a", "/a/", "/a/b", "/ab", "/a/b/c/d", "/A", "/a*b", "/b.c", "/bxc", "/x-y/z", "/A/B", "/a;b", "/d(e)+",
        "/a/b?", "/word", "/x-1=2/y",
    ];
    // Paths that nginx changes before APISIX sees them, and Envoy if it is told to.
    let odd = [
        "//a", "/a//b", "/%61", "/a%2Fb", "/%2Fa/b", "/a/./b", "/a/%2e/b", "/a%20b", "/a/b%20c", "/%41/", "/%62.c",
        "/a/b%3Fc", "/%C3%A9", "/a/b//",
    ];
    let path = if random.random_bool(0.3) { pick(&odd, random) } else { pick(&paths, random) };
    let mut headers = Vec::new();
    for name in ["x-one", "X-Two", "User-Agent"] {
        if random.random_bool(0.5) {
            let value = if random.random_bool(0.1) { String::new() } else { pick(&VALUES, random) };
            headers.push((name.to_owned(), value));
        }
    }
    if random.random_bool(0.3) {
        let cookies = [
            "k=1",
            "k=abc; session=1",
            "session=a.c; k=ABC",
            "k=1; k=abc",
            "k",
            "k=; x=1",
            "other=1;k=15",
            "K=1",
            "k=\"1\"",
            "x=1;  k=1",
        ];
        headers.push(("Cookie".to_owned(), pick(&cookies, random)));
    }
    if random.random_bool(0.3) {
        let kinds = ["application/grpc-web", "application/grpc-web-text+proto", "application/grpc-web+json", "text/x"];
        headers.push(("Content-Type".to_owned(), pick(&kinds, random)));
    }
    let query = if path.ends_with('?') { String::new() } else { pick(&queries, random) };
    let routes = &world.listeners.iter().find(|listener| listener.port == port).expect("a listener").routes;
    let known: Vec<_> = routes["virtual_hosts"].as_array().into_iter().flatten().collect();
    let known: Vec<_> =
        known.iter().filter_map(|host| host["domains"].as_array()).flatten().filter_map(Value::as_str).collect();
    let host = match known.choose(random) {
        Some(known) if random.random_bool(0.6) => known.replace('*', &pick(&["a", "b.test", "x.y"], random)),
        _ => pick(&hosts, random).replace("PORT", &port.to_string()),
    };
    Request {
        method: pick(&["GET", "GET", "POST"], random),
        host,
        target: path + &query,
        headers,
        port,
        ..Request::default()
    }
}
