//! TLS on the admin port: who is served what, by which certificate, and the commands that talk to it.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::fs;
use std::process::{Command, Output};

use support::http::{Answer, get};
use support::tls::{Authority, Client};
use support::{Confcast, until};

struct Server {
    authority: Authority,
    confcast: Confcast,
}

/// A server whose admin port speaks TLS; `CA` among the flags is the authority's file.
fn serve(more: &[&str]) -> Server {
    let authority = Authority::new();
    authority.issue("admin", "127.0.0.1");
    authority.issue("operator", "operator.example");
    let [cert, key, ca] = ["admin.pem", "admin.key", "ca.pem"].map(|name| authority.text(name));
    let more: Vec<_> = more.iter().map(|flag| if *flag == "CA" { ca.as_str() } else { flag }).collect();
    let tls = ["--source", "none", "--admin-tls-cert", &cert, "--admin-tls-key", &key];
    let confcast = Confcast::serve(&[&tls[..], &more].concat());
    Server { authority, confcast }
}

impl Server {
    fn request(&self, certificate: Option<&str>, head: &str) -> Answer {
        let client = Client { certificate, ..Client::of(&self.authority) };
        let mut connection = client.connect(self.confcast.admin).expect("connects").connection;
        connection.send(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes());
        connection.answer()
    }

    fn get(&self, certificate: Option<&str>, path: &str) -> Answer {
        self.request(certificate, &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1"))
    }

    /// Runs a command against the admin port.
    fn run(&self, command: &str, more: &[&str]) -> Output {
        let endpoint = format!("https://{}", self.confcast.admin);
        let mut run = Command::new(env!("CARGO_BIN_EXE_confcast"));
        run.args([command, "--endpoint", &endpoint]).args(more).output().expect("runs")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn the_admin_port_speaks_tls_and_the_commands_do_too() {
    let server = serve(&[]);
    for path in ["/livez", "/readyz", "/status", "/metrics", "/log"] {
        assert_eq!(server.get(None, path).status, 200, "{path}");
    }
    // HTTP/1.1, although the port for clients would speak HTTP/2.
    let both: &[&[u8]] = &[b"h2", b"http/1.1"];
    let secure = Client { alpn: both, ..Client::of(&server.authority) }.connect(server.confcast.admin);
    assert_eq!(secure.expect("connects").alpn.as_deref(), Some(b"http/1.1".as_slice()));
    let clear = get(server.confcast.admin, "/livez");
    assert_eq!((clear.status, clear.text().as_str()), (400, "this port speaks TLS: use https instead of http\n"));
    let ca = server.authority.text("ca.pem");
    let status = server.run("status", &["--ca", &ca]);
    assert_eq!(status.status.code(), Some(0), "{}", said(&status));
    assert!(said(&status).contains("ready       yes\n"), "{}", said(&status));
    let level = server.run("log-level", &["--ca", &ca, "debug"]);
    assert_eq!((level.status.code(), said(&level).as_str()), (Some(0), "debug\n"));
    let refused = |more: &[&str], reason: &str| {
        let output = server.run("status", more);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(reason), "{}", said(&output));
    };
    refused(&[], "needs --ca");
    refused(&["--ca", &Authority::new().text("ca.pem")], "invalid peer certificate");
    refused(&["--ca", &ca, "--server-name", "other.example"], "TLS with");
    // Handshakes that do not come to an end keep nobody out.
    let _silent: Vec<_> =
        (0..10).map(|_| std::net::TcpStream::connect(server.confcast.admin).expect("connects")).collect();
    assert_eq!(server.get(None, "/livez").status, 200);
    let metrics = server.get(None, "/metrics").text();
    let ends = |port: &str| {
        let name = format!("confcast_tls_certificate_expiry_seconds{{port=\"{port}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok()).expect("a metric")
    };
    assert!(ends("admin") > 0.0 && ends("clients") == 0.0);
}

#[test]
fn without_a_certificate_there_are_only_probes_where_one_is_asked_for() {
    let server = serve(&["--admin-client-ca", "CA", "--admin-debug"]);
    for path in ["/livez", "/readyz"] {
        assert_eq!(server.get(None, path).status, 200, "{path}");
    }
    for path in ["/", "/status", "/report", "/metrics", "/log", "/debug", "/debug/streams"] {
        let refused = server.get(None, path);
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.text().starts_with("show a client certificate"), "{}", refused.text());
        assert_eq!(server.get(Some("operator"), path).status, 200, "{path}");
    }
    let stranger = Authority::new();
    stranger.issue("operator", "operator.example");
    for name in ["operator.pem", "operator.key"] {
        fs::copy(stranger.path(name), server.authority.path(&format!("stranger-{name}"))).expect("copied");
    }
    let [ca, cert, key] = ["ca.pem", "operator.pem", "operator.key"].map(|name| server.authority.text(name));
    let [other, other_key] = ["stranger-operator.pem", "stranger-operator.key"].map(|name| server.authority.text(name));
    let status = server.run("status", &["--ca", &ca, "--cert", &cert, "--key", &key]);
    assert_eq!(status.status.code(), Some(0), "{}", said(&status));
    for more in [&["--ca", &ca][..], &["--ca", &ca, "--cert", &other, "--key", &other_key]] {
        assert_eq!(server.run("status", more).status.code(), Some(1));
    }
    let put = "PUT /log HTTP/1.1\r\nHost: any.name\r\nContent-Length: 0";
    assert_eq!(server.request(None, put).status, 403);
    assert_eq!(server.request(Some("operator"), put).status, 400, "it may, but does not say what");
}

#[test]
fn a_token_is_asked_for_beside_the_certificate() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("token");
    fs::write(&file, "a".repeat(32)).expect("written");
    let file = file.display().to_string();
    let server = serve(&["--admin-client-ca", "CA", "--admin-token-file", &file]);
    let [ca, cert, key] = ["ca.pem", "operator.pem", "operator.key"].map(|name| server.authority.text(name));
    let tls = ["--ca", &ca, "--cert", &cert, "--key", &key, "warn"];
    assert_eq!(server.run("log-level", &tls).status.code(), Some(1));
    let level = server.run("log-level", &[&tls[..], &["--token-file", &file]].concat());
    assert_eq!(level.status.code(), Some(0), "{}", said(&level));
}

#[test]
fn a_new_certificate_is_taken_over() {
    let server = serve(&[]);
    let shown = || Client::of(&server.authority).connect(server.confcast.admin).expect("connects").certificate;
    let before = shown();
    server.authority.issue("admin", "127.0.0.1");
    until("shown", || shown() != before);
    assert!(server.confcast.log().contains("certificates have changed"), "{}", server.confcast.log());
}

#[test]
fn what_does_not_go_together_is_refused_at_the_start() {
    let authority = Authority::new();
    authority.issue("admin", "127.0.0.1");
    let [cert, key, ca] = ["admin.pem", "admin.key", "ca.pem"].map(|name| authority.text(name));
    let check =
        |flags: &[&str]| Command::new(env!("CARGO_BIN_EXE_confcast")).arg("check").args(flags).output().expect("runs");
    for (flags, reason) in [
        (&["--admin-tls-cert", &cert][..], "--admin-tls-cert: needs --admin-tls-key"),
        (&["--admin-tls-key", &key], "--admin-tls-key: needs --admin-tls-cert"),
        (&["--admin-client-ca", &ca], "--admin-client-ca: needs --admin-tls-cert"),
        (&["--admin-tls-cert", &cert, "--admin-tls-key", &ca], "has no private key in PEM"),
    ] {
        let output = check(flags);
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert!(said(&output).contains(reason), "{}", said(&output));
    }
    assert_eq!(
        check(&["--admin-tls-cert", &cert, "--admin-tls-key", &key, "--admin-client-ca", &ca]).status.code(),
        Some(0)
    );
}
