//! What the server shows of what it holds, if it is asked to.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use serde_json::{Value, json};
use support::http::{Watch, b64, get, post};
use support::{Confcast, until};

const MESH: &str = r#"
resources:
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: one
  type: STATIC
  load_assignment:
    cluster_name: one
    endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 10.0.0.1, port_value: 80 } } } }] }]
- "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
  name: all
  virtual_hosts:
  - name: a
    domains: ["a.example"]
    routes:
    - { match: { prefix: /x/ }, route: { cluster: one } }
    - { match: { prefix: /y/ }, route: { cluster: one } }
"#;

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

#[test]
fn nothing_is_shown_unless_it_is_asked_for() {
    let server = Confcast::serve(&["--source", "none"]).ready();
    for path in ["/debug", "/debug/streams", "/debug/interests", "/debug/view"] {
        assert_eq!(get(server.admin, path).status, 404, "{path}");
    }
    // Not to everybody, either.
    let open = ["serve", "--source=none", "--listen=127.0.0.1:0", "--admin-listen=0.0.0.0:0", "--admin-debug"];
    let server = Confcast::start(&open);
    let admin = ([127, 0, 0, 1], server.admin.port()).into();
    assert_eq!(get(admin, "/readyz").status, 200);
    for path in ["/debug", "/debug/streams", "/debug/interests", "/debug/view"] {
        assert_eq!(get(admin, path).status, 403, "{path}");
    }
}

#[test]
fn streams_and_interests_are_those_that_there_are_the_slowest_first() {
    // `get` names a host that is no address.
    let server = Confcast::serve(&["--source", "none", "--admin-debug"]).ready();
    let show = |path: &str| support::http::get_from(server.admin, path, "localhost").json();
    let _quick = Watch::open(server.address, "/apisix/", "/apisix0", 0);
    let _other = Watch::open(server.address, "/apisix/", "/apisix0", 0);
    let _slow = Watch::open(server.address, "/big/", "/big0", 0);
    let streams = show("/debug/streams");
    assert_eq!((&streams["streams"], list(&streams["listed"]).len()), (&json!(3), 3));
    let body = json!({"key": b64("/big/1"), "value": b64(vec![b'x'; 512 << 10])});
    until("one is behind", || {
        assert_eq!(post(server.address, "/v3/kv/put", &body).status, 200);
        show("/debug/streams")["listed"][0]["behind"].as_u64().expect("a number") > 0
    });
    let streams = show("/debug/streams?limit=1");
    assert_eq!((&streams["streams"], list(&streams["listed"]).len()), (&json!(3), 1));
    let slowest = &streams["listed"][0];
    assert_eq!((&slowest["client"], &slowest["protocol"]), (&json!("127.0.0.1"), &json!("gateway")), "{slowest}");
    assert_eq!(slowest["watchers"][0]["range"], json!({"prefix": "/big/"}), "{slowest}");
    let interests = show("/debug/interests");
    let seen: Vec<_> = list(&interests["listed"])
        .iter()
        .map(|interest| (&interest["range"]["prefix"], &interest["watchers"]))
        .collect();
    assert_eq!(seen, [(&json!("/apisix/"), &json!(2)), (&json!("/big/"), &json!(1))]);
}

#[test]
fn the_view_tells_what_was_made_of_what() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("mesh.yaml");
    std::fs::write(&file, MESH).expect("written");
    let server = Confcast::serve(&["--xds-file", &file.display().to_string(), "--admin-debug"]).ready();
    let show = |path: &str| support::http::get_from(server.admin, path, "localhost").json();
    let view = show("/debug/view");
    assert_eq!(view["resources"], 2, "{view}");
    let [cluster, routes] = list(&view["listed"]) else { panic!("{view}") };
    assert_eq!(
        (&cluster["kind"], &cluster["name"], &cluster["objects"]),
        (&json!("cluster"), &json!("one"), &json!(1))
    );
    assert_eq!((&routes["kind"], &routes["name"]), (&json!("route configuration"), &json!("all")));
    let keys = [cluster, routes].map(|resource| list(&resource["keys"])).concat();
    let keys: Vec<_> = keys.iter().map(|key| key.as_str().expect("text").to_owned()).collect();
    let mut served: Vec<_> = server.objects().into_keys().collect();
    served.sort();
    let mut named = keys.clone();
    named.sort();
    assert_eq!(named, served, "every object, and nothing else");
    assert_eq!(list(&show("/debug/view?limit=1")["listed"]).len(), 1);
}
