//! Settings that change while the server runs, without a restart and without a client that notices.
#![allow(clippy::float_cmp, clippy::print_stdout, missing_docs)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::history::pause;
use support::http::{Connection, Watch, b64, get, post};
use support::{Confcast, until};

const TAKEN: &str = "the settings were read again";
const REFUSED: &str = "the settings cannot be used; those from before hold";

/// A file of settings, and a server with it.
struct Reloaded {
    dir: tempfile::TempDir,
    server: Confcast,
}

impl Reloaded {
    fn start(settings: &str, flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("confcast.toml");
        fs::write(&path, settings).expect("written");
        let config = ["--config", &path.display().to_string()].map(str::to_owned);
        let config: Vec<_> = config.iter().map(String::as_str).collect();
        let server = Confcast::serve(&[&config, flags].concat()).ready();
        Self { dir, server }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("confcast.toml")
    }

    /// As a whole, as what mounts it does.
    fn write(&self, settings: &str) {
        let new = self.dir.path().join("new");
        fs::write(&new, settings).expect("written");
        fs::rename(new, self.path()).expect("renamed");
    }

    /// What came of it.
    fn reading(&self) -> Value {
        get(self.server.admin, "/status").json()["settings"].clone()
    }

    /// Changes the settings, and waits until they have been read.
    fn change(&self, settings: &str) -> Value {
        self.write(settings);
        let (before, logged) = (self.reading(), self.logged());
        hang_up(&self.server);
        until("read again", || self.reading() != before);
        // What is logged comes through a pipe, and may come later.
        until("logged", || self.logged() > logged);
        self.reading()
    }

    /// How often the log has said what came of it, which is the last that it says.
    fn logged(&self) -> usize {
        self.lines(TAKEN).len() + self.lines(REFUSED).len()
    }

    fn lines(&self, message: &str) -> Vec<Value> {
        lines(&self.server, message)
    }
}

fn hang_up(server: &Confcast) {
    let status = Command::new("kill").args(["-HUP", &server.id().to_string()]).status();
    assert!(status.expect("kill runs").success());
}

/// The entries of the log with a message.
fn lines(server: &Confcast, message: &str) -> Vec<Value> {
    let entries = server.log();
    let entries = entries.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    entries.filter(|entry| entry["message"] == message).collect()
}

fn grant(server: &Confcast) -> u16 {
    post(server.address, "/v3/lease/grant", &json!({"TTL": 60})).status
}

fn status(server: &Confcast) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_confcast"));
    let output = command.args(["status", "--endpoint", &format!("http://{}", server.admin)]).output();
    String::from_utf8(output.expect("runs").stdout).expect("text")
}

/// What writes it in place leaves it shorter for a moment, and no less correct.
#[test]
fn a_file_that_is_being_written_is_not_read() {
    let reloaded = Reloaded::start("max_leases = 1\n", &[]);
    // For longer than it takes until the file is looked at.
    for number in 0..140 {
        let limit = if number % 2 == 0 { "" } else { "max_leases = 7" };
        fs::write(reloaded.path(), format!("{limit} # {number}\n")).expect("written");
        pause(Duration::from_millis(50));
    }
    assert_eq!(reloaded.reading(), Value::Null);
    reloaded.write("max_leases = 2\n");
    until("read again", || !reloaded.reading().is_null());
    assert_eq!([0; 3].map(|_| grant(&reloaded.server)), [200, 200, 429]);
}

#[test]
fn a_limit_holds_for_the_next_request() {
    let reloaded = Reloaded::start("max_leases = 1\n", &[]);
    let server = &reloaded.server;
    assert_eq!([grant(server), grant(server)], [200, 429]);
    assert_eq!(reloaded.reading(), Value::Null);
    assert!(!status(server).contains("settings"));
    // Without a signal, as a mounted file changes.
    reloaded.write("max_leases = 2\n");
    until("read again", || !reloaded.reading().is_null());
    assert_eq!([grant(server), grant(server)], [200, 429]);
    until("logged", || reloaded.logged() == 1);
    assert_eq!(reloaded.lines(TAKEN)[0]["changed"], "max_leases");
    assert!(status(server).contains("settings    read again 0 s ago\n"), "{}", status(server));
    // With one.
    let reading = reloaded.change("max_leases = 0\n");
    assert_eq!((&reading["failure"], &reading["need_restart"]), (&Value::Null, &json!([])));
    assert_eq!([grant(server), grant(server), grant(server)], [200; 3]);
    // What is there stays, and counts.
    reloaded.change("max_leases = 4\n");
    assert_eq!(grant(server), 429);
}

/// A limit of each kind: of requests, of answers, and of connections.
#[test]
fn limits_of_requests_and_connections_change() {
    let reloaded = Reloaded::start("max_txn_ops = 1\nmax_request_bytes = 100\nmax_header_fields = 3\n", &[]);
    let address = reloaded.server.address;
    let put = |key: &str, size: usize| json!({"key": b64(key), "value": b64(vec![b'v'; size])});
    let txn = || {
        let put = |key| json!({"requestPut": put(key, 1)});
        post(address, "/v3/kv/txn", &json!({"success": [put("/a"), put("/b")]})).status
    };
    let range = || post(address, "/v3/kv/range", &json!({"key": b64("/"), "range_end": b64("0")})).status;
    let fields = || {
        let mut connection = Connection::open(address);
        connection.send(b"GET /version HTTP/1.1\r\nHost: test\r\na: b\r\nc: d\r\ne: f\r\n\r\n");
        connection.answer().status
    };
    let large = || post(address, "/v3/kv/put", &put("/c", 1_300_000)).status;
    assert_eq!([txn(), large(), fields()], [400, 429, 431]);
    let reading = reloaded.change("max_answer_mib = 1\n");
    assert_eq!((&reading["failure"], &reading["need_restart"]), (&Value::Null, &json!([])));
    assert_eq!([txn(), large(), fields(), range()], [200, 200, 200, 429]);
    reloaded.change("max_json_depth = 2\nhandshake_seconds = 1\ngrpc_keepalive_interval = \"1m30s\"\n");
    assert_eq!([txn(), range()], [400, 200]);
    let silent = std::net::TcpStream::connect(address).expect("connects");
    silent.set_read_timeout(Some(std::time::Duration::from_secs(5))).expect("set");
    assert_eq!(std::io::Read::read(&mut &silent, &mut [0; 64]).expect("an end"), 0);
    let reading = reloaded.change("grpc_keepalive_interval = \"soon\"\n");
    assert!(reading["failure"].as_str().is_some_and(|text| text.contains("1m30s")), "{reading}");
}

#[test]
fn connections_that_are_there_count_for_a_limit_that_comes_later() {
    let reloaded = Reloaded::start("", &[]);
    let server = &reloaded.server;
    let mut held: Vec<_> = (0..3).map(|_| Watch::open(server.address, "/a/", "/a0", 0)).collect();
    reloaded.change("max_connections_per_address = 3\n");
    assert_eq!(get(server.address, "/version").status, 503);
    reloaded.change("max_connections_per_address = 4\n");
    assert_eq!(get(server.address, "/version").status, 200);
    reloaded.change("max_connections_per_address = 4\nmax_connections = 3\n");
    assert_eq!(get(server.address, "/version").status, 503);
    reloaded.change("");
    let put = json!({"key": b64("/a/1"), "value": b64("v")});
    assert_eq!(post(server.address, "/v3/kv/put", &put).status, 200);
    for watch in &mut held {
        assert_eq!(watch.keys(), [("/a/1".to_owned(), false)]);
    }
}

#[test]
fn what_is_logged_and_who_may_look_change_with_the_file() {
    let reloaded = Reloaded::start("log = \"warn,confcast=info\"\n", &[]);
    let server = &reloaded.server;
    let levels = || get(server.admin, "/log").text();
    assert_eq!(levels(), "warn,confcast=info\n");
    let debug = || support::http::get_from(server.admin, "/debug", "localhost").status;
    assert_eq!(debug(), 404);
    reloaded.change("log = \"warn,confcast=debug\"\nadmin_debug = true\n");
    assert_eq!((levels().as_str(), debug()), ("warn,confcast=debug\n", 200));
    // What was set over the admin port stays until the file says something else.
    let mut connection = Connection::open(server.admin);
    connection.send(b"PUT /log HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\ninfo");
    assert_eq!(connection.answer().status, 200);
    reloaded.change("log = \"warn,confcast=debug\"\n");
    assert_eq!((levels().as_str(), debug()), ("info\n", 404));
    reloaded.change("log = \"error,confcast=info\"\n");
    assert_eq!(levels(), "error,confcast=info\n");
    reloaded.change("");
    assert_eq!(levels(), "info\n");
}

#[test]
fn a_file_that_is_not_good_changes_nothing() {
    let good = "max_leases = 1\n";
    let reloaded = Reloaded::start(good, &[]);
    let (server, file) = (&reloaded.server, reloaded.path().display().to_string());
    assert_eq!(grant(server), 200);
    let cases = [
        ("max_leases = 5\nremoval_guard_percent = 101\n", "--removal-guard-percent: use 0 to 100"),
        ("max_leases = 5\nmax_leeses = 5\n", "unknown field `max_leeses`"),
        ("max_leases = \"many\"\n", "invalid type: string \"many\", expected usize"),
        ("max_leases = 5\nlog = \"confcast=loud\"\n", "--log confcast=loud: "),
        ("max_leases = 5\nadmin_token_file = \"/nowhere\"\n", "--admin-token-file /nowhere: "),
        ("max_leases = 5\nauth_token_seconds = 1\n", "--auth-token-seconds: "),
    ];
    for (settings, reason) in cases {
        let reading = reloaded.change(settings);
        let failure = reading["failure"].as_str().unwrap_or_else(|| panic!("no failure: {settings}"));
        assert!(failure.contains(reason), "{failure}");
        let lines = reloaded.lines(REFUSED);
        let last = lines.last().unwrap_or_else(|| panic!("nothing logged: {settings}"));
        assert_eq!(last["file"], json!(file));
        assert!(last["error"].as_str().expect("a reason").contains(reason), "{last}");
        assert_eq!(server.metric("confcast_settings_good"), 0.0);
        assert!(status(server).contains("those from before hold: "), "{}", status(server));
        assert_eq!(grant(server), 429, "the limit of before holds");
    }
    fs::remove_file(reloaded.path()).expect("removed");
    until("missed", || reloaded.reading()["failure"].as_str().is_some_and(|failure| failure.contains("No such file")));
    assert_eq!((grant(server), get(server.address, "/version").status), (429, 200));
    let reading = reloaded.change("max_leases = 2\n");
    assert_eq!((&reading["failure"], grant(server)), (&Value::Null, 200));
    assert_eq!(server.metric("confcast_settings_good"), 1.0);
}

#[test]
fn what_needs_a_restart_is_named_until_it_is_as_it_was() {
    let reloaded = Reloaded::start("prefix = \"/a\"\nmax_leases = 1\n", &["--max-connections", "100"]);
    let server = &reloaded.server;
    // The file may be read twice: for the signal, and as it has changed.
    let settings = |message: &str| {
        let settings =
            reloaded.lines(message).into_iter().map(|line| line["setting"].as_str().expect("text").to_owned());
        settings.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    let reading = reloaded.change("prefix = \"/b\"\nxds_node_id = \"x\"\nmax_leases = 2\nmax_connections = 1\n");
    assert_eq!(reading["need_restart"], json!(["prefix", "xds_node_id"]));
    assert_eq!(settings("needs a restart"), ["prefix", "xds_node_id"]);
    assert_eq!(server.metric("confcast_settings_need_restart"), 2.0);
    assert!(status(server).contains("; a restart is needed for prefix, xds_node_id\n"), "{}", status(server));
    // The rest holds, but for what a flag says.
    assert_eq!([grant(server), grant(server), grant(server)], [200, 200, 429]);
    assert_eq!(settings("is given by a flag or a variable, which comes before the file"), ["max_connections"]);
    let _held = Watch::open(server.address, "/a/", "/a0", 0);
    assert_eq!(get(server.address, "/version").status, 200, "100 connections, as the flag says");
    let reading = reloaded.change("prefix = \"/a\"\n");
    assert_eq!(reading["need_restart"], json!([]));
    assert_eq!(server.metric("confcast_settings_need_restart"), 0.0);
}

#[test]
fn the_secret_of_tokens_needs_a_restart_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let secret = dir.path().join("secret");
    fs::write(&secret, [b'a'; 32]).expect("written");
    let setting = format!("auth_token_key_file = {:?}\n", secret.display().to_string());
    let reloaded = Reloaded::start(&setting, &[]);
    fs::write(&secret, [b'b'; 32]).expect("written");
    assert_eq!(reloaded.change(&setting)["need_restart"], json!(["auth_token_key_file"]));
}

#[test]
fn a_signal_without_a_file_is_harmless() {
    let server = Confcast::serve(&["--source", "none", "--max-leases", "1"]).ready();
    for count in 1..=2 {
        hang_up(&server);
        let message = "there is no file with settings that could be read again (--config)";
        until("told", || lines(&server, message).len() == count);
    }
    assert_eq!([grant(&server), grant(&server)], [200, 429]);
    assert!(server.terminate());
}

/// So many routes to one cluster.
fn mesh(routes: usize) -> String {
    let route = |n: usize| format!("    - {{ match: {{ prefix: /{n}/ }}, route: {{ cluster: one }} }}\n");
    let routes: String = (0..routes).map(route).collect();
    format!(
        r#"resources:
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: one
  type: STATIC
  load_assignment:
    cluster_name: one
    endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 10.0.0.1, port_value: 80 }} }} }} }}] }}]
- "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
  name: all
  virtual_hosts:
  - name: a
    domains: ["a.example"]
    routes:
{routes}"#
    )
}

#[test]
fn what_is_held_back_passes_when_the_guard_is_taken_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("mesh.yaml");
    fs::write(&file, mesh(40)).expect("written");
    let flags = ["--xds-file", &file.display().to_string()];
    let reloaded = Reloaded::start("removal_guard_seconds = 3600\n", &flags);
    let server = &reloaded.server;
    assert_eq!(server.objects().len(), 41);
    fs::write(dir.path().join("new"), mesh(1)).expect("written");
    fs::rename(dir.path().join("new"), &file).expect("renamed");
    until("held back", || server.metric("confcast_removal_held") == 1.0);
    assert_eq!(server.objects().len(), 41);
    reloaded.change("removal_guard_percent = 100\n");
    until("passed", || server.objects().len() == 2);
}
