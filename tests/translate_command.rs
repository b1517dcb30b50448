//! `confcast translate`: what it reads, and the forms in which it writes.
#![allow(clippy::print_stdout, missing_docs)]

use std::path::Path;

use assert_cmd::Command;
use serde_json::{Value, json};

/// A dump as Envoy prints it, of a newer version than ours, with something that cannot be expressed.
fn dump() -> Value {
    let endpoint = json!({"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}}});
    let assignment = json!({"cluster_name": "c", "endpoints": [{"lb_endpoints": [endpoint]}]});
    let cluster = json!({
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": "c",
        "a_field_of_the_future": true,
        "load_assignment": assignment,
        "upstream_bind_config": {"source_address": {"address": "127.0.0.1", "port_value": 0}},
    });
    let routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]);
    let configuration = json!({
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": "rc",
        "virtual_hosts": [{"name": "v", "domains": ["yes.test"], "routes": routes}],
    });
    json!({"configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters": [{"cluster": cluster}]},
        {"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump", "dynamic_route_configs": [{"route_config": configuration}]},
    ]})
}

/// Runs the command. Exit code, standard output, standard error output.
fn translate(path: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_confcast"));
    let output = command.arg("translate").arg(path).args(args).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_dump_becomes_any_of_the_forms() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config_dump.json");
    std::fs::write(&path, dump().to_string()).expect("written");

    let (code, out, err) = translate(&path, &["-o", "json"]);
    let all: Value = serde_json::from_str(&out).expect("JSON");
    let objects = all["objects"].as_object().expect("an object");
    assert_eq!((code, objects.len()), (Some(0), 2), "an upstream and a route: {out}");
    assert!(err.contains("not expressible: Cluster c, upstream_bind_config: "), "{err}");

    let (_, out, _) = translate(&path, &["-o", "etcd"]);
    assert!(out.lines().all(|line| line.starts_with("etcdctl put /apisix/")), "{out}");

    let (_, out, _) = translate(&path, &["-o", "apisix-yaml"]);
    assert!(out.ends_with("#END\n"), "APISIX does not read a file without: {out}");
    let file: Value = serde_saphyr::from_str(&out).expect("YAML");
    let id = &file["upstreams"][0]["id"];
    assert_eq!((&file["routes"][0]["upstream_id"], id.as_str().map(str::len)), (id, Some(32)));

    let (code, out, err) = translate(&path, &["-o", "none", "--report", "json", "--fail-on", "not-expressible"]);
    let report: Value = serde_json::from_str(&out).expect("the report alone");
    assert_eq!((code, report["entries"][0]["fidelity"].as_str(), err.as_str()), (Some(1), Some("not-expressible"), ""));
}

#[test]
fn objects_are_for_the_version_that_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("routes.json");
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "c"}, "request_headers_to_remove": ["x-old"]});
    let routes = json!({"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "name": "r",
        "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]});
    std::fs::write(&path, routes.to_string()).expect("written");
    let headers = |version: &[&str]| {
        let (_, out, _) = translate(&path, &[&["-o", "json"], version].concat());
        let all: Value = serde_json::from_str(&out).expect("JSON");
        let objects = all["objects"].as_object().expect("objects").iter();
        let (_, route) = objects.into_iter().find(|(key, _)| key.contains("/routes/")).expect("a route");
        route["plugins"]["proxy-rewrite"]["headers"].clone()
    };
    assert_eq!(headers(&[]), json!({"remove": ["x-old"]}));
    assert_eq!(headers(&["--apisix", "2.15"]), json!({"x-old": ""}));
    let (code, _, error) = translate(&path, &["--apisix", "2.10"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("supports 2.15 and later"), "{error}");
}
