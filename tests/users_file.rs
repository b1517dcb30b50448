//! Users from a file: who may do what, from the start and when the file changes.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use confcast::pb::etcdserverpb::WatchCreateRequest;
use confcast::pb::etcdserverpb::WatchRequest;
use confcast::pb::etcdserverpb::watch_client::WatchClient;
use confcast::pb::etcdserverpb::watch_request::RequestUnion;
use serde_json::{Value, json};
use support::etcd::{Etcd, etcds};
use support::http::{Answer, Connection, b64, get, post};
use support::tls::Authority;
use support::users::{Root, post_as};
use support::{Confcast, mirror, program, until};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

const DENIED: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";

/// A file of users, each of whom has its name as password.
struct Users {
    dir: tempfile::TempDir,
}

impl Users {
    /// With these names and fields.
    fn of(users: &[(&str, &str)]) -> Self {
        let file = Self { dir: tempfile::tempdir().expect("a directory") };
        file.write(users);
        file
    }

    /// One who may read, one who may also write, and root.
    fn usual() -> Self {
        Self::of(&USUAL)
    }

    fn write(&self, users: &[(&str, &str)]) {
        self.write_text(&text(users));
    }

    /// As a whole, as what mounts it does.
    fn write_text(&self, text: &str) {
        let new = self.dir.path().join("new");
        fs::write(&new, text).expect("written");
        fs::rename(new, self.path()).expect("renamed");
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("users.toml")
    }

    fn flags(&self) -> [String; 2] {
        ["--users-file".into(), self.path().display().to_string()]
    }

    fn serve(&self, flags: &[&str]) -> Confcast {
        let [flag, path] = &self.flags();
        Confcast::serve(&[&["--source", "none", flag, path], flags].concat()).ready()
    }
}

const READ: &str = "read = [\"/apisix\"]";
const WRITE: &str = "read = [\"/apisix\"]\nwrite = [\"/apisix/routes/\"]";
const USUAL: [(&str, &str); 3] = [("apisix", READ), ("writer", WRITE), ("root", "root = true")];

fn text(users: &[(&str, &str)]) -> String {
    let user = |(name, fields): &(&str, &str)| {
        format!("[[user]]\nname = {name:?}\npassword_hash = {:?}\n{fields}\n", hash(name))
    };
    users.iter().map(user).collect()
}

/// Runs `confcast hash-password`.
fn hash(password: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_confcast"));
    let mut child = command.arg("hash-password").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    writeln!(child.stdin.take().expect("piped"), "{password}").expect("written");
    let output = child.wait_with_output().expect("runs");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

fn log_in(server: SocketAddr, name: &str, password: &str) -> Answer {
    post(server, "/v3/auth/authenticate", &json!({"name": name, "password": password}))
}

fn token(server: SocketAddr, name: &str) -> String {
    let answer = log_in(server, name, name);
    answer.json()["token"].as_str().unwrap_or_else(|| panic!("no token: {}", answer.text())).to_owned()
}

fn range(key: &str, end: &str) -> Value {
    json!({"key": b64(key), "range_end": b64(end)})
}

fn put(key: &str) -> Value {
    json!({"key": b64(key), "value": b64("v")})
}

/// A watch over the gateway with a token.
fn watch(server: SocketAddr, token: &str, range: &Value) -> Connection {
    let body = json!({"create_request": range}).to_string();
    let mut connection = Connection::open(server);
    let head = format!("POST /v3/watch HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\n");
    connection.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    assert_eq!(connection.head().0, 200);
    connection
}

fn next(watch: &mut Connection) -> Value {
    serde_json::from_slice::<Value>(&watch.chunk()).expect("JSON")["result"].take()
}

#[test]
fn etcdctl_may_what_the_file_says() {
    let Some(etcdctl) = program("CONFCAST_ETCDCTL", "etcdctl") else { return };
    let users = Users::usual();
    let confcast = users.serve(&[]);
    let run = |user: &str, args: &[&str]| -> Result<String, String> {
        let all = if user.is_empty() { args.to_vec() } else { [&["--user", user], args].concat() };
        let Output { status, stdout, stderr } = confcast.etcdctl(&etcdctl, &all);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
    };
    let refused = |user: &str, args: &[&str], reason: &str| {
        let error = run(user, args).expect_err("refused");
        assert!(error.contains(reason), "{user} {args:?}: {error}");
    };
    run("writer:writer", &["put", "/apisix/routes/1", "one"]).expect("may write");
    run("root:root", &["put", "/other", "secret"]).expect("may do everything");
    for user in ["apisix:apisix", "writer:writer", "root:root"] {
        let found = run(user, &["get", "--prefix", "/apisix"]).expect("may read");
        assert_eq!(found, "/apisix/routes/1\none\n", "{user}");
    }
    for user in ["apisix:apisix", "writer:writer"] {
        refused(user, &["get", "/other"], "permission denied");
        refused(user, &["get", "--prefix", ""], "permission denied");
        refused(user, &["put", "/apisix/upstreams/1", "x"], "permission denied");
        refused(user, &["user", "list"], "permission denied");
    }
    refused("apisix:apisix", &["put", "/apisix/routes/1", "x"], "permission denied");
    refused("apisix:apisix", &["del", "/apisix/routes/1"], "permission denied");
    refused("", &["get", "/apisix/routes/1"], "user name is empty");
    refused("apisix:wrong", &["get", "/apisix/routes/1"], "authentication failed");
    refused("nobody:apisix", &["get", "/apisix/routes/1"], "authentication failed");
    // The Auth API shows what there is, and changes nothing.
    assert_eq!(run("root:root", &["user", "list"]).expect("root"), "apisix\nroot\nwriter\n");
    let reason = format!("the users are those of the file {} (--users-file)", users.path().display());
    for args in [
        &["user", "add", "new:password"][..],
        &["user", "delete", "apisix"],
        &["user", "grant-role", "apisix", "root"],
        &["role", "add", "new"],
        &["role", "grant-permission", "file/apisix", "readwrite", "/apisix"],
        &["auth", "disable"],
    ] {
        refused("root:root", args, &reason);
    }
    refused("apisix:apisix", &["user", "add", "new:password"], "permission denied");
    run("apisix:apisix", &["get", "/apisix/routes/1"]).expect("as before");
}

#[test]
fn what_changes_in_the_file_holds_for_those_who_are_there() {
    let users = Users::usual();
    let confcast = users.serve(&[]);
    let address = confcast.address;
    let (apisix, writer) = (token(address, "apisix"), token(address, "writer"));
    let read = |token: &str| post_as(token, address, "/v3/kv/range", &range("/apisix", "/apisiy")).status;
    let write = |key: &str| post_as(&writer, address, "/v3/kv/put", &put(key)).status;
    assert_eq!((read(&apisix), read(&writer), write("/apisix/routes/1")), (200, 200, 200));
    assert_eq!((write("/apisix/upstreams/1"), write("/apisix/routes")), (403, 403));

    let mut watches = [
        watch(address, &apisix, &range("/apisix/", "/apisix0")),
        watch(address, &writer, &range("/apisix/", "/apisix0")),
    ];
    for watch in &mut watches {
        assert_eq!(next(watch)["created"], true);
    }
    let mut refused = watch(address, &apisix, &range("/", "0"));
    assert_eq!(next(&mut refused)["cancel_reason"], DENIED);
    assert_eq!(write("/apisix/routes/2"), 200);
    for watch in &mut watches {
        assert_eq!(next(watch)["events"][0]["kv"]["key"], b64("/apisix/routes/2"));
    }

    // A file that is not good changes nothing.
    let bad = text(&USUAL).replace("password_hash", "password");
    users.write_text(&bad);
    let told = format!("{}: line 3: unknown field `password`", users.path().display());
    until("told", || confcast.log().contains(&told));
    assert!(confcast.log().contains("the users from before are kept"));
    assert!(!confcast.log().contains("argon2id"), "hashes are not shown");
    assert_eq!((read(&apisix), log_in(address, "apisix", "apisix").status), (200, 200));
    let failed = get(confcast.admin, "/metrics").text();
    assert!(!failed.contains("confcast_users_file_failed_total 0"));

    // One has less left to see than it watches.
    users.write(&[("apisix", "read = [\"/apisix/upstreams\"]"), ("writer", WRITE), ("new", READ)]);
    until("changed", || confcast.log().contains("the file of users has changed"));
    // The password is the same, but not its hash: with it the old tokens have ended.
    assert_eq!((read(&apisix), read(&writer)), (401, 401));
    let root = log_in(address, "root", "root");
    assert_eq!((root.status, log_in(address, "new", "new").status), (400, 200));
    let [apisix, writer] = ["apisix", "writer"].map(|name| token(address, name));
    assert_eq!((read(&apisix), read(&writer)), (403, 200));
    assert_eq!(post_as(&writer, address, "/v3/kv/put", &put("/apisix/routes/3")).status, 200);
    for watch in &mut watches {
        let message = next(watch);
        assert_eq!((message["canceled"].as_bool(), message["events"].as_array()), (Some(true), None), "{message}");
        assert_eq!((&message["cancel_reason"], &message["created"]), (&json!(DENIED), &Value::Null));
    }
}

/// Watchers over gRPC: those go that may not stay, and no others of the same stream.
#[tokio::test]
async fn a_watcher_ends_when_its_range_is_taken_away() {
    let hashes = ["apisix", "root"].map(hash);
    let file = |read: &str| {
        let [apisix, root] = &hashes;
        format!(
            "[[user]]\nname = \"apisix\"\npassword_hash = \"{apisix}\"\nread = {read}\n\
             [[user]]\nname = \"root\"\npassword_hash = \"{root}\"\nroot = true\n"
        )
    };
    let users = Users { dir: tempfile::tempdir().expect("a directory") };
    users.write_text(&file("[\"/a\", \"/b\"]"));
    let confcast = users.serve(&[]);
    let address = confcast.address;
    let (requests, outgoing) = mpsc::channel(8);
    for key in ["/a", "/b"] {
        let create = WatchCreateRequest { key: key.into(), ..WatchCreateRequest::default() };
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        requests.send(request).await.expect("room");
    }
    let mut request = tonic::Request::new(ReceiverStream::new(outgoing));
    request.metadata_mut().insert("token", token(address, "apisix").parse().expect("text"));
    let mut client = WatchClient::connect(format!("http://{address}")).await.expect("connects");
    let mut stream = client.watch(request).await.expect("opens").into_inner();
    for id in 0..2 {
        let message = stream.message().await.expect("goes on").expect("a message");
        assert!(message.created && message.watch_id == id && !message.canceled);
    }
    users.write_text(&file("[\"/b\"]"));
    until("changed", || confcast.log().contains("the file of users has changed"));
    let root = token(address, "root");
    for key in ["/a", "/b"] {
        assert_eq!(post_as(&root, address, "/v3/kv/put", &put(key)).status, 200, "the password is as it was");
    }
    let message = stream.message().await.expect("goes on").expect("a message");
    assert!(message.canceled && message.watch_id == 0 && message.events.is_empty(), "{message:?}");
    assert_eq!(message.cancel_reason, DENIED);
    let message = stream.message().await.expect("goes on").expect("a message");
    assert_eq!((message.watch_id, message.events.len()), (1, 1), "{message:?}");
}

#[test]
fn replicas_with_one_file_and_one_key_take_each_others_tokens() {
    let users = Users::usual();
    let key = users.dir.path().join("key");
    fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("written");
    let key = key.to_str().expect("text");
    let [one, two] = [(); 2].map(|()| users.serve(&["--auth-token-key-file", key]));
    let token = token(one.address, "apisix");
    let read = |server: &Confcast| post_as(&token, server.address, "/v3/kv/range", &range("/apisix", "/apisiy")).status;
    assert_eq!((read(&one), read(&two), read(&users.serve(&[]))), (200, 200, 401));
}

#[test]
fn a_user_without_a_password_comes_with_a_certificate() {
    let Some(etcdctl) = program("CONFCAST_ETCDCTL", "etcdctl") else { return };
    let authority = Authority::new();
    for name in ["server", "gateway", "other"] {
        authority.issue(name, "127.0.0.1");
    }
    let users = Users::of(&[("apisix", READ)]);
    let with_certificate = text(&[("apisix", READ)]) + "[[user]]\nname = \"gateway\"\nread = [\"/apisix\"]\n";
    users.write_text(&with_certificate);
    let path = |name: &str| authority.text(name);
    let (cert, key, ca) = (path("server.pem"), path("server.key"), path("ca.pem"));
    let confcast = users.serve(&["--tls-cert", &cert, "--tls-key", &key, "--client-ca", &ca]);
    let get = |name: &str, key: &str| {
        let mut command = Command::new(&etcdctl);
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints=https://{}", confcast.address));
        command.args([
            "--cacert",
            &ca,
            "--cert",
            &path(&format!("{name}.pem")),
            "--key",
            &path(&format!("{name}.key")),
        ]);
        command.args(["get", key]).output().expect("runs").status.success()
    };
    assert!(get("gateway", "/apisix/routes/1") && !get("gateway", "/other") && !get("other", "/apisix/routes/1"));
    // Without certificates that user could do nothing, which is a mistake.
    assert!(check(&users.path()).contains("user \"gateway\": password_hash: is missing; only with --client-ca"));
}

/// What `confcast check` says of a bad file of users.
fn check(path: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_confcast"));
    let output = command.args(["check", "--users-file"]).arg(path).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn a_bad_file_is_named_at_the_start() {
    let users = Users::of(&[]);
    let path = users.path().display().to_string();
    assert!(check(&users.path()).contains(&format!("--users-file: {path}: there is no [[user]] in it")));
    assert!(check(Path::new("/nowhere.toml")).contains("--users-file: /nowhere.toml: No such file"));
    users.write_text("[[user]]\nname = \"a\"\npassword_hash = \"plain\"\n");
    let error = check(&users.path());
    assert!(error.contains(&format!("{path}: user \"a\": password_hash: is no hash")), "{error}");
    assert!(error.contains("confcast hash-password") && !error.contains("plain"), "{error}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_confcast"));
    command.args(["serve", "--source", "none", "--users-file", &path]);
    let log = Confcast::launch(command).err().expect("it does not start");
    assert!(log.contains("user \"a\""), "{log}");
}

/// A mirror does not know the users of its etcd, and may have its own.
#[test]
fn a_mirror_serves_reads_to_users_of_its_own() {
    for binary in etcds() {
        let etcd = Etcd::start(&binary);
        let root = Root::protect(etcd.address, "confcast", "right");
        root.post("/v3/kv/put", &put("/apisix/routes/1"));
        root.post("/v3/kv/put", &put("/other"));
        let users = Users::usual();
        let [flag, path] = &users.flags();
        let password = users.dir.path().join("password");
        fs::write(&password, "right").expect("written");
        let password = password.to_str().expect("text");
        let flags = ["--upstream-user", "confcast", "--upstream-password-file", password, flag, path];
        let server = mirror(etcd.address, &flags);
        let apisix = token(server.address, "apisix");
        let call = |path: &str, body: &Value| post_as(&apisix, server.address, path, body);
        let all = call("/v3/kv/range", &range("/apisix", "/apisiy"));
        assert_eq!((all.status, &all.json()["count"]), (200, &json!("1")), "{}", all.text());
        assert_eq!(call("/v3/kv/range", &range("/other", "")).status, 403);
        assert_eq!(post(server.address, "/v3/kv/range", &range("/apisix", "/apisiy")).status, 400, "without a token");
        assert_eq!(log_in(server.address, "confcast", "right").status, 400, "a user of the etcd");
        assert_eq!(log_in(etcd.address, "apisix", "apisix").status, 400, "a user of the mirror");

        let mut running = watch(server.address, &apisix, &range("/apisix/", "/apisix0"));
        assert_eq!(next(&mut running)["created"], true);
        root.post("/v3/kv/put", &put("/apisix/routes/2"));
        assert_eq!(next(&mut running)["events"][0]["kv"]["key"], b64("/apisix/routes/2"));

        let writer = token(server.address, "writer");
        for (path, body) in [
            ("/v3/kv/put", put("/apisix/routes/1")),
            ("/v3/kv/txn", json!({})),
            ("/v3/lease/grant", json!({"TTL": 10})),
            ("/v3/lock/lock", json!({"name": b64("/apisix/lock")})),
        ] {
            let answer = post_as(&writer, server.address, path, &body);
            assert_eq!(answer.status, 403, "{path}: {}", answer.text());
            assert!(answer.text().contains("--users-file"), "{path}: {}", answer.text());
        }
        if let Some(etcdctl) = program("CONFCAST_ETCDCTL", "etcdctl") {
            let run = |args: &[&str]| server.etcdctl(&etcdctl, &[&["--user", "writer:writer"], args].concat());
            assert_eq!(run(&["get", "/apisix/routes/1"]).stdout, b"/apisix/routes/1\nv\n");
            let put = run(&["put", "/apisix/routes/1", "new"]);
            assert!(String::from_utf8_lossy(&put.stderr).contains("this mirror has users of its own"));
        }
    }
}
