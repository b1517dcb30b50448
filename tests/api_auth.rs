//! Users, permissions and tokens over real connections.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use serde_json::{Value, json};
use support::Confcast;
use support::http::{Answer, Connection, b64, post};

/// A call with a token.
fn call(confcast: &Confcast, token: &str, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let mut connection = Connection::open(confcast.address);
    let length = body.len();
    connection.send(
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\nContent-Length: {length}\r\n\r\n{body}")
            .as_bytes(),
    );
    connection.answer()
}

fn set_up(confcast: &Confcast) {
    let read = json!({"permType": "READ", "key": b64("/apisix"), "range_end": b64("/apisiy")});
    for (path, body) in [
        ("/v3/kv/put", json!({"key": b64("/apisix/routes/1"), "value": b64("{}")})),
        ("/v3/auth/user/add", json!({"name": "root", "password": "r"})),
        ("/v3/auth/user/grant", json!({"user": "root", "role": "root"})),
        ("/v3/auth/role/add", json!({"name": "gateway"})),
        ("/v3/auth/role/grant", json!({"name": "gateway", "perm": read})),
        ("/v3/auth/user/add", json!({"name": "apisix", "password": "secret"})),
        ("/v3/auth/user/grant", json!({"user": "apisix", "role": "gateway"})),
        ("/v3/auth/enable", json!({})),
    ] {
        let answer = post(confcast.address, path, &body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
}

fn log_in(confcast: &Confcast, name: &str, password: &str) -> String {
    let answer = post(confcast.address, "/v3/auth/authenticate", &json!({"name": name, "password": password}));
    answer.json()["token"].as_str().unwrap_or_else(|| panic!("no token: {}", answer.text())).to_owned()
}

fn range() -> Value {
    json!({"key": b64("/apisix"), "range_end": b64("/apisiy")})
}

/// APISIX keeps a token for minutes and does not react to a refusal, so it must be good after a restart and at every
/// replica.
#[test]
fn tokens_are_good_after_a_restart_and_on_other_replicas() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let key = dir.path().join("key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("written");
    let key = key.to_str().expect("text");
    let with_data = ["--source", "none", "--auth-token-key-file", key, "--data-dir", data.to_str().expect("text")];
    let confcast = Confcast::serve(&with_data).ready();
    set_up(&confcast);
    let token = log_in(&confcast, "apisix", "secret");
    assert_eq!(call(&confcast, &token, "/v3/kv/range", &range()).json()["count"], "1");
    confcast.kill();

    let confcast = Confcast::serve(&with_data).ready();
    assert_eq!(call(&confcast, &token, "/v3/kv/range", &range()).json()["count"], "1", "after a restart");
    assert_eq!(post(confcast.address, "/v3/kv/range", &range()).status, 400, "and only with a token");

    let replica = Confcast::serve(&["--source", "none", "--auth-token-key-file", key]).ready();
    set_up(&replica);
    assert_eq!(call(&replica, &token, "/v3/kv/range", &range()).json()["count"], "1", "on another replica");
    let other = Confcast::serve(&["--source", "none"]).ready();
    set_up(&other);
    assert_eq!(call(&other, &token, "/v3/kv/range", &range()).status, 401, "not where another key signs");

    // A new password ends the tokens of the old one.
    let root = log_in(&confcast, "root", "r");
    let change = json!({"name": "apisix", "password": "another"});
    assert_eq!(call(&confcast, &root, "/v3/auth/user/changepw", &change).status, 200);
    assert_eq!(call(&confcast, &token, "/v3/kv/range", &range()).status, 401);
    log_in(&confcast, "apisix", "another");
}

#[test]
fn a_gateway_may_read_its_prefix_and_nothing_else() {
    let confcast = Confcast::serve(&["--source", "none"]).ready();
    set_up(&confcast);
    let token = log_in(&confcast, "apisix", "secret");
    let all = json!({"key": b64("\0"), "range_end": b64("\0")});
    for (path, body, status) in [
        ("/v3/kv/range", range(), 200),
        ("/v3/kv/range", json!({"key": b64("/apisix/routes/1")}), 200),
        ("/v3/kv/range", all.clone(), 403),
        // The end of a range is looked at in the form in which it counts.
        ("/v3/kv/range", json!({"key": b64("/apisix"), "range_end": b64("\0")}), 403),
        ("/v3/kv/put", json!({"key": b64("/apisix/routes/1")}), 403),
        ("/v3/kv/deleterange", range(), 403),
        ("/v3/kv/txn", json!({"failure": [{"request_put": {"key": b64("/apisix/a")}}]}), 403),
        ("/v3/kv/txn", json!({"success": [{"request_txn": {"success": [{"request_range": all}]}}]}), 403),
        ("/v3/kv/txn", json!({"compare": [{"key": b64("other")}]}), 403),
        ("/v3/lock/lock", json!({"name": b64("/apisix/lock")}), 403),
        ("/v3/election/leader", json!({"name": b64("other")}), 403),
        ("/v3/auth/user/get", json!({"name": "apisix"}), 200),
        ("/v3/auth/user/get", json!({"name": "root"}), 403),
        ("/v3/auth/role/get", json!({"role": "gateway"}), 200),
        ("/v3/auth/user/add", json!({"name": "x"}), 403),
        ("/v3/auth/disable", json!({}), 403),
        ("/v3/maintenance/hashkv", json!({}), 403),
        ("/v3/maintenance/snapshot", json!({}), 403),
    ] {
        let answer = call(&confcast, &token, path, &body);
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
    }
    // A watcher that is refused is told so on a stream that stays open.
    for (token, range, refused) in [
        (token.as_str(), range(), false),
        (&token, json!({"key": b64("/apisix"), "range_end": b64("\0")}), true),
        (&token, json!({"range_end": b64("\0")}), true),
        ("bogus", range(), true),
    ] {
        let body = json!({"create_request": range}).to_string();
        let mut connection = Connection::open(confcast.address);
        connection.send(
            format!(
                "POST /v3/watch HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
        assert_eq!(connection.head().0, 200);
        let message: Value = serde_json::from_slice(&connection.chunk()).expect("JSON");
        assert_eq!(message["result"]["canceled"].as_bool().unwrap_or(false), refused, "{range} {message}");
        if refused {
            assert_eq!(message["result"]["watch_id"], "-1");
            let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
            assert_eq!(message["result"]["cancel_reason"], reason);
        }
    }
    // Who puts under a lease, or ends it, decides over all of its keys.
    let root = log_in(&confcast, "root", "r");
    let lease = json!({"ID": "7", "TTL": "100"});
    assert_eq!(call(&confcast, &root, "/v3/lease/grant", &lease).status, 200);
    let put = json!({"key": b64("secret"), "lease": "7"});
    assert_eq!(call(&confcast, &root, "/v3/kv/put", &put).status, 200);
    assert_eq!(call(&confcast, &token, "/v3/lease/revoke", &json!({"ID": "7"})).status, 403);
    assert_eq!(call(&confcast, &token, "/v3/lease/timetolive", &json!({"ID": "7", "keys": true})).status, 403);
}
