//! Mirrors of an etcd that is protected: by TLS, by certificates of its clients, and by users.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use support::etcd::{Etcd, etcds};
use support::http::{Answer, Connection, b64, get, post};
use support::tls::Authority;
use support::users::{Root, post_as};
use support::{Confcast, mirror, until};

/// A mirror that may never be one.
fn start(url: &str, flags: &[&str]) -> Confcast {
    Confcast::serve(&[&["--source", "etcd", "--upstream", url], flags].concat())
}

fn put(server: SocketAddr, value: &str) -> Answer {
    post(server, "/v3/kv/put", &json!({"key": b64("/a"), "value": b64(value)}))
}

fn read(server: SocketAddr) -> Answer {
    post(server, "/v3/kv/range", &json!({"key": b64("/a")}))
}

fn value(answer: &Answer) -> Value {
    answer.json()["kvs"][0]["value"].clone()
}

/// Status of the answer to a watch.
fn watch(server: SocketAddr) -> u16 {
    let mut watch = Connection::open(server);
    watch.post("/v3/watch", &json!({"create_request": {"key": b64("/a")}}).to_string());
    watch.head().0
}

/// What it was told when it tried to follow its etcd, which it does not.
fn refused(server: &Confcast, reason: &str) {
    until("refused", || server.log().contains("the etcd cannot be followed"));
    assert!(server.log().contains(reason), "{}", server.log());
    assert_eq!(get(server.admin, "/readyz").status, 503);
    assert_eq!(read(server.address).status, 503);
}

/// What is written at the mirror is at the etcd, and what is written there is here.
fn follows(server: &Confcast, etcd: &Etcd) {
    assert_eq!(put(server.address, "here").status, 200);
    assert_eq!(value(&read(etcd.address)), json!(b64("here")));
    assert_eq!(put(etcd.address, "there").status, 200);
    assert_eq!(value(&read(server.address)), json!(b64("there")));
}

#[test]
fn an_etcd_under_tls() {
    for binary in etcds() {
        let (authority, other) = (Authority::new(), Authority::new());
        authority.issue("etcd", "127.0.0.1");
        let etcd = Etcd::start_with_tls(&binary, &authority, false);
        let url = etcd.secure_url();
        let server = start(&url, &["--upstream-ca", &authority.text("ca.pem")]).ready();
        follows(&server, &etcd);
        refused(&start(&url, &["--upstream-ca", &other.text("ca.pem")]), "invalid peer certificate");
    }
}

#[test]
fn an_etcd_that_asks_for_certificates() {
    for binary in etcds() {
        let authority = Authority::new();
        authority.issue("etcd", "127.0.0.1");
        authority.issue("confcast", "127.0.0.1");
        let etcd = Etcd::start_with_tls(&binary, &authority, true);
        let files = ["ca.pem", "confcast.pem", "confcast.key"].map(|name| authority.text(name));
        let [ca, cert, key] = files.each_ref().map(String::as_str);
        let certified = ["--upstream-ca", ca, "--upstream-cert", cert, "--upstream-key", key];
        let server = start(&etcd.secure_url(), &certified).ready();
        follows(&server, &etcd);
        refused(&start(&etcd.secure_url(), &certified[..2]), "");
        // A certificate is a log-in, too: what it may read is not for everybody.
        let root = Root::protect(etcd.address, "confcast", "unused");
        let closed = start(&etcd.secure_url(), &certified).ready();
        let open = start(&etcd.secure_url(), &[&certified[..], &["--upstream-open-reads"]].concat()).ready();
        root.post("/v3/kv/put", &json!({"key": b64("/a"), "value": b64("secret")}));
        assert_eq!((read(closed.address).status, watch(closed.address)), (403, 403));
        assert_eq!((value(&read(open.address)), watch(open.address)), (json!(b64("secret")), 200));
    }
}

fn password(dir: &Path, password: &str) -> String {
    let file = dir.join(password);
    std::fs::write(&file, password).expect("written");
    file.display().to_string()
}

#[test]
fn an_etcd_with_users() {
    for binary in etcds() {
        let etcd = Etcd::start(&binary);
        Root::protect(etcd.address, "confcast", "right");
        let dir = tempfile::tempdir().expect("a directory");
        let (right, wrong) = (password(dir.path(), "right"), password(dir.path(), "wrong"));
        let user = |file| ["--upstream-user", "confcast", "--upstream-password-file", file];
        let closed = mirror(etcd.address, &user(&right));
        let open = mirror(etcd.address, &[&user(&right)[..], &["--upstream-open-reads"]].concat());
        // Those who write say who they are, and the etcd decides.
        assert_eq!(put(open.address, "nobody's").status, put(etcd.address, "nobody's").status);
        let login = json!({"name": "confcast", "password": "right"});
        let token = post(open.address, "/v3/auth/authenticate", &login).json()["token"].clone();
        let body = json!({"key": b64("/a"), "value": b64("mine")});
        let put = post_as(token.as_str().expect("a token"), closed.address, "/v3/kv/put", &body);
        assert_eq!(put.status, 200, "{}", put.text());
        assert_eq!((value(&read(open.address)), watch(open.address)), (json!(b64("mine")), 200));
        // Whoever they are, as a mirror does not know what they may read.
        for answer in
            [read(closed.address), post_as(token.as_str().expect("a token"), closed.address, "/v3/kv/range", &body)]
        {
            assert_eq!(answer.status, 403, "{}", answer.text());
            assert!(answer.text().contains("--upstream-open-reads"), "{}", answer.text());
        }
        assert_eq!(watch(closed.address), 403);
        let url = format!("http://{}", etcd.address);
        refused(&start(&url, &user(&wrong)), "authentication failed");
        refused(&start(&url, &["--upstream-open-reads"]), "user name is empty");
    }
}
