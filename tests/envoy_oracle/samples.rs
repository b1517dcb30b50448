//! What real control planes send, judged as the random meshes are, as far as samples are at hand.
//!
//! Each chain of a sample that serves HTTP gets a port of its own on the loopback interface, without TLS; clusters point
//! to where nobody listens. The rest is as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use confcast::apisix::matching::{Answer, Request};
use confcast::envoy::{Resource, ResourceType};
use confcast::testing::ads::{AdsServer, Habits};
use confcast::testing::mesh;
use confcast::testing::ports::free_port;
use confcast::translate::{Fidelity, Report};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::decide::{Apisix, agree, kind};
use crate::support::envoy::{Envoy, Line, ask};
use crate::support::{self, program};

/// Requests to a chain for each of its routes, and at least so many.
const REQUESTS: (usize, usize) = (30, 50);

/// How long Envoy may take to load all of it.
const LOADING: Duration = Duration::from_secs(20);

/// The host of all backends. Envoy gives it to one only when it has connected.
const BACKEND: &str = "localhost";

/// Filters that Envoy is not given: those whose configuration of a route is of a type that is only known by its name,
/// without which APISIX lets requests pass as the report says; and the one that counts requests, which the model of
/// APISIX does not.
const WITHOUT: [&str; 5] = ["ExternalProcessor", "Wasm", "CustomResponse", "CredentialInjector", "LocalRateLimit"];

/// What a control plane sends to one gateway.
struct Sample {
    name: String,
    parts: Vec<Part>,
    clusters: BTreeSet<String>,
}

/// A chain that serves HTTP.
struct Part {
    port: u16,
    manager: Value,
    routes: Value,
}

impl Part {
    fn listener(&self, name: &str, told: &[Value]) -> Resource {
        let mut fields = self.manager.clone();
        let mut routes = self.routes.clone();
        routes["validateClusters"] = json!(false);
        if !told.is_empty() {
            leave_out(&mut fields, &mut routes);
        }
        let list = routes["responseHeadersToAdd"].as_array().map(Vec::as_slice).unwrap_or_default();
        routes["responseHeadersToAdd"] = json!([list, told].concat());
        fields["routeConfig"] = routes;
        mesh::listener_with(&format!("{name}/{}", self.port), self.port, fields)
    }
}

/// Takes away the filters that Envoy is not given, and retries, for which nothing is worth waiting.
fn leave_out(manager: &mut Value, routes: &mut Value) {
    let mut names = BTreeSet::new();
    if let Some(filters) = manager["http_filters"].as_array_mut() {
        filters.retain(|filter| {
            let out = WITHOUT.iter().any(|kind| is(&filter["typedConfig"], kind));
            names.extend(filter["name"].as_str().filter(|_| out).map(str::to_owned));
            !out
        });
    }
    let clean = |value: &mut Value| {
        if let Some(configs) = value.get_mut("typedPerFilterConfig").and_then(Value::as_object_mut) {
            configs.retain(|name, _| !names.contains(name));
        }
    };
    clean(routes);
    for host in routes["virtualHosts"].as_array_mut().into_iter().flatten() {
        clean(host);
        host.as_object_mut().map(|host| host.remove("retryPolicy"));
        for route in host["routes"].as_array_mut().into_iter().flatten() {
            clean(route);
            route.get_mut("route").and_then(Value::as_object_mut).map(|action| action.remove("retryPolicy"));
        }
    }
}

/// A cluster of one name, where nobody listens.
fn cluster(name: &str) -> Resource {
    let address = json!({"socket_address": {"address": BACKEND, "port_value": 1}});
    let assignment =
        json!({"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]});
    let fields =
        json!({"name": name, "type": "LOGICAL_DNS", "dns_lookup_family": "V4_ONLY", "load_assignment": assignment});
    mesh::resource(ResourceType::Cluster, fields)
}

impl Sample {
    /// What is translated.
    fn resources(&self) -> Vec<Resource> {
        let clusters = self.clusters.iter().map(|name| cluster(name));
        self.parts.iter().map(|part| part.listener(&self.name, &[])).chain(clusters).collect()
    }

    /// The listeners as Envoy has them: with headers that tell what it did.
    fn told(&self) -> Vec<Resource> {
        let told = [
            ("cluster", "%UPSTREAM_CLUSTER%"),
            ("path", "%REQ(:PATH)%"),
            ("host", "%REQ(:AUTHORITY)%"),
            ("details", "%RESPONSE_CODE_DETAILS%"),
        ]
        .map(|(name, value)| json!({"header": {"key": format!("x-oracle-{name}"), "value": value}}));
        self.parts.iter().map(|part| part.listener(&self.name, &told)).collect()
    }
}

/// The samples of a folder.
fn read(folder: &str) -> Vec<Sample> {
    let Some(folder) = support::shared("xds-samples").map(|all| all.join(folder)) else { return Vec::new() };
    let mut sets: BTreeMap<String, BTreeMap<&str, Vec<Value>>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kinds = ["clusters", "listeners", "routes"];
        let Some((kind, end)) = kinds.iter().find_map(|kind| Some((*kind, name.find(&format!(".{kind}."))?))) else {
            continue;
        };
        let text = std::fs::read_to_string(entry.path()).expect("text");
        let list = match serde_saphyr::from_str::<Value>(&text).expect("YAML") {
            Value::Object(fields) => {
                let list = fields.get("resources").and_then(Value::as_array);
                list.into_iter().flatten().map(|entry| entry["resource"].clone()).collect()
            }
            other => other.as_array().cloned().unwrap_or_default(),
        };
        sets.entry(name[..end].to_owned()).or_default().insert(kind, list);
    }
    let sample = |(name, set): (String, BTreeMap<&str, Vec<Value>>)| {
        let of = |kind| set.get(kind).map(Vec::as_slice).unwrap_or_default();
        let named = |value: &Value| value["name"].as_str().map(str::to_owned);
        let parts = of("listeners").iter().flat_map(|listener| parts(listener, of("routes"))).collect();
        Sample { name, parts, clusters: of("clusters").iter().filter_map(named).collect() }
    };
    sets.into_iter().map(sample).filter(|sample| !sample.parts.is_empty()).collect()
}

/// Gives each part a port.
fn place(samples: &mut [Sample]) {
    let parts: Vec<_> = samples.iter_mut().flat_map(|sample| &mut sample.parts).collect();
    let ports: Vec<u16> = parts.iter().map(|_| free_port()).collect();
    parts.into_iter().zip(ports).for_each(|(part, port)| part.port = port);
}

fn parts(listener: &Value, routes: &[Value]) -> Vec<Part> {
    if listener["address"]["socketAddress"]["protocol"] == "UDP" {
        return Vec::new();
    }
    let chains = listener["filterChains"].as_array().into_iter().flatten();
    let chains = chains.chain(listener.get("defaultFilterChain"));
    let filters = chains.flat_map(|chain| chain["filters"].as_array().into_iter().flatten());
    let managers = filters.map(|filter| &filter["typedConfig"]).filter(|config| is(config, "HttpConnectionManager"));
    managers.filter_map(|manager| part(manager.clone(), routes)).collect()
}

fn is(config: &Value, kind: &str) -> bool {
    config["@type"].as_str().and_then(|url| url.rsplit('.').next()) == Some(kind)
}

fn part(mut manager: Value, routes: &[Value]) -> Option<Part> {
    let fields = manager.as_object_mut()?;
    for field in ["@type", "accessLog", "tracing", "codecType", "http3ProtocolOptions", "statPrefix"] {
        fields.remove(field);
    }
    let named = fields.remove("rds").map(|rds| rds["routeConfigName"].clone());
    let routes = match named {
        Some(name) => routes.iter().find(|routes| routes["name"] == name)?.clone(),
        None => fields.remove("routeConfig")?,
    };
    if let Some(filters) = fields.remove("httpFilters") {
        fields.insert("http_filters".into(), filters);
    }
    Some(Part { port: 0, manager, routes })
}

/// A request that a route of the part was made for, more often than not.
fn request(random: &mut StdRng, part: &Part) -> Request {
    let hosts = part.routes["virtualHosts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let host = hosts.choose(random).cloned().unwrap_or_default();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let route = list(&host["routes"]).choose(random).cloned().unwrap_or_default();
    let found = &route["match"];
    let domains = list(&host["domains"]);
    let domain = domains.choose(random).and_then(Value::as_str).unwrap_or("other.test");
    let mut request = Request { method: "GET".into(), port: part.port, ..Request::default() };
    request.host = match random.random_range(0..10) {
        0 => "other.test".into(),
        1 => format!("{domain}:{}", part.port).replace('*', "x"),
        2 => format!("x.{domain}").replace('*', "y"),
        _ => domain.replace('*', "some"),
    };
    let path = ["prefix", "path", "pathSeparatedPrefix"].iter().find_map(|kind| found[*kind].as_str());
    let regex = found["safeRegex"]["regex"].as_str().map(|regex| regex.replace(".*", "x/y"));
    let path = path.map(str::to_owned).or(regex).unwrap_or_else(|| "/".into());
    let ends = ["", "", "", "/", "x", "/x", "/x/y", "?q=1", "/?a=b&c"];
    let end = ends.choose(random).expect("some");
    // Without two slashes beside each other, which the random meshes have.
    let end = if path.ends_with('/') { end.trim_start_matches('/') } else { end };
    request.target = if random.random_bool(0.05) { "/other".into() } else { format!("{path}{end}") };
    for matcher in list(&found["headers"]) {
        let (name, value) = (matcher["name"].as_str().unwrap_or_default(), value(&matcher, random));
        match (name, value) {
            (_, None) => {}
            (":method", Some(value)) => request.method = value,
            (":authority", Some(value)) => request.host = value,
            (name, Some(value)) => request.headers.push((name.to_owned(), value)),
        }
    }
    for matcher in list(&found["queryParameters"]) {
        if let Some(value) = value(&matcher, random) {
            let sign = if request.target.contains('?') { '&' } else { '?' };
            let name = matcher["name"].as_str().unwrap_or_default();
            request.target = format!("{}{sign}{name}={value}", request.target);
        }
    }
    let cookies: Vec<_> = list(&found["cookies"])
        .iter()
        .filter_map(|matcher| Some(format!("{}={}", matcher["name"].as_str()?, value(matcher, random)?)))
        .collect();
    if !cookies.is_empty() {
        request.headers.push(("Cookie".into(), cookies.join("; ")));
    }
    if random.random_bool(0.2) {
        request.method = (*["POST", "PUT", "DELETE"].choose(random).expect("some")).into();
    }
    request
}

/// A value for a matcher: the one that it wants, another one, or none.
fn value(matcher: &Value, random: &mut StdRng) -> Option<String> {
    let text = &matcher["stringMatch"];
    let wanted = ["exact", "prefix", "suffix", "contains"].iter().find_map(|kind| text[*kind].as_str());
    let regex = text["safeRegex"]["regex"].as_str().map(|regex| regex.replace(".*", "x"));
    let wanted = wanted.map(str::to_owned).or(regex).unwrap_or_else(|| "1".into());
    if matcher["name"] == ":method" {
        return Some(wanted);
    }
    match random.random_range(0..10) {
        0 => None,
        1 => Some(format!("{wanted}x")),
        2 => Some(format!("x{wanted}")),
        3 => Some(wanted.to_uppercase()),
        _ => Some(wanted),
    }
}

/// What Envoy does, read from the headers of its answer: it has found a cluster if it tried to connect.
fn envoy_decides(line: &mut Line, request: &Request) -> Answer {
    let answer = line.ask(&request.method, &request.host, &request.target, &request.headers);
    let told = |name: &str| answer.header(name).map(str::to_owned).unwrap_or_default();
    if told("x-oracle-details").starts_with("upstream_reset") {
        let (ids, target) = (vec![told("x-oracle-cluster")], told("x-oracle-path"));
        return Answer::Upstream { ids, target, host: told("x-oracle-host") };
    }
    match answer.header("location") {
        Some(location) => Answer::Redirect { status: answer.status, location: location.to_owned() },
        None => Answer::Status(answer.status),
    }
}

/// All that a real Envoy is given: the listeners of all samples, and each cluster once.
fn everything(samples: &[Sample]) -> Vec<Resource> {
    let clusters: BTreeSet<_> = samples.iter().flat_map(|sample| &sample.clusters).collect();
    let clusters = clusters.into_iter().map(|name| cluster(name));
    let listeners = samples.iter().flat_map(Sample::told);
    let all: Vec<_> = clusters.chain(listeners).collect();
    assert!(all.iter().any(|resource| resource.resource_type() == ResourceType::Listener));
    all
}

/// Why the answers may differ: the report says it, and what cannot be expressed is closed.
fn documented(own: &Answer, report: &Report) -> Option<String> {
    let mut entries = report.entries.iter().filter(|entry| entry.fidelity == Fidelity::NotExpressible);
    let entry = entries.find(|entry| match own {
        Answer::Status(status @ (403 | 503)) => entry.effect.contains(&status.to_string()),
        Answer::Status(404) => entry.reason.contains("no such host"),
        _ => entry.field == "match.runtime_fraction",
    });
    entry.map(|entry| format!("{}: {}", entry.field, entry.effect))
}

/// Samples that Envoy refuses, by what was found when all of a sample was given to it.
fn refused_before() -> BTreeSet<String> {
    let path = support::shared("xds-samples").expect("there").join("eg/_envoy-1.40-verdicts.json");
    let verdicts: Value = serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON");
    let verdicts = verdicts.as_object().expect("by name").iter();
    verdicts.filter(|(_, verdict)| verdict["nacks"] != json!([])).map(|(name, _)| name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_and_apisix_decide_alike_on_samples() {
    let Some(binary) = program("CONFCAST_ENVOY", "envoy") else { return };
    let mut samples: Vec<_> = ["eg", "kuma-meshhttproute"].into_iter().flat_map(read).collect();
    if samples.is_empty() {
        return;
    }
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| rand::rng().random());
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    place(&mut samples);
    let server = AdsServer::start(Habits::NONE).await;
    server.set(everything(&samples));
    let _envoy = Envoy::start(&binary, server.port(), true);
    let known = refused_before();
    let mut end = Instant::now() + LOADING;
    let (mut judged, mut decided) = (0, BTreeMap::<&str, usize>::new());
    let mut differences: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    for sample in &samples {
        let (apisix, report) = Apisix::of(sample.resources());
        for part in &sample.parts {
            let serves = || ask(part.port, "GET", "a", "/", &[]).is_some();
            while !serves() && Instant::now() < end {
                // Those that are refused are told of when all are looked at.
                if !server.seen().nacks.is_empty() {
                    end = end.min(Instant::now() + Duration::from_millis(500));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            if !serves() {
                let nacks = server.seen().nacks.join("\n");
                // A matcher in CEL is only known by its name, and cannot be given to Envoy.
                let of_matcher = nacks.contains(&format!(
                    "{}/{}: requirement violation while creating RBAC match tree",
                    sample.name, part.port
                ));
                assert!(of_matcher || known.contains(&sample.name), "Envoy refuses {}: {nacks}", sample.name);
                continue;
            }
            judged += 1;
            let hosts = part.routes["virtualHosts"].as_array().into_iter().flatten();
            let routes: usize = hosts.filter_map(|host| host["routes"].as_array()).map(Vec::len).sum();
            let mut line = Line::new(part.port);
            for _ in 0..REQUESTS.1.max(REQUESTS.0 * routes) {
                let request = request(&mut random, part);
                let mut envoy = envoy_decides(&mut line, &request);
                let cluster = match &envoy {
                    Answer::Upstream { ids, .. } => Some(ids[0].as_str()),
                    _ => None,
                };
                let own = apisix.decide_as(&request, cluster);
                if let (Answer::Upstream { host, .. }, Answer::Upstream { host: own, .. }) = (&mut envoy, &own)
                    && own == BACKEND
                {
                    BACKEND.clone_into(host);
                }
                *decided.entry(kind(&own)).or_default() += 1;
                if !agree(&envoy, &own, &Value::Null, &request) {
                    let told = || {
                        format!(
                            "SEED={seed} {}: they differ on {request:?}\n  Envoy {envoy:?}\n  APISIX {own:?}\n{}\n{report:#?}",
                            sample.name,
                            apisix.text()
                        )
                    };
                    let reason = documented(&own, &report).unwrap_or_else(|| panic!("{}", told()));
                    *differences.entry(reason).or_default().entry(&sample.name).or_default() += 1;
                }
            }
        }
    }
    println!(
        "{judged} chains of {} samples; {decided:?}; where they differ, the report says so: {differences:#?}",
        samples.len()
    );
    let (all, different) =
        (decided.values().sum::<usize>(), differences.values().flat_map(BTreeMap::values).sum::<usize>());
    assert!(judged > 200 && decided.len() == 4 && different < all / 10, "{judged} {decided:?} {different}");
}
