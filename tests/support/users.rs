//! Users of a real etcd.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::http::{Answer, Connection, b64, post};

/// As [`post`], with a token.
pub fn post_as(token: &str, address: SocketAddr, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let length = body.len();
    let mut connection = Connection::open(address);
    connection.send(
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\nContent-Length: {length}\r\n\r\n{body}")
            .as_bytes(),
    );
    connection.answer()
}

/// The user root of an etcd in which users are asked for.
pub struct Root {
    etcd: SocketAddr,
}

impl Root {
    /// Makes users be asked for: root, and one who may read and write all keys.
    pub fn protect(etcd: SocketAddr, user: &str, password: &str) -> Self {
        let all = json!({"permType": "READWRITE", "key": b64("\0"), "range_end": b64("\0")});
        let calls = [
            ("user/add", json!({"name": "root", "password": "root"})),
            ("role/add", json!({"name": "root"})),
            ("user/grant", json!({"user": "root", "role": "root"})),
            ("user/add", json!({"name": user, "password": password})),
            ("role/add", json!({"name": "all"})),
            ("role/grant", json!({"name": "all", "perm": all})),
            ("user/grant", json!({"user": user, "role": "all"})),
            ("enable", json!({})),
        ];
        for (path, body) in calls {
            let answer = post(etcd, &format!("/v3/auth/{path}"), &body);
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
        Self { etcd }
    }

    /// Asks the etcd as root.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let login = post(self.etcd, "/v3/auth/authenticate", &json!({"name": "root", "password": "root"}));
        let token = login.json()["token"].as_str().map_or_else(|| panic!("{}", login.text()), str::to_owned);
        let answer = post_as(&token, self.etcd, path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer
    }

    /// Changes the password of a user, after which its tokens are not good any more.
    pub fn change_password(&self, user: &str, password: &str) {
        self.post("/v3/auth/user/changepw", &json!({"name": user, "password": password}));
    }
}
