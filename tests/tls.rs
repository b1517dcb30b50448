//! TLS on the served port, with clients of every kind.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::fs;
use std::io::Read;
use std::process::Command;

use serde_json::json;
use support::http::{Connection, Watch, b64, post};
use support::tls::{Authority, Client};
use support::{Confcast, program, until};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ProtocolVersion, SupportedProtocolVersion};

/// Something that was published, in which a client reads that it is served.
const PUT: &str = "/v3/kv/put";

static ONLY_12: [&SupportedProtocolVersion; 1] = [&TLS12];
static ONLY_13: [&SupportedProtocolVersion; 1] = [&TLS13];

struct Server {
    authority: Authority,
    confcast: Confcast,
}

/// A server with a certificate for its address and one for a name; `more` are further flags.
fn serve(more: &[&str]) -> Server {
    let authority = Authority::new();
    authority.issue("server", "127.0.0.1");
    authority.issue("named", "gateway.example");
    let files = ["server.pem", "server.key", "named.pem", "named.key", "ca.pem"].map(|name| authority.text(name));
    let [cert, key, named, named_key, ca] = files.each_ref().map(String::as_str);
    let tls = ["--tls-cert", cert, "--tls-key", key, "--tls-cert", named, "--tls-key", named_key];
    let more: Vec<_> = more.iter().map(|flag| if *flag == "CA" { ca } else { flag }).collect();
    let confcast = Confcast::serve(&[&["--source", "none"], &tls[..], &more].concat()).ready();
    Server { authority, confcast }
}

fn put(mut connection: Connection, key: &str) -> (u16, String) {
    connection.post(PUT, &json!({"key": b64(key), "value": b64("v")}).to_string());
    let answer = connection.answer();
    (answer.status, answer.text())
}

#[test]
fn clients_with_and_without_sni_and_alpn_are_served_in_both_versions() {
    let Server { authority, confcast } = serve(&[]);
    let http: &[&[u8]] = &[b"http/1.1"];
    let mut shown = Vec::new();
    for name in [None, Some("gateway.example")] {
        for alpn in [&[], http] {
            for (versions, version) in [(&ONLY_12, ProtocolVersion::TLSv1_2), (&ONLY_13, ProtocolVersion::TLSv1_3)] {
                let client = Client { name, alpn, versions, ..Client::of(&authority) };
                let secure = client.connect(confcast.address).expect("connects");
                assert_eq!(secure.version, Some(version));
                assert_eq!(secure.alpn.as_deref(), alpn.first().copied());
                shown.push(secure.certificate);
                assert_eq!(put(secure.connection, "a").0, 200);
            }
        }
    }
    // The first four named no server.
    assert!(shown[..4].iter().all(|certificate| *certificate == shown[0]));
    assert!(shown[4..].iter().all(|certificate| *certificate == shown[4]) && shown[0] != shown[4]);
    // A watch has its connection for itself, also here; a large event is one piece, and comes whole.
    let secure = Client::of(&authority).connect(confcast.address).expect("connects");
    let mut watch = Watch::over(secure.connection, "w", "x", 0);
    let mut writer = Client::of(&authority).connect(confcast.address).expect("connects").connection;
    for length in [3, 1 << 20] {
        writer.post(PUT, &json!({"key": b64("w1"), "value": b64("x".repeat(length))}).to_string());
        assert_eq!(writer.answer().status, 200);
        assert_eq!(watch.keys(), [("w1".to_owned(), false)]);
    }
}

#[test]
fn http2_is_spoken_with_and_without_negotiation() {
    let Server { authority, confcast } = serve(&[]);
    for alpn in [&[] as &[&[u8]], &[b"h2"]] {
        let client = Client { alpn, ..Client::of(&authority) };
        let mut connection = client.connect(confcast.address).expect("connects").connection;
        // In two records, as nothing says that it is one.
        connection.send(b"PRI * HTTP/2.0\r\n");
        connection.send(b"\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        let mut frame = [0; 9];
        connection.stream.read_exact(&mut frame).expect("a frame comes");
        assert_eq!(frame[3], 4, "settings");
    }
    let Some(etcdctl) = program("CONFCAST_ETCDCTL", "etcdctl") else { return };
    let run = |ca: &str| {
        let endpoint = format!("--endpoints=https://{}", confcast.address);
        let mut command = Command::new(&etcdctl);
        command.env("ETCDCTL_API", "3").args([&endpoint, "--cacert", ca, "--command-timeout=3s", "put", "a", "b"]);
        command.output().expect("etcdctl runs")
    };
    let done = run(&authority.text("ca.pem"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(!run(&Authority::new().text("ca.pem")).status.success(), "another authority");
}

#[test]
fn clear_text_is_told_that_the_port_speaks_tls_or_served_if_that_is_wanted() {
    let Server { confcast, .. } = serve(&[]);
    let answer = post(confcast.address, PUT, &json!({"key": b64("a")}));
    assert_eq!((answer.status, answer.text().as_str()), (400, "this port speaks TLS: use https instead of http\n"));
    let Server { authority, confcast } = serve(&["--tls-optional"]);
    assert_eq!(post(confcast.address, PUT, &json!({"key": b64("a")})).status, 200);
    let secure = Client::of(&authority).connect(confcast.address).expect("connects");
    assert_eq!(put(secure.connection, "a").0, 200);
}

#[test]
fn a_client_is_the_user_that_its_certificate_names() {
    let Server { authority, confcast } = serve(&["--client-ca", "CA"]);
    for user in ["root", "reader", "nobody"] {
        authority.issue(user, "client.example");
    }
    let stranger = Authority::new();
    stranger.issue("root", "client.example");
    for kind in ["pem", "key"] {
        fs::copy(stranger.path(&format!("root.{kind}")), authority.path(&format!("stranger.{kind}"))).expect("copied");
    }
    let as_user = |name: &str| Client { certificate: Some(name), ..Client::of(&authority) }.connect(confcast.address);
    let call = |user: &str, path: &str, body: serde_json::Value| {
        let mut connection = as_user(user).expect("connects").connection;
        connection.post(path, &body.to_string());
        connection.answer()
    };
    let read = json!({"permType": "READ", "key": b64("/apisix"), "range_end": b64("/apisiy")});
    for (path, body) in [
        ("/v3/auth/user/add", json!({"name": "root", "password": "r"})),
        ("/v3/auth/user/grant", json!({"user": "root", "role": "root"})),
        ("/v3/auth/role/add", json!({"name": "gateway"})),
        ("/v3/auth/role/grant", json!({"name": "gateway", "perm": read})),
        ("/v3/auth/user/add", json!({"name": "reader", "options": {"no_password": true}})),
        ("/v3/auth/user/grant", json!({"user": "reader", "role": "gateway"})),
        ("/v3/auth/enable", json!({})),
    ] {
        assert_eq!(call("root", path, body).status, 200, "{path}");
    }
    let range = json!({"key": b64("/apisix"), "range_end": b64("/apisiy")});
    // Unlike etcd's gateway, which refuses such clients; APISIX comes with certificates to it alone.
    assert_eq!(call("reader", "/v3/kv/range", range.clone()).status, 200);
    assert_eq!(call("reader", PUT, json!({"key": b64("/apisix/a")})).status, 403);
    assert_eq!(call("nobody", "/v3/kv/range", range.clone()).status, 403);
    assert_eq!(call("root", PUT, json!({"key": b64("/apisix/a")})).status, 200);
    let mut watch = as_user("nobody").expect("connects").connection;
    watch.post("/v3/watch", &json!({"create_request": range}).to_string());
    assert_eq!(watch.head().0, 200);
    let first: serde_json::Value = serde_json::from_slice(&watch.chunk()).expect("JSON");
    assert_eq!(first["result"]["canceled"], true, "{first}");

    // A token says more than the certificate.
    let token = call("reader", "/v3/auth/authenticate", json!({"name": "root", "password": "r"})).json()["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let mut connection = as_user("reader").expect("connects").connection;
    let body = json!({"key": b64("/apisix/b")}).to_string();
    let length = body.len();
    connection.send(
        format!("POST {PUT} HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\nContent-Length: {length}\r\n\r\n{body}")
            .as_bytes(),
    );
    assert_eq!(connection.answer().status, 200);

    // Without a certificate, or with one of somebody else's, there is no connection.
    for certificate in [None, Some("stranger")] {
        let client = Client { certificate, ..Client::of(&authority) };
        let refused = client.connect(confcast.address).and_then(|mut secure| {
            // In TLS 1.3 the client is done before it is refused.
            secure.connection.stream.read_exact(&mut [0])
        });
        assert!(refused.is_err());
    }
    let Some(etcdctl) = program("CONFCAST_ETCDCTL", "etcdctl") else { return };
    let run = |user: &str, args: &[&str]| {
        let file = |name: &str| authority.text(name);
        let endpoint = format!("--endpoints=https://{}", confcast.address);
        let mut command = Command::new(&etcdctl);
        command.env("ETCDCTL_API", "3").args([&endpoint, "--command-timeout=3s", "--cacert", &file("ca.pem")]);
        command.args(["--cert", &file(&format!("{user}.pem")), "--key", &file(&format!("{user}.key"))]).args(args);
        String::from_utf8_lossy(&command.output().expect("etcdctl runs").stderr).into_owned()
    };
    assert_eq!(run("reader", &["get", "/apisix/a"]), "");
    assert!(run("reader", &["put", "/apisix/a", "b"]).contains("permission denied"));
    assert!(run("nobody", &["get", "/apisix/a"]).contains("permission denied"));
}

#[test]
fn new_certificates_are_used_without_a_restart_and_bad_ones_are_not() {
    let Server { authority, confcast } = serve(&[]);
    let shown = || Client::of(&authority).connect(confcast.address).expect("connects").certificate;
    let before = shown();
    fs::write(authority.path("server.pem"), "half of").expect("written");
    until("told", || confcast.log().contains("certificates cannot be read"));
    assert_eq!(shown(), before);
    let mut open = Client::of(&authority).connect(confcast.address).expect("connects").connection;
    authority.issue("server", "127.0.0.1");
    until("changed", || shown() != before);
    open.post(PUT, &json!({"key": b64("a")}).to_string());
    assert_eq!(open.answer().status, 200, "connections go on");
    let log = confcast.log();
    assert!(!log.contains("PRIVATE KEY"), "{log}");
    let metrics = support::http::get(confcast.admin, "/metrics").text();
    assert!(metrics.contains("confcast_tls_certificate_expiry_seconds"), "{metrics}");
}

#[test]
fn settings_that_do_not_fit_together_are_refused_with_the_reason() {
    let authority = Authority::new();
    authority.issue("a", "a.example");
    authority.issue("b", "b.example");
    let file = |name: &str| authority.text(name);
    let (cert, key, other) = (file("a.pem"), file("a.key"), file("b.key"));
    for (args, reason) in [
        (vec!["--tls-cert", &cert], "needs a --tls-key"),
        (vec!["--tls-cert", &cert, "--tls-key", &other], "b.key"),
        (vec!["--tls-cert", &cert, "--tls-key", &cert], "has no private key"),
        (vec!["--tls-cert", &key, "--tls-key", &key], "has no certificate"),
        (vec!["--tls-cert", "/none.pem", "--tls-key", &key], "/none.pem"),
        (vec!["--client-ca", &cert], "needs --tls-cert"),
        (vec!["--tls-cert", &cert, "--tls-key", &key, "--client-cert", "optional"], "needs --client-ca"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_confcast"));
        let output = command.arg("check").args(&args).output().expect("runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(reason), "{args:?}: {text}");
    }
}
