//! The real Envoy: as a client that finds our test control plane in order, and as the judge of the translation.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::collections::BTreeMap;

use confcast::apisix::Kind;
use confcast::apisix::matching::{self, Request};
use confcast::envoy::Resource;
use confcast::testing::ads::{AdsServer, Habits};
use confcast::testing::mesh;
use confcast::translate::{Options, ids, translate_all};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use support::envoy::{Envoy, ask, free_port};
use support::{program, until};

#[tokio::test(flavor = "multi_thread")]
async fn envoy_accepts_what_the_test_control_plane_sends() {
    let Some(binary) = program("CONFCAST_ENVOY", "envoy") else { return };
    for (delta, habits) in [
        (true, Habits::NONE),
        (true, Habits::ISTIO),
        (true, Habits::CONSUL),
        (false, Habits::NONE),
        (false, Habits { waits_for_all: false, ..Habits::GO_CONTROL_PLANE }),
    ] {
        let server = AdsServer::start(habits).await;
        let port = free_port();
        let world = |name: &str| {
            let routes = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": name}}}]);
            vec![
                mesh::eds_cluster("a"),
                mesh::endpoints("a", &[1]),
                mesh::listener("http", port, "routes"),
                mesh::routes("routes", &routes),
            ]
        };
        server.set(world("first"));
        let envoy = Envoy::start(&binary, server.port(), delta);
        let answers = |expected: &str| ask(port, "GET", "a", "/", &[]).is_some_and(|answer| answer.text() == expected);
        until("serving", || answers("first"));
        server.set(world("second"));
        until("updated", || answers("second"));
        server.cut();
        // Else the third may still go out on the first stream.
        until("connected anew", || server.seen().streams >= 2);
        server.set(world("third"));
        until("back after a break", || answers("third"));
        let seen = server.seen();
        assert!(seen.nacks.is_empty(), "{delta} {habits:?}: {:?}", seen.nacks);
        assert!(seen.nodes.contains("envoy"));
        drop(envoy);
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
enum Decision {
    Cluster(String),
    /// One of several clusters, by chance.
    Split(Vec<String>),
    Redirect(u16, String),
    Status(u16),
}

/// The clusters of the generated meshes. Nobody listens where they point to.
const CLUSTERS: [&str; 4] = ["red", "green", "blue", "gray"];
const HOSTS: [&str; 9] = ["a.test", "b.test", "x.a.test", "*.test", "*.a.test", "*-c.test", "a.*", "b.test:8080", "*"];
const PATHS: [&str; 10] = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/A", "/a*b", "/b.c", "/x-y"];
const VALUES: [&str; 7] = ["1", "abc", "a.c", "ABC", "15", "-3", "a b"];

fn pick(list: &[&str], random: &mut StdRng) -> String {
    (*list.choose(random).expect("not empty")).to_owned()
}

fn string_match(random: &mut StdRng) -> Value {
    let value = *VALUES.choose(random).expect("some");
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

fn header(random: &mut StdRng) -> Value {
    let mut matcher = match random.random_range(0..6) {
        0 => json!({"name": "x-one", "present_match": random.random_bool(0.5)}),
        1 => json!({"name": "x-one", "range_match": {"start": -5, "end": 16}}),
        2 => {
            return json!({"name": ":method", "string_match": {"exact": pick(&["GET", "POST"], random)}});
        }
        _ => {
            let name = ["x-one", "x-two"].choose(random).expect("some");
            json!({"name": name, "string_match": string_match(random)})
        }
    };
    if random.random_bool(0.3) {
        matcher["invert_match"] = json!(true);
    }
    if random.random_bool(0.2) && matcher.get("string_match").is_some() {
        matcher["treat_missing_header_as_empty"] = json!(true);
    }
    matcher
}

fn route(random: &mut StdRng) -> Value {
    let path = *PATHS.choose(random).expect("some");
    let mut found = match random.random_range(0..10) {
        0..=3 => json!({"prefix": path}),
        4..=6 => json!({"path": path}),
        7 => json!({"path_separated_prefix": pick(&["/a", "/a/b", "/x-y"], random)}),
        8 => json!({"safe_regex": {"regex": pick(&["/a.*", "/[ab]", "/a/(b|c)", ".*b"], random)}}),
        _ => json!({"prefix": "/"}),
    };
    if random.random_bool(0.15) && (found.get("prefix").is_some() || found.get("path").is_some()) {
        found["case_sensitive"] = json!(false);
    }
    if random.random_bool(0.4) {
        found["headers"] = (0..random.random_range(1..3)).map(|_| header(random)).collect();
    }
    if random.random_bool(0.25) {
        let matcher = match random.random_range(0..3) {
            0 => json!({"name": "q", "present_match": random.random_bool(0.7)}),
            _ => json!({"name": "q", "string_match": string_match(random)}),
        };
        found["query_parameters"] = json!([matcher]);
    }
    let cluster = |random: &mut StdRng| *CLUSTERS.choose(random).expect("some");
    match random.random_range(0..10) {
        0 => {
            json!({"match": found, "redirect": {"host_redirect": "moved.test", "path_redirect": "/there", "response_code": "FOUND"}})
        }
        1 => json!({"match": found, "redirect": {"https_redirect": true}}),
        // To an answer of its own from 300 to 399 Envoy adds the address that was asked for, which is no redirect.
        2 => json!({"match": found, "direct_response": {"status": random.random_range(400..600)}}),
        3 => {
            let clusters =
                json!([{"name": "red", "weight": 1}, {"name": "green", "weight": 0}, {"name": "blue", "weight": 2}]);
            json!({"match": found, "route": {"weighted_clusters": {"clusters": clusters}}})
        }
        _ => json!({"match": found, "route": {"cluster": cluster(random)}}),
    }
}

/// A mesh, and its route configuration for people.
fn world(random: &mut StdRng, port: u16, version: usize) -> (Vec<Resource>, Value) {
    let mut hosts = HOSTS.to_vec();
    hosts.shuffle(random);
    let mut virtual_hosts = vec![json!({
        "name": "marker",
        "domains": ["marker.invalid"],
        "routes": [{"match": {"path": "/version"}, "direct_response": {"status": 200, "body": {"inline_string": version.to_string()}}}],
    })];
    for number in 0..random.random_range(1..5) {
        let domains: Vec<_> = (0..random.random_range(1..4)).filter_map(|_| hosts.pop()).collect();
        if domains.is_empty() {
            break;
        }
        let routes: Vec<_> = (0..random.random_range(1..7)).map(|_| route(random)).collect();
        virtual_hosts.push(json!({"name": format!("host{number}"), "domains": domains, "routes": routes}));
    }
    // Where a request went, on the answers of Envoy itself too.
    let oracle = json!([{"header": {"key": "x-oracle-cluster", "value": "%UPSTREAM_CLUSTER%"}}]);
    let mut routes = json!({"name": "routes", "virtual_hosts": virtual_hosts, "response_headers_to_add": oracle});
    if random.random_bool(0.5) {
        routes["ignore_port_in_host_matching"] = json!(true);
    }
    let configuration = mesh::resource(confcast::envoy::ResourceType::Route, routes.clone());
    let mut world = vec![mesh::listener("http", port, "routes"), configuration];
    world.extend(CLUSTERS.map(|name| mesh::static_cluster(name, &[1])));
    (world, routes)
}

fn request(random: &mut StdRng, port: u16) -> Request {
    let hosts =
        ["a.test", "b.test", "x.a.test", "y.x.a.test", "z-c.test", "-c.test", "a.other", "c", "b.test:8080", "A.Test"];
    let query = ["", "", "", "?q", "?q=", "?q=1", "?q=abc", "?q=ABC", "?r=1&q=a.c"];
    let path = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c/d", "/A", "/a*b", "/b.c", "/bxc", "/x-y/z", "/A/B"];
    let mut headers = Vec::new();
    for name in ["x-one", "X-Two"] {
        if random.random_bool(0.6) {
            let value = if random.random_bool(0.1) { "" } else { VALUES.choose(random).expect("some") };
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    Request {
        method: pick(&["GET", "GET", "POST"], random),
        host: pick(&hosts, random),
        target: pick(&path, random) + &pick(&query, random),
        headers,
        port,
        ..Request::default()
    }
}

fn envoy_decides(port: u16, request: &Request) -> Decision {
    let answer = ask(port, &request.method, &request.host, &request.target, &request.headers).expect("Envoy answers");
    match answer.header("x-oracle-cluster").filter(|cluster| !cluster.is_empty() && *cluster != "-") {
        Some(cluster) => Decision::Cluster(cluster.to_owned()),
        None => match answer.header("location") {
            Some(location) => Decision::Redirect(answer.status, location.to_owned()),
            None => Decision::Status(answer.status),
        },
    }
}

fn apisix_decides(routes: &[(String, Value)], request: &Request) -> Decision {
    let Some(position) = matching::choose(routes, request) else { return Decision::Status(404) };
    let route = &routes[position].1;
    let names: BTreeMap<_, _> = CLUSTERS.iter().map(|name| (ids::upstream(name), (*name).to_owned())).collect();
    let name = |id: &Value| names[id.as_str().expect("an id")].clone();
    let plugins = &route["plugins"];
    if let Some(abort) = plugins.get("fault-injection") {
        return Decision::Status(
            u16::try_from(abort["abort"]["http_status"].as_u64().expect("a status")).expect("small"),
        );
    }
    if let Some(answer) = plugins.get("mocking") {
        return Decision::Status(u16::try_from(answer["response_status"].as_u64().expect("a status")).expect("small"));
    }
    if let Some(redirect) = plugins.get("redirect") {
        let mut location = redirect["uri"].as_str().expect("an address").to_owned();
        let query = request.target.split_once('?').map(|(_, query)| query);
        if let Some(query) = query.filter(|_| redirect["append_query_string"] == true) {
            location = format!("{location}?{query}");
        }
        for (variable, value) in
            [("$scheme", "http"), ("$http_host", request.host.as_str()), ("$real_request_uri", request.target.as_str())]
        {
            location = location.replace(variable, value);
        }
        return Decision::Redirect(
            u16::try_from(redirect["ret_code"].as_u64().expect("a code")).expect("small"),
            location,
        );
    }
    match plugins["traffic-split"]["rules"][0]["weighted_upstreams"].as_array() {
        Some(entries) => Decision::Split(entries.iter().map(|entry| name(&entry["upstream_id"])).collect()),
        None => Decision::Cluster(name(&route["upstream_id"])),
    }
}

fn agree(envoy: &Decision, apisix: &Decision) -> bool {
    match (envoy, apisix) {
        (Decision::Cluster(one), Decision::Split(several)) => several.contains(one),
        // HTTP compares hosts without regard to case, and Envoy writes them in its own way.
        (Decision::Redirect(code, to), Decision::Redirect(other, there)) => {
            code == other && to.eq_ignore_ascii_case(there)
        }
        _ => envoy == apisix,
    }
}

/// Random routes and requests: Envoy's decision is that of APISIX (its model) on our translation.
#[tokio::test(flavor = "multi_thread")]
async fn envoy_and_apisix_decide_alike() {
    let Some(binary) = program("CONFCAST_ENVOY", "envoy") else { return };
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| rand::rng().random());
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(60);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let server = AdsServer::start(Habits::NONE).await;
    let port = free_port();
    server.set(world(&mut random, port, usize::MAX).0);
    let _envoy = Envoy::start(&binary, server.port(), true);
    let mut differences = Vec::new();
    let mut decided: BTreeMap<&str, usize> = BTreeMap::new();
    for version in 0..rounds {
        let (resources, configuration) = world(&mut random, port, version);
        server.set(resources.clone());
        let marker = || ask(port, "GET", "marker.invalid", "/version", &[]);
        until("updated", || marker().is_some_and(|answer| answer.text() == version.to_string()));
        assert!(server.seen().nacks.is_empty(), "{:?}", server.seen().nacks);
        let translation = translate_all(resources.clone(), Options::default());
        let routes: Vec<_> = translation
            .objects
            .iter()
            .filter(|object| object.key.kind == Kind::Route)
            .map(|object| (object.key.id.clone(), serde_json::from_slice(&object.value).expect("JSON")))
            .collect();
        for _ in 0..60 {
            let request = request(&mut random, port);
            let (envoy, apisix) = (envoy_decides(port, &request), apisix_decides(&routes, &request));
            *decided
                .entry(match envoy {
                    Decision::Cluster(_) | Decision::Split(_) => "cluster",
                    Decision::Redirect(..) => "redirect",
                    Decision::Status(404) => "not found",
                    Decision::Status(_) => "direct response",
                })
                .or_default() += 1;
            if !agree(&envoy, &apisix) {
                differences.push(format!("{request:?}\n  Envoy {envoy:?}\n  APISIX {apisix:?}\n  {configuration}"));
            }
        }
        if let Some(first) = differences.first() {
            panic!(
                "SEED={seed}, round {version}: {} differences, the first:\n{first}\n{}",
                differences.len(),
                json!(routes)
            );
        }
    }
    println!("{decided:?}");
    assert!(decided.len() == 4, "every kind of decision is among them: {decided:?}");
}
