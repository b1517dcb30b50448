//! Alert rules and the dashboard: against what a running server shows, by a Prometheus that scrapes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use confcast::testing::ports::free_port;
use serde_json::{Value, json};

use crate::manifests::list;
use crate::support::{Confcast, http, program, until};
use crate::{deploy, run};

const RULES: &str = "prometheus/confcast.rules";
const DASHBOARD: &str = "grafana/confcast.json";

fn read(path: &str) -> String {
    fs::read_to_string(deploy(path)).expect("text")
}

/// The dashboard's queries, with the panels' titles.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let mut found = Vec::new();
    for panel in list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row") {
        let title = panel["title"].as_str().expect("a title");
        let targets = list(&panel["targets"]);
        assert!(!targets.is_empty() && panel["description"].is_string(), "{title}");
        found
            .extend(targets.iter().map(|target| (title.to_owned(), target["expr"].as_str().expect("text").to_owned())));
    }
    assert!(found.len() > 30, "{}", found.len());
    found
}

/// The alerts' expressions, with their names.
fn expressions() -> Vec<(String, String)> {
    let rules: Value = serde_saphyr::from_str(&read(RULES)).expect("YAML");
    let all = list(&rules["groups"]).iter().flat_map(|group| list(&group["rules"]));
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    all.map(|rule| (text(&rule["alert"]), text(&rule["expr"]))).collect()
}

/// A query as Grafana sends it when everything is chosen.
fn filled(query: &str) -> String {
    query.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$job", ".*")
}

/// What is shown: names, with every value of each of their labels.
fn shown(text: &str) -> BTreeMap<String, BTreeSet<(String, String)>> {
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let end = line.find(['{', ' ']).expect("a name");
        found.entry(line[..end].to_owned()).or_default().extend(pairs(line));
    }
    found
}

/// Labels that are compared with `=`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = regex::Regex::new(r#"([a-z_]+)="([^"]*)""#).expect("a pattern");
    pair.captures_iter(text).map(|found| (found[1].to_owned(), found[2].to_owned())).collect()
}

#[test]
fn what_is_asked_for_is_shown() {
    let server = Confcast::serve(&["--source", "none"]).ready();
    let shown = shown(&http::get(server.admin, "/metrics").text());
    let selector =
        regex::Regex::new(r"\b((?:confcast|etcd|process|grpc_server)_[a-z_]+)(\{[^}]*\})?").expect("a pattern");
    let by = regex::Regex::new(r"by \(([^)]*)\)").expect("a pattern");
    let mut names = BTreeSet::new();
    for (title, query) in queries().into_iter().chain(expressions()) {
        let asked: Vec<_> = selector.captures_iter(&query).collect();
        assert!(!asked.is_empty(), "{title}: {query}");
        for found in asked {
            let series = shown.get(&found[1]).unwrap_or_else(|| panic!("{title}: no {}", &found[1]));
            let labels = found.get(2).map(|labels| pairs(labels.as_str())).unwrap_or_default();
            assert!(labels.iter().all(|label| series.contains(label)), "{title}: {query}");
            names.insert(found[1].to_owned());
        }
        // What is summed by is there as well; Prometheus itself adds the first two.
        let labels =
            by.captures_iter(&query).flat_map(|found| found[1].split(", ").map(str::to_owned).collect::<Vec<_>>());
        for label in labels.filter(|label| !["instance", "job"].contains(&label.as_str())) {
            let has = |name: &str| shown[name].iter().any(|(other, _)| *other == label);
            assert!(selector.captures_iter(&query).any(|found| has(&found[1])), "{title}: nothing has {label}");
        }
    }
    assert!(names.len() > 35, "{names:?}");
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    let Some(promtool) = program("CONFCAST_PROMTOOL", "promtool") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let said = run(Command::new(&promtool).args(["check", "rules"]).arg(deploy(RULES))).expect("good rules");
    let rules = deploy(RULES).canonicalize().expect("a file").display().to_string();
    let tests = include_str!("alerts.yaml").replace("RULES", &rules);
    // Each alert is seen quiet, and seen firing.
    let alerts = expressions();
    assert!(said.contains(&format!("{} rules found", alerts.len())), "{said}");
    for (name, _) in &alerts {
        assert_eq!(tests.matches(&format!("alertname: {name} }}")).count(), 1, "{name} is not seen quiet");
        assert_eq!(tests.matches(&format!("alertname: {name}\n")).count(), 1, "{name} is not seen firing");
    }
    let file = dir.path().join("alerts.yaml");
    fs::write(&file, tests).expect("written");
    run(Command::new(&promtool).args(["test", "rules"]).arg(file)).unwrap_or_else(|error| panic!("{error}"));
}

/// A Prometheus that scrapes every second. Killed when it is dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    fn start(binary: &std::path::Path, server: SocketAddr) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [deploy(RULES).canonicalize().expect("a file")],
            "scrape_configs": [{"job_name": "confcast", "static_configs": [{"targets": [server.to_string()]}]}],
        });
        // JSON is YAML.
        fs::write(dir.path().join("prometheus.yml"), config.to_string()).expect("written");
        let child = Command::new(binary)
            .arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Prometheus starts");
        let prometheus = Self { child, address, _dir: dir };
        until("Prometheus is ready", || {
            std::net::TcpStream::connect(address).is_ok() && http::get(address, "/-/ready").status == 200
        });
        prometheus
    }

    fn get(&self, path: &str) -> Value {
        http::get(self.address, path).json()
    }

    fn query(&self, query: &str) -> Value {
        let escaped = query.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}"));
        self.get(&format!("/api/v1/query?query={escaped}"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_panel_has_data_and_every_rule_can_be_evaluated() {
    let Some(binary) = program("CONFCAST_PROMETHEUS", "prometheus") else { return };
    let server = Confcast::serve(&["--source", "none"]).ready();
    let prometheus = Prometheus::start(&binary, server.admin);
    // A rate needs two samples.
    until("two samples", || {
        let answer = prometheus.query("count_over_time(confcast_ready[1m]) >= 2");
        !list(&answer["data"]["result"]).is_empty()
    });
    for (title, query) in queries() {
        let answer = prometheus.query(&filled(&query));
        assert_eq!(answer["status"], "success", "{title}: {query}: {answer}");
        assert!(!list(&answer["data"]["result"]).is_empty(), "{title}: {query}: no data");
    }
    let rules = || {
        let answer = prometheus.get("/api/v1/rules");
        list(&answer["data"]["groups"]).iter().flat_map(|group| list(&group["rules"]).to_vec()).collect::<Vec<_>>()
    };
    until("the rules are evaluated", || rules().iter().all(|rule| rule["health"] != "unknown"));
    let rules = rules();
    assert_eq!(rules.len(), expressions().len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_eq!(rule["state"], "inactive", "a good server: {rule}");
    }
}
