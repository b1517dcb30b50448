//! Real clients do their everyday work: etcdctl, and the libraries of Go, Java, Rust, Python and Node.
//!
//! The programs are in `tests/interop`. Not run are the test suites of jetcd, python-etcd3, aetcd and npm's etcd3, which
//! start servers of their own, want a cluster of three members, or are not in the packages.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{Confcast, program};

const INTEROP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop");

fn server() -> Confcast {
    Confcast::serve(&["--source", "none"]).ready()
}

/// A folder that `cargo xtask test` fills. Without it the test says so and is skipped.
fn libraries(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from);
    if found.is_none() {
        println!("SKIPPED: no {variable}; `cargo xtask test` fetches it");
    }
    found
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn host_and_port(confcast: &Confcast) -> [String; 2] {
    [confcast.address.ip().to_string(), confcast.address.port().to_string()]
}

#[test]
fn go_client_and_its_concurrency_package() {
    let Some(go) = program("CONFCAST_GO", "go") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let binary = dir.path().join("client");
    let folder = format!("{INTEROP}/goclient");
    succeeds(Command::new(go).args(["build", "-o"]).arg(&binary).arg(".").current_dir(folder));
    let confcast = server();
    assert_eq!(succeeds(Command::new(binary).arg(confcast.address.to_string())), "ok\n");
}

fn python(libraries: &Path) -> Command {
    let mut command = Command::new("python3");
    // The generated code of some packages is older than the fast parser.
    command.env("PYTHONPATH", libraries).env("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[test]
fn python_aetcd() {
    let Some(libraries) = libraries("CONFCAST_PYTHON_LIBS") else { return };
    let confcast = server();
    let script = format!("{INTEROP}/python/aetcd_use.py");
    assert_eq!(succeeds(python(&libraries).arg(script).args(host_and_port(&confcast))), "ok\n");
}

#[test]
fn python_etcd3() {
    let Some(libraries) = libraries("CONFCAST_PYTHON_ETCD3_LIBS") else { return };
    let confcast = server();
    let script = format!("{INTEROP}/python/python_etcd3.py");
    assert_eq!(succeeds(python(&libraries).arg(script).args(host_and_port(&confcast))), "ok\n");
}

/// The package carries its own tests, which speak to the gateway.
#[test]
fn python_etcd3gw_and_its_own_tests() {
    let Some(libraries) = libraries("CONFCAST_PYTHON_LIBS") else { return };
    let confcast = server();
    let mut pytest = python(&libraries);
    pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "etcd3gw"]);
    let [host, port] = host_and_port(&confcast);
    pytest.env("TOOZ_TEST_HTTP_URL", format!("http://{host}:{port}")).env("TOOZ_TEST_ETCD_PORT", port);
    let report = succeeds(&mut pytest);
    assert!(report.contains(" passed") && !report.contains("skipped"), "{report}");
}

#[test]
fn node_etcd3() {
    let (Some(node), Some(libraries)) = (program("CONFCAST_NODE", "node"), libraries("CONFCAST_NODE_LIBS")) else {
        return;
    };
    let confcast = server();
    let mut command = Command::new(node);
    command.arg(format!("{INTEROP}/node/etcd3_use.js")).args(host_and_port(&confcast)).env("NODE_PATH", libraries);
    assert_eq!(succeeds(&mut command), "ok\n");
}

#[test]
fn java_jetcd() {
    let (Some(javac), Some(libraries)) = (program("CONFCAST_JAVAC", "javac"), libraries("CONFCAST_JAVA_LIBS")) else {
        return;
    };
    let classes = tempfile::tempdir().expect("a directory");
    let (all, own) = (libraries.join("*").display().to_string(), classes.path().display().to_string());
    let source = format!("{INTEROP}/java/src/main/java/Use.java");
    succeeds(Command::new(javac).args(["-cp", &all, "-d", &own, &source]));
    let confcast = server();
    let mut java = Command::new("java");
    assert_eq!(succeeds(java.args(["-cp", &format!("{own}:{all}"), "Use", &confcast.address.to_string()])), "ok\n");
}

/// Built apart from the other tests, as its build needs protoc.
#[test]
fn rust_etcd_client() {
    let Some(protoc) = program("CONFCAST_PROTOC", "protoc") else { return };
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/target/interop");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--target-dir", target, "--manifest-path"]);
    cargo.arg(format!("{INTEROP}/rustclient/Cargo.toml")).env("PROTOC", protoc);
    let confcast = server();
    assert_eq!(succeeds(cargo.arg("--").arg(confcast.address.to_string())), "ok\n");
}

#[test]
fn etcdctl_of_debian() {
    if let Some(etcdctl) = program("CONFCAST_ETCDCTL", "etcdctl") {
        commands(&etcdctl);
    }
}

#[test]
fn etcdctl_of_the_newest_release() {
    if let Some(etcdctl) = libraries("CONFCAST_ETCDCTL_NEWEST") {
        commands(&etcdctl);
    }
}

fn commands(etcdctl: &Path) {
    let confcast = server();
    let run = |args: &[&str]| {
        let mut command = confcast.etcdctl_command(etcdctl, args);
        succeeds(command.stdin(Stdio::null())).trim_end().to_owned()
    };
    assert_eq!(run(&["put", "a", "1"]), "OK");
    assert_eq!(run(&["put", "a", "2", "--prev-kv"]), "OK\na\n1");
    assert_eq!(run(&["get", "a", "--print-value-only"]), "2");
    run(&["put", "b", "3"]);
    assert_eq!(run(&["get", "", "--prefix", "--keys-only", "--order", "DESCEND", "--sort-by", "KEY"]), "b\n\na");
    assert_eq!(run(&["get", "a", "--from-key", "--limit", "1"]), "a\n2");
    assert!(run(&["get", "a", "-w", "json"]).contains("\"version\":2"));
    assert_eq!(run(&["del", "b", "--prev-kv"]), "1\nb\n3");
    let mut txn = confcast.etcdctl_command(etcdctl, &["txn"]);
    let mut child = txn.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    let script = "value(\"a\") = \"2\"\n\nput a 3\nget a\n\nget a\n\n";
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), script.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "SUCCESS\n\nOK\n\na\n3\n");

    let lease = run(&["lease", "grant", "100"]);
    let id = lease.split(' ').nth(1).expect("an id").to_owned();
    run(&["put", "leased", "x", &format!("--lease={id}")]);
    assert!(run(&["lease", "timetolive", &id, "--keys"]).contains("attached keys([leased])"));
    assert!(run(&["lease", "list"]).contains(&id));
    assert!(run(&["lease", "keep-alive", "--once", &id]).contains("TTL(100)"));
    assert!(run(&["lease", "revoke", &id]).contains("revoked"));
    assert_eq!(run(&["get", "leased"]), "");

    assert_eq!(run(&["lock", "mutex", "echo", "held"]), "held");
    let endpoint = confcast.address.to_string();
    // Debian's says it on the error output.
    run(&["endpoint", "health"]);
    assert!(run(&["endpoint", "status", "-w", "table"]).contains(&endpoint));
    assert!(run(&["endpoint", "hashkv"]).contains(&endpoint));
    assert!(run(&["member", "list"]).contains("confcast"));
    assert_eq!(run(&["alarm", "list"]), "");
    assert!(run(&["defrag"]).contains("Finished defragmenting"));
    run(&["compact", &confcast.revision().to_string()]);

    run(&["user", "add", "root:secret"]);
    run(&["user", "grant-role", "root", "root"]);
    run(&["role", "add", "reader"]);
    run(&["role", "grant-permission", "reader", "read", "a", "--prefix"]);
    run(&["user", "add", "someone:secret"]);
    run(&["user", "grant-role", "someone", "reader"]);
    assert!(run(&["role", "get", "reader"]).contains("[a, b)"));
    assert_eq!(run(&["auth", "enable"]), "Authentication Enabled");
    assert_eq!(run(&["get", "a", "--print-value-only", "--user", "someone:secret"]), "3");
    for args in [&["get", "a"][..], &["put", "a", "x", "--user", "someone:secret"], &["get", "a", "--user", "root:no"]]
    {
        assert!(!confcast.etcdctl(etcdctl, args).status.success(), "{args:?}");
    }
    assert_eq!(run(&["auth", "disable", "--user", "root:secret"]), "Authentication Disabled");
    for args in [&["move-leader", "1"][..], &["member", "add", "x", "--peer-urls=http://127.0.0.1:1"]] {
        assert!(!confcast.etcdctl(etcdctl, args).status.success(), "{args:?}");
    }
}
