//! An `apisix.yaml` as the source, from the command line to what clients get.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::path::Path;

use assert_cmd::Command;
use serde_json::json;
use support::{Confcast, until};

fn confcast(args: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_confcast")).args(args).output().expect("it runs")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_file_is_followed_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("apisix.yaml");
    let write = |content: &str| std::fs::write(&path, content).expect("written");
    let route = |id: &str| format!("routes: [{{id: {id}, uri: /{id}, plugins: {{unheard-of: {{}}}}}}]\n#END\n");
    write(&route("first"));
    let server = Confcast::serve(&["--apisix-yaml", text(&path)]).ready();
    let objects = server.objects();
    assert_eq!(objects["/apisix/routes/first"], json!({"id": "first", "uri": "/first", "plugins": {"unheard-of": {}}}));
    let revision = server.revision();
    write(&route("first"));
    write("routes: [{id: half");
    until("said what is wrong", || server.log().contains("#END"));
    assert_eq!((server.objects(), server.revision()), (objects, revision), "the last good one is served");
    write(&route("second"));
    until("followed", || server.objects().contains_key("/apisix/routes/second"));
    assert!(!server.objects().contains_key("/apisix/routes/first"));
    assert_eq!(server.revision(), revision + 1, "one change is one revision");
}

#[test]
fn what_translate_writes_is_served_as_the_mesh_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let mesh = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo");
    let output = confcast(&["translate", text(&mesh), "-o", "apisix-yaml"]);
    let path = dir.path().join("apisix.yaml");
    std::fs::write(&path, &output.stdout).expect("written");
    let checked = confcast(&["check", "--apisix-yaml", text(&path)]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let direct = Confcast::serve(&["--xds-file", text(&mesh)]).ready();
    let file = Confcast::serve(&["--apisix-yaml", text(&path)]).ready();
    assert!(direct.objects().len() > 10);
    assert_eq!(direct.objects(), file.objects());
}

#[test]
fn a_file_that_is_wrong_is_named_before_anything_starts() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("apisix.yaml");
    std::fs::write(&path, "routers: []\n#END\n").expect("written");
    let output = confcast(&["check", "--apisix-yaml", text(&path)]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("apisix.yaml") && error.contains("routers"), "{error}");
    let output = confcast(&["check", "--source", "apisix-yaml"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("needs --apisix-yaml"));
}
