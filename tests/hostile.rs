//! What a control plane or a file may send to do harm: it is taken, reported or refused, within bounds of time, memory
//! and stack.
#![allow(missing_docs)]
#![allow(clippy::disallowed_methods, reason = "time and stack are what is bounded")]

use std::time::{Duration, Instant};

use confcast::envoy::{Resource, ResourceType, decode};
use confcast::testing::mesh;
use confcast::translate::{Options, Translation, translate_all};
use confcast::xds::files;
use serde_json::{Value, json};

/// How long any of it may take, unoptimised and on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// Most memory that the process may ever have had, in KiB.
const MEMORY: u64 = 1 << 20;

/// Runs on a stack as small as that of the threads that translate, and looks at what it took.
fn bounded<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let start = Instant::now();
    let result = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        thread.spawn_scoped(scope, work).expect("a thread").join().expect("no panic")
    });
    let took = start.elapsed();
    assert!(took < LONG, "{took:?}");
    let status = std::fs::read_to_string("/proc/self/status").expect("a process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a size");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < MEMORY, "{peak} KiB");
    result
}

fn translate(resources: Vec<Resource>) -> Translation {
    bounded(|| translate_all(resources, Options::default()))
}

fn routes_with(found: &Value) -> Vec<Resource> {
    vec![mesh::routes("rc", &json!([{"match": found, "route": {"cluster": "c"}}]))]
}

/// The status with which the only route answers by itself, and the report.
fn refused(found: &Value) -> (Value, String) {
    let translation = translate(routes_with(found));
    let route: Value = serde_json::from_slice(&translation.objects.last().expect("a route").value).expect("JSON");
    let status = route["plugins"]["fault-injection"]["abort"]["http_status"].clone();
    (status, format!("{:?}", translation.report))
}

#[test]
fn aggregates_in_circles_chains_and_trees() {
    let aggregate = |name: &str, parts: &[String]| {
        let kind = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig";
        let config = json!({"name": "a", "typed_config": {"@type": kind, "clusters": parts}});
        mesh::resource(ResourceType::Cluster, json!({"name": name, "cluster_type": config}))
    };
    let name = |level: usize, of: usize| format!("c{}", level % of);
    let circle = (0..300).map(|at| aggregate(&name(at, 300), &[name(at + 1, 300)])).collect();
    assert_eq!(translate(circle).objects.len(), 300);
    // Each names all of the next level twice.
    let tree = (0..60).map(|at| {
        let next = [format!("l{}a", at + 1), format!("l{}b", at + 1)];
        [aggregate(&format!("l{at}a"), &next), aggregate(&format!("l{at}b"), &next)]
    });
    let tree = tree.flatten().chain([mesh::static_cluster("l60a", &[1]), mesh::static_cluster("l60b", &[2])]).collect();
    let translation = translate(tree);
    let of_two = |object: &&confcast::apisix::Object| {
        serde_json::from_slice::<Value>(&object.value).is_ok_and(|upstream| upstream["nodes"][1] != Value::Null)
    };
    assert_eq!(translation.objects.iter().filter(of_two).count(), 2 * 16, "those that are near enough to the end");
    let mut chain: Vec<_> = (0..1100).map(|at| aggregate(&format!("n{at}"), &[format!("n{}", at + 1)])).collect();
    chain.push(mesh::static_cluster("n1100", &[1]));
    let translation = translate(chain);
    assert!(translation.report.entries.iter().any(|entry| entry.reason.contains("too many")));
}

/// A field of bytes in a message.
fn field(tag: usize, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for mut number in [tag << 3 | 2, content.len()] {
        while number > 127 {
            bytes.push(u8::try_from(number & 127).expect("seven bits") | 128);
            number >>= 7;
        }
        bytes.push(u8::try_from(number).expect("seven bits"));
    }
    [bytes.as_slice(), content].concat()
}

#[test]
fn configurations_inside_of_each_other() {
    // Messages in messages are refused at a depth, so that only those in an `Any` can go deeper.
    let level = |inner: Vec<u8>, _| field(1, &[field(1, b"a"), field(2, &field(5, &inner))].concat());
    let cluster = |depth: usize| {
        let metadata = field(1, &[field(1, b"m"), field(2, &(0..depth).fold(Vec::new(), level))].concat());
        [field(1, b"c"), field(25, &metadata)].concat()
    };
    assert!(decode(ResourceType::Cluster, &cluster(10)).is_ok());
    assert!(bounded(|| decode(ResourceType::Cluster, &cluster(10_000))).is_err());
    let url = b"type.googleapis.com/envoy.config.route.v3.FilterConfig";
    let any = |value: &[u8]| [field(1, url), field(2, value)].concat();
    let nested = (0..4000).fold(Vec::new(), |inner, _| field(1, &any(&inner)));
    let entry = [field(1, b"f"), field(2, &any(&nested))].concat();
    let path = field(1, &field(1, b"/"));
    let action = field(2, &field(1, b"c"));
    let route = [path, action, field(13, &entry)].concat();
    let host = [field(1, b"v"), field(2, b"*"), field(3, &route)].concat();
    let configuration = [field(1, b"rc"), field(2, &host)].concat();
    let routes = bounded(|| decode(ResourceType::Route, &configuration)).expect("well formed");
    let filter = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"});
    let filters = json!({"http_filters": [{"name": "f", "typed_config": filter}]});
    let mut manager = json!({"rds": {"route_config_name": "rc", "config_source": {"ads": {}}}});
    manager.as_object_mut().expect("an object").extend(filters.as_object().expect("an object").clone());
    let translation = translate(vec![routes, mesh::listener_with("l", 80, manager)]);
    let open = translation.objects.iter().any(|object| {
        let route: Value = serde_json::from_slice(&object.value).expect("JSON");
        object.key.kind == confcast::apisix::Kind::Route && route.get("upstream_id").is_some()
    });
    assert!(!open, "what is not understood may protect: {:?}", translation.report);
}

#[test]
fn regular_expressions_that_are_large_or_slow() {
    let regex = |regex: &str| json!({"safe_regex": {"regex": regex}});
    for (pattern, expected) in [
        ("a".repeat(1 << 20), "bytes long"),
        ("(".repeat(1 << 16) + &")".repeat(1 << 16), "bytes long"),
        ("(((a{1000}){1000}){1000}){1000}".into(), "not valid"),
        ("(".repeat(2000) + &")".repeat(2000), "not valid"),
        ("[".repeat(2000), "not valid"),
    ] {
        let (status, report) = refused(&regex(&pattern));
        assert!(status == 503 && report.contains(expected), "{status} {}", &report[..report.len().min(500)]);
        assert!(report.len() < 20_000, "a report is for people");
        let header =
            json!({"prefix": "/", "headers": [{"name": "x", "string_match": regex(&pattern), "invert_match": true}]});
        assert_eq!(refused(&header).0, 503);
    }
    // What is passed on is small enough for PCRE.
    let patterns = [
        "(ab){900}",
        "((ab){100}){100}",
        "(([a-z]x){50}){30}",
        "([^/]{1,63}[.])*",
        "(x|y[a-f0-9]{8}){400}",
        "(([ab]){30}){30}",
    ];
    let long = (0..1000).map(|number| format!("name{number}")).collect::<Vec<_>>().join("|");
    let mut open = 0;
    for pattern in patterns.into_iter().chain([long.as_str()]) {
        let translation = translate(routes_with(&regex(&format!("/{pattern}"))));
        let route: Value = serde_json::from_slice(&translation.objects.last().expect("a route").value).expect("JSON");
        if let Some(pattern) = route["vars"][0][2].as_str() {
            assert!(pcre2::bytes::Regex::new(pattern).is_ok(), "{pattern}");
            open += 1;
        }
    }
    assert!((3..patterns.len()).contains(&open), "{open}");
    // Those are served, and the report says what they may cost.
    let header = |matcher: Value| json!({"prefix": "/", "headers": [{"name": "x", "string_match": matcher}]});
    let query = |matcher: Value| json!({"prefix": "/", "query_parameters": [{"name": "x", "string_match": matcher}]});
    let gives_up = |pattern: &str| {
        let regex = pcre2::bytes::Regex::new(&format!("^(?:{pattern})\\z")).expect("valid");
        regex.is_match(format!("/{}!", "a".repeat(40)).as_bytes()).is_err()
    };
    for pattern in ["/(a+)+", "/(?:a*b?)*", "/(a|a)+", "/((x|[a(]+)c?)*"] {
        assert!(gives_up(pattern), "{pattern}");
        for found in [regex(pattern), header(regex(pattern)), query(regex(pattern))] {
            let (status, report) = refused(&found);
            assert!(status.is_null() && report.contains("in many ways"), "{found}: {report}");
        }
    }
    let quick =
        ["/(ab)+", "/a+b*", "/([(+*]x)+", r"/(a\+)+", "/(a{2})*", "/(a|b)*c+", "/((x|[a(]{2,})c)*", "/([a-z]+/)*"];
    for pattern in quick {
        assert!(!gives_up(pattern), "{pattern}");
        assert!(!refused(&regex(pattern)).1.contains("in many ways"), "{pattern}");
    }
}

#[test]
fn files_that_are_deep_or_grow_when_they_are_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let laughs = (1..12).fold("a0: &a0 [lol, lol]\n".to_owned(), |text, at| {
        let list = vec![format!("*a{}", at - 1); 10].join(", ");
        text + &format!("a{at}: &a{at} [{list}]\n")
    });
    let cases = [
        ("lists.yaml", "[".repeat(100_000)),
        ("lists.json", "[".repeat(100_000)),
        ("maps.yaml", "{a: ".repeat(100_000)),
        ("indented.yaml", (0..2000).map(|at| " ".repeat(at) + "a:\n").collect()),
        ("laughs.yaml", laughs),
    ];
    for (name, content) in cases {
        let path = dir.path().join(name);
        std::fs::write(&path, content).expect("written");
        let (resources, errors) = bounded(|| files::load(&[path]));
        assert!(resources.is_empty() && errors.len() == 1, "{name}: {} {}", resources.len(), errors.len());
        assert!(errors[0].to_string().len() < 10_000, "{name}: {} bytes", errors[0].to_string().len());
    }
}
