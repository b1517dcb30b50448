//! Access rules that Istio makes of its policies, and random ones: a request that the real Envoy stops is stopped by
//! APISIX (its model) on our translation, and where the report names nothing, they decide alike.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use confcast::apisix::Kind;
use confcast::apisix::matching::{self, Request};
use confcast::envoy::Resource;
use confcast::testing::ads::{AdsServer, Habits};
use confcast::testing::mesh;
use confcast::testing::ports::free_port;
use confcast::translate::{Fidelity, Options, translate_all};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use support::envoy::{Envoy, ask};
use support::{program, shared, until};

const HOSTS: [&str; 5] = ["exact.com", "a.suffix.com", "prefix.a", "not-exact.com", "other"];
const PATHS: [&str; 10] = [
    "/",
    "/exact",
    "/prefix/a",
    "/a/suffix",
    "/prefix/../exact",
    "/%65xact",
    "//exact",
    "/exact?a=/suffix",
    "/admin/x",
    "/not-exact",
];
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const VALUES: [&str; 6] = ["1", "abc", "header", "header-prefix-x", "a,b", ""];

fn pick<'a>(list: &[&'a str], random: &mut StdRng) -> &'a str {
    list.choose(random).expect("not empty")
}

fn string_match(list: &[&str], random: &mut StdRng) -> Value {
    let text = pick(list, random);
    match random.random_range(0..5) {
        0 if !text.is_empty() => json!({"prefix": text}),
        1 if !text.is_empty() => json!({"suffix": text}),
        2 => json!({"safe_regex": {"regex": pick(&["/.*", ".+", "[a-z]+", "/(exact|admin).*"], random)}}),
        3 if !text.is_empty() => json!({"contains": text, "ignore_case": random.random_bool(0.5)}),
        _ => json!({"exact": text}),
    }
}

/// A permission or, where `ids` is set, a principal.
fn rule(ids: bool, depth: u32, random: &mut StdRng) -> Value {
    let (and, or, not, list) =
        if ids { ("and_ids", "or_ids", "not_id", "ids") } else { ("and_rules", "or_rules", "not_rule", "rules") };
    let several = |random: &mut StdRng| {
        let all: Vec<_> = (0..random.random_range(1..4)).map(|_| rule(ids, depth - 1, random)).collect();
        json!({ list: all })
    };
    match random.random_range(0..if depth == 0 { 5 } else { 8 }) {
        0 => json!({"any": true}),
        1 => json!({"url_path": {"path": string_match(&PATHS[..5], random)}}),
        2 => json!({"header": {"name": "x-one", "string_match": string_match(&VALUES, random)}}),
        3 => json!({"header": {"name": ":method", "string_match": {"exact": pick(&METHODS, random)}}}),
        4 if ids => json!({"remote_ip": {"address_prefix": pick(&["127.0.0.0", "10.0.0.0"], random), "prefix_len": 8}}),
        4 => json!({"destination_port_range": {"start": 1, "end": random.random_range(2..65_536)}}),
        5 => json!({ and: several(random) }),
        6 => json!({ or: several(random) }),
        _ => json!({ not: rule(ids, depth - 1, random) }),
    }
}

fn generated(random: &mut StdRng) -> Value {
    let policies: serde_json::Map<String, Value> = (0..random.random_range(1..3))
        .map(|number| {
            let policy = json!({"permissions": [rule(false, 2, random)], "principals": [rule(true, 2, random)]});
            (format!("p{number}"), policy)
        })
        .collect();
    let action = pick(&["ALLOW", "DENY"], random);
    json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        "rules": {"action": action, "policies": policies}})
}

fn typed(kind: &str, fields: Value) -> Value {
    let Value::Object(mut config) = fields else { panic!("an object") };
    config.insert("@type".into(), json!(format!("type.googleapis.com/{kind}")));
    json!({"name": "x", "typed_config": config})
}

/// A predicate of a matcher.
fn predicate(depth: u32, random: &mut StdRng) -> Value {
    let header = |name: &str, list: &[&str], random: &mut StdRng| {
        let input = typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", json!({"header_name": name}));
        let mut value = string_match(list, random);
        if let Some(regex) = value.get_mut("safe_regex") {
            regex["google_re2"] = json!({});
        }
        json!({"single_predicate": {"input": input, "value_match": value}})
    };
    let several = |random: &mut StdRng| {
        let all: Vec<_> = (0..random.random_range(2..4)).map(|_| predicate(depth - 1, random)).collect();
        json!({ "predicate": all })
    };
    match random.random_range(0..if depth == 0 { 4 } else { 7 }) {
        0 => header("x-one", &VALUES, random),
        1 => header(":method", &METHODS, random),
        2 => header(":path", &PATHS, random),
        3 => {
            let input = typed("envoy.extensions.matching.common_inputs.network.v3.SourceIPInput", json!({}));
            let prefix = pick(&["127.0.0.0", "10.0.0.0"], random);
            let ranges = json!([{"address_prefix": prefix, "prefix_len": 8}]);
            let fields = json!({"cidr_ranges": ranges, "stat_prefix": "ip"});
            let matcher = typed("envoy.extensions.matching.input_matchers.ip.v3.Ip", fields);
            json!({"single_predicate": {"input": input, "custom_match": matcher}})
        }
        4 => json!({"and_matcher": several(random)}),
        5 => json!({"or_matcher": several(random)}),
        _ => json!({"not_matcher": predicate(depth - 1, random)}),
    }
}

/// An action, or a matcher with one.
fn then(depth: u32, random: &mut StdRng) -> Value {
    if depth > 0 && random.random_bool(0.2) {
        return json!({"matcher": tree(depth - 1, true, random)});
    }
    let action = pick(&["ALLOW", "ALLOW", "DENY", "LOG"], random);
    json!({"action": typed("envoy.config.rbac.v3.Action", json!({"name": action, "action": action}))})
}

fn tree(depth: u32, is_whole: bool, random: &mut StdRng) -> Value {
    let field = |random: &mut StdRng| json!({"predicate": predicate(2, random), "on_match": then(depth, random)});
    let fields: Vec<_> = (0..random.random_range(1..4)).map(|_| field(random)).collect();
    let mut tree = json!({"matcher_list": {"matchers": fields}});
    if is_whole || random.random_bool(0.7) {
        tree["on_no_match"] = then(depth, random);
    }
    tree
}

fn generated_tree(random: &mut StdRng) -> Value {
    json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC", "matcher": tree(1, false, random)})
}

/// The filters among Istio's samples, by name.
fn samples() -> Vec<(String, Value)> {
    let Some(folder) = shared("xds-samples") else { return Vec::new() };
    let mut samples = Vec::new();
    for entry in std::fs::read_dir(folder.join("istio-authz-http")).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(entry.path()).expect("text");
        if !name.contains("-out") {
            continue;
        }
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
        let configs = documents.into_iter().map(|document| document["typedConfig"].clone());
        let rbac = configs.filter(|config| config["@type"].as_str().is_some_and(|kind| kind.ends_with("v3.RBAC")));
        samples.extend(rbac.map(|config| (name.clone(), config)));
    }
    samples.sort_by(|(a, _), (b, _)| a.cmp(b));
    samples
}

fn listener(name: &str, port: u16, filter: &Value) -> Resource {
    let routes =
        json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "let"}}}]);
    let hosts = json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]});
    let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    let filters = json!([{"name": "rbac", "typed_config": filter}, {"name": "router", "typed_config": router}]);
    let fields = json!({"route_config": hosts, "http_filters": filters, "use_remote_address": true});
    mesh::listener_with(name, port, fields)
}

fn request(random: &mut StdRng, port: u16) -> Request {
    let mut headers = Vec::new();
    for name in ["x-one", "X-header"] {
        if random.random_bool(0.6) {
            headers.push((name.to_owned(), pick(&VALUES, random).to_owned()));
        }
    }
    Request {
        method: pick(&METHODS, random).into(),
        host: pick(&HOSTS, random).into(),
        target: pick(&PATHS, random).into(),
        headers,
        port,
        ..Request::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_envoy_stops_is_stopped() {
    let Some(binary) = program("CONFCAST_ENVOY", "envoy") else { return };
    let seed = support::history::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut filters = samples();
    println!("{} samples", filters.len());
    filters.extend((0..60).map(|number| (format!("generated {number}"), generated(&mut random))));
    filters.extend((0..60).map(|number| (format!("tree {number}"), generated_tree(&mut random))));
    let mut ports = std::collections::BTreeSet::new();
    while ports.len() < filters.len() {
        ports.insert(free_port());
    }
    let filters: Vec<_> = filters.into_iter().zip(ports).map(|((name, filter), port)| (name, filter, port)).collect();
    let server = AdsServer::start(Habits::NONE).await;
    server.set(filters.iter().map(|(name, filter, port)| listener(name, *port, filter)));
    let _envoy = Envoy::start(&binary, server.port(), true);
    for (_, _, port) in &filters {
        until("serving", || ask(*port, "GET", "a", "/", &[]).is_some() || !server.seen().nacks.is_empty());
    }
    assert!(server.seen().nacks.is_empty(), "{:?}", server.seen().nacks);
    let (mut equal, mut narrower, mut passed) = (0, 0, 0);
    for (name, filter, port) in &filters {
        let translation = translate_all(vec![listener(name, *port, filter)], Options::default());
        let routes: Vec<(String, Value)> = translation
            .objects
            .iter()
            .filter(|object| object.key.kind == Kind::Route)
            .map(|object| (object.key.id.clone(), serde_json::from_slice(&object.value).expect("JSON")))
            .collect();
        let all = || translation.report.entries.iter();
        let exact = all().all(|entry| entry.fidelity == Fidelity::Approximate);
        let missing = all().filter(|entry| entry.fidelity == Fidelity::NotExpressible).collect::<Vec<_>>();
        assert!(!name.starts_with("tree") || missing.is_empty(), "{filter}: {missing:?}");
        for _ in 0..40 {
            let request = request(&mut random, *port);
            let envoy = ask(*port, &request.method, &request.host, &request.target, &request.headers).expect("answers");
            assert!([200, 403].contains(&envoy.status), "{}", envoy.status);
            let chosen = matching::choose(&routes, &request).map(|position| &routes[position].1["plugins"]);
            let lets = chosen.is_some_and(|plugins| plugins.get("mocking").is_some());
            let told = || format!("SEED={seed} {name}: {request:?}\n{filter}\n{}", json!(routes));
            assert!(!lets || envoy.status == 200, "wider than Envoy: {}", told());
            // Envoy looks at the path as it was sent, APISIX at the normalised one: neither lets what the other stops.
            let plain = !["%", "//", "/.", "?"].iter().any(|sign| request.target.contains(sign));
            assert!(!exact || !plain || lets == (envoy.status == 200), "narrower without a word: {}", told());
            equal += usize::from(lets == (envoy.status == 200));
            narrower += usize::from(!lets && envoy.status == 200);
            passed += usize::from(lets);
        }
    }
    println!("{equal} alike, {narrower} stopped that Envoy lets pass, {passed} passed");
    assert!(passed > 0 && equal > narrower);
}
