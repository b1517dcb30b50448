//! A server with TLS and users.
#![allow(missing_docs)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use support::{Running, run, run_well};

/// A call without TLS.
fn call(server: &Running, path: &str, body: &serde_json::Value) {
    let mut stream = TcpStream::connect(server.address).expect("connects");
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}", body.len());
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
}

#[test]
fn a_load_over_tls_by_a_user() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
    let certificate = params.self_signed(&key).expect("signs").pem();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("server.pem"), certificate).expect("written");
    std::fs::write(path("server.key"), key.serialize_pem()).expect("written");
    let (cert, key) = (path("server.pem"), path("server.key"));
    let tls = ["--source", "none", "--tls-cert", &cert, "--tls-key", &key, "--tls-optional"];
    let server = Running::confcast(&tls);
    let b64 = |text: &str| STANDARD.encode(text);
    let own = json!({"permType": "READWRITE", "key": b64("/loadtest/"), "range_end": b64("/loadtest0")});
    for (path, body) in [
        ("/v3/auth/user/add", json!({"name": "root", "password": "r"})),
        ("/v3/auth/user/grant", json!({"user": "root", "role": "root"})),
        ("/v3/auth/role/add", json!({"name": "load"})),
        ("/v3/auth/role/grant", json!({"name": "load", "perm": own})),
        ("/v3/auth/user/add", json!({"name": "tester", "password": "se:cret"})),
        ("/v3/auth/user/grant", json!({"user": "tester", "role": "load"})),
        ("/v3/auth/enable", json!({})),
    ] {
        call(&server, path, &body);
    }
    for scheme in ["https", "grpcs"] {
        let url = server.url(scheme);
        let access = ["--patience", "20", "--target", &url, "--ca", &cert];
        let load = ["fanout", "--streams", "6", "--each", "3", "--events", "10"];
        run_well(&[&access[..], &["--user", "tester:se:cret"], &load].concat());
        run_well(&[&access[..], &["--user", "tester:se:cret"], &load, &["--rate", "100"]].concat());
        assert!(!run(&[&access[..], &load].concat()).status.success(), "without a user");
        let wrong = run(&[&access[..], &["--user", "tester:wrong"], &load].concat());
        assert!(!wrong.status.success(), "with a wrong password");
    }
}
