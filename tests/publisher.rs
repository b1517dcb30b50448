//! Replicas that publish into a real etcd: one at a time, in order, and only what is theirs.
#![allow(clippy::print_stdout, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "the wall clock is what is measured")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use confcast::apisix::{ObjectKey, references};
use confcast::publish::Keys;
use serde_json::{Value, json};
use support::etcd::{Etcd, Release};
use support::http::{self, b64, from_b64};
use support::users::Root;
use support::{Confcast, program, until};

/// What is below the prefix at a revision; now if it is zero.
fn content(etcd: &Etcd, revision: i64) -> (i64, BTreeMap<String, Vec<u8>>) {
    let body = json!({"key": b64("/apisix/"), "range_end": b64("/apisix0"), "revision": revision});
    let answer = http::post(etcd.address, "/v3/kv/range", &body).json();
    let now = answer["header"]["revision"].as_str().and_then(|text| text.parse().ok()).expect("a revision");
    let pairs = answer["kvs"].as_array().cloned().unwrap_or_default();
    let pair = |pair: Value| (String::from_utf8(from_b64(&pair["key"])).expect("text"), from_b64(&pair["value"]));
    (now, pairs.into_iter().map(pair).collect())
}

/// The objects that publishers wrote.
fn objects(etcd: &Etcd) -> BTreeMap<String, Vec<u8>> {
    let mut all = content(etcd, 0).1;
    all.retain(|key, value| value != b"init_dir" && !key.contains("mine"));
    all
}

fn put(etcd: &Etcd, key: &str, value: &str) {
    let answer = http::post(etcd.address, "/v3/kv/put", &json!({"key": b64(key), "value": b64(value)}));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Clusters and a route to each, in a file.
fn write_mesh(dir: &Path, names: impl IntoIterator<Item = String>) {
    let names: Vec<_> = names.into_iter().collect();
    let endpoint = |number: usize| {
        let address = format!("10.0.{}.{}", number / 250, number % 250 + 1);
        json!({"endpoint": {"address": {"socket_address": {"address": address, "port_value": 9080}}}})
    };
    let cluster = |name: &String| {
        let count = if name.starts_with("huge") {
            3_000
        } else if name.starts_with("wide") {
            400
        } else {
            1
        };
        json!({
            "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": name, "type": "STATIC",
            "load_assignment": {"cluster_name": name,
                "endpoints": [{"lb_endpoints": (0..count).map(endpoint).collect::<Vec<_>>()}]},
        })
    };
    let route = |name: &String| json!({"match": {"prefix": format!("/{name}/")}, "route": {"cluster": name}});
    let routes = json!({
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "name": "routes",
        "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": names.iter().map(route).collect::<Vec<_>>()}],
    });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in", "rds": {"route_config_name": "routes", "config_source": {"ads": {}}},
        "http_filters": [{"name": "router", "typed_config":
            {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    let listener = json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "http",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 10080}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    });
    let resources: Vec<_> = names.iter().map(cluster).chain([routes, listener]).collect();
    // Whole at once, as a reader may look at any time.
    let hidden = dir.join(".mesh");
    fs::write(&hidden, json!({"resources": resources}).to_string()).expect("written");
    fs::rename(hidden, dir.join("mesh.json")).expect("renamed");
}

fn names(kind: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{kind}-{number}"))
}

fn replica(etcd: &Etcd, dir: &Path, more: &[&str]) -> Confcast {
    let url = format!("http://{}", etcd.address);
    let dir = dir.to_str().expect("text");
    let args = ["--publish", "--upstream", &url, "--xds-file", dir, "--publish-lease-seconds", "2"];
    Confcast::serve(&[&args[..], more].concat())
}

fn status(replica: &Confcast) -> Value {
    http::get(replica.admin, "/status").json()["publish"].clone()
}

fn leads(replica: &Confcast) -> bool {
    status(replica)["leader"] == true
}

fn signal(replica: &Confcast, signal: &str) {
    let pid = replica.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().expect("kill runs").success());
}

/// Looks at every revision since `first`: nothing refers to what is not there.
fn nothing_dangles(etcd: &Etcd, first: i64) -> usize {
    let (last, _) = content(etcd, 0);
    for revision in first..=last {
        let (_, all) = content(etcd, revision);
        for (key, value) in &all {
            let there = |to: &ObjectKey| all.contains_key(std::str::from_utf8(&to.etcd_key("/apisix")).expect("text"));
            let missing = references(value).into_iter().find(|to| !there(to));
            assert_eq!(missing, None, "{key} at {revision}");
        }
    }
    usize::try_from(last - first + 1).expect("few")
}

#[test]
fn another_replica_takes_over_from_one_that_is_killed_in_the_middle_of_a_write() {
    takes_over(Release::Debian);
}

#[test]
fn another_replica_takes_over_at_an_etcd_3_6() {
    takes_over(Release::V36);
}

fn takes_over(at: Release) {
    let Some(binary) = at.program() else { return };
    let etcd = Etcd::start(&binary);
    let dir = tempfile::tempdir().expect("a directory");
    write_mesh(dir.path(), names("old", 60));
    put(&etcd, "/apisix/consumers/mine", "{\"username\":\"mine\"}");
    put(&etcd, "/apisix/routes/mine", "{\"uri\":\"/mine\"}");
    // Small transactions, so that a plan takes many; and a change that takes everything away is meant here.
    let small = ["--publish-max-operations", "6", "--removal-guard-percent", "100"];
    let first = replica(&etcd, dir.path(), &small);
    until("published", || status(&first)["complete"] == true);
    let old = objects(&etcd);
    assert!(old.len() >= 120, "{}", old.len());
    // Those of others, which the replica mirrors, are none of the source's.
    let metrics = http::get(first.admin, "/metrics").text();
    let counts = metrics.lines().filter(|line| line.starts_with("confcast_objects{"));
    let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
    assert_eq!(counts.sum::<usize>(), old.len(), "{metrics}");
    let second = replica(&etcd, dir.path(), &small);
    until("in the queue", || {
        let queue = Keys::new("/apisix").queue();
        let text = |key: &[u8]| std::str::from_utf8(key).expect("text").to_owned();
        http::range(etcd.address, &text(queue.start()), &text(&queue.end().expect("an end"))).pairs.len() == 2
    });
    assert!(leads(&first) && !leads(&second));
    // What did not change is not written, by whomever it is looked at.
    let (before, _) = content(&etcd, 0);
    write_mesh(dir.path(), names("old", 60));
    write_mesh(dir.path(), names("new", 60));
    until("in the middle", || content(&etcd, 0).0 > before + 5);
    first.kill();
    let killed = Instant::now();
    until("another one leads", || leads(&second));
    let led = killed.elapsed();
    until("completed", || status(&second)["complete"] == true);
    println!(
        "failover of a killed publisher with a lease of 2 s: {led:?}, all is written after {:?}",
        killed.elapsed()
    );
    let new = objects(&etcd);
    assert!(new.len() >= 120 && new.keys().all(|key| !old.contains_key(key) || old[key] == new[key]));
    let (_, all) = content(&etcd, 0);
    assert_eq!(all["/apisix/routes/mine"], b"{\"uri\":\"/mine\"}");
    assert_eq!(all["/apisix/consumers/mine"], b"{\"username\":\"mine\"}");
    let revisions = nothing_dangles(&etcd, 4);
    println!("{revisions} revisions, no reference in any of them leads nowhere");
    // A leader that stops lets another one take over at once, which finds nothing to do.
    let third = replica(&etcd, dir.path(), &small);
    until("loaded", || !status(&third)["wanted"].is_null());
    let asked = Instant::now();
    assert!(second.terminate());
    until("the third leads", || status(&third)["complete"] == true);
    println!("failover of a publisher that stops: {:?}", asked.elapsed());
    assert_eq!(objects(&etcd), new);
    assert_eq!(status(&third)["writes"], 0);
}

#[test]
fn a_paused_leader_does_not_write_after_its_lease_has_run_out() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let etcd = Etcd::start(&binary);
    let (a, b) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    write_mesh(a.path(), names("of-a", 3));
    write_mesh(b.path(), names("of-b", 4));
    let first = replica(&etcd, a.path(), &[]);
    until("the first one leads", || status(&first)["complete"] == true);
    let second = replica(&etcd, b.path(), &[]);
    until("loaded", || !status(&second)["wanted"].is_null());
    let of_a = objects(&etcd);
    signal(&first, "-STOP");
    // What the first one will want to write when it goes on.
    write_mesh(a.path(), names("late", 5));
    until("the second one leads", || status(&second)["complete"] == true);
    let of_b = objects(&etcd);
    assert_ne!(of_a, of_b);
    let (revision, _) = content(&etcd, 0);
    signal(&first, "-CONT");
    until("the first one knows", || !leads(&first));
    let resumed = Instant::now();
    while resumed.elapsed() < Duration::from_secs(2) {
        assert_eq!(objects(&etcd), of_b, "the deposed leader has written");
    }
    assert!(leads(&second));
    // Leases and places in the queue are all that was written.
    assert_eq!(status(&second)["writes"].as_u64().map(|writes| writes > 0), Some(true));
    assert!(content(&etcd, 0).0 <= revision + 3);
}

#[test]
fn more_objects_and_larger_ones_than_a_transaction_takes() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let etcd = Etcd::start(&binary);
    let dir = tempfile::tempdir().expect("a directory");
    write_mesh(dir.path(), names("many", 300));
    let publisher = replica(&etcd, dir.path(), &[]);
    until("published", || status(&publisher)["complete"] == true);
    assert!(objects(&etcd).len() >= 600);
    let writes = status(&publisher)["writes"].as_u64().expect("a number");
    assert!((10..=14).contains(&writes), "63 objects a transaction: {writes}");
    // One endpoint: one object, one revision.
    let (before, _) = content(&etcd, 0);
    let path = dir.path().join("mesh.json");
    let text = fs::read_to_string(&path).expect("text").replacen("10.0.0.1", "10.0.0.2", 1);
    fs::write(&path, text).expect("written");
    until("changed", || content(&etcd, 0).0 > before);
    until("complete", || status(&publisher)["complete"] == true);
    assert_eq!(content(&etcd, 0).0, before + 1);
    // A user takes one of the objects, and gets it; another one deletes one, and it comes back.
    let keys: Vec<_> = objects(&etcd).into_keys().filter(|key| key.contains("/routes/")).take(2).collect();
    put(&etcd, &keys[0], "{\"uri\":\"/theirs\"}");
    until("reported", || status(&publisher)["conflicts"].as_array().is_some_and(|list| list.len() == 1));
    http::post(etcd.address, "/v3/kv/deleterange", &json!({"key": b64(&keys[1])}));
    until("mended", || objects(&etcd).contains_key(&keys[1]));
    assert_eq!(objects(&etcd)[&keys[0]], b"{\"uri\":\"/theirs\"}");
    assert!(publisher.terminate());
    // Three of the wide ones go into a transaction, and a huge one into none, nor do the routes to it.
    write_mesh(dir.path(), names("wide", 12).chain(names("huge", 1)));
    let publisher = replica(&etcd, dir.path(), &["--publish-max-bytes", "65536"]);
    until("written", || status(&publisher)["complete"] == true);
    let left_out = status(&publisher)["left_out"].as_array().cloned().unwrap_or_default();
    let of = |kind: &str| left_out.iter().filter(|key| key.as_str().is_some_and(|key| key.starts_with(kind))).count();
    assert_eq!((of("upstreams/"), of("routes/")), (1, 1), "{left_out:?}");
    nothing_dangles(&etcd, content(&etcd, 0).0 - 5);
}

#[test]
fn every_replica_serves_what_the_etcd_holds() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let etcd = Etcd::start(&binary);
    let dir = tempfile::tempdir().expect("a directory");
    write_mesh(dir.path(), names("a", 3));
    let replicas = [replica(&etcd, dir.path(), &[]).ready(), replica(&etcd, dir.path(), &[]).ready()];
    until("published", || objects(&etcd).len() == 6);
    let read = |address| {
        let all = json!({"key": b64("/apisix/"), "range_end": b64("/apisix0")});
        let answer = http::post(address, "/v3/kv/range", &all).json();
        json!([answer["header"]["cluster_id"], answer["kvs"]])
    };
    write_mesh(dir.path(), names("a", 5));
    until("published anew", || objects(&etcd).len() == 10);
    for replica in &replicas {
        assert_eq!(read(replica.address), read(etcd.address));
        let written =
            http::post(replica.address, "/v3/kv/put", &json!({"key": b64("/apisix/mine"), "value": b64("1")}));
        assert_eq!(written.status, 200, "what is not the publisher's can be written");
    }
}

#[test]
fn the_password_file_is_read_again_when_the_token_is_not_good_any_more() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let etcd = Etcd::start(&binary);
    let root = Root::protect(etcd.address, "confcast", "first");
    let dir = tempfile::tempdir().expect("a directory");
    let (mesh, file) = (dir.path().join("mesh"), dir.path().join("password"));
    fs::create_dir(&mesh).expect("made");
    fs::write(&file, "first\n").expect("written");
    write_mesh(&mesh, names("a", 3));
    let login = ["--upstream-user", "confcast", "--upstream-password-file", file.to_str().expect("text")];
    let careful = ["--upstream-open-reads", "--when-upstream-away", "refuse"];
    let replica = replica(&etcd, &mesh, &[&login[..], &careful].concat()).ready();
    until("published", || status(&replica)["complete"] == true);
    root.change_password("confcast", "second");
    fs::write(&file, "second\n").expect("written");
    write_mesh(&mesh, names("a", 5));
    // Read at the replica, which asks the etcd with each read how far it is.
    let all = json!({"key": b64("/apisix/routes/"), "range_end": b64("/apisix/routes0"), "count_only": true});
    until("published and read with the new password", || {
        let answer = http::post(replica.address, "/v3/kv/range", &all);
        answer.status == 200 && answer.json()["count"] == "6"
    });
    assert_eq!(root.post("/v3/kv/range", &all).json()["count"], "6", "five, and the directory");
}
