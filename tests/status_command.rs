//! `confcast status` of one server and of several, and completions for shells.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::process::{Command, Output};

use serde_json::{Value, json};
use support::http::{b64, post};
use support::{Confcast, mirror, until};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_confcast")).args(args).output().expect("runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn several_servers_are_asked_at_once() {
    let source = Confcast::serve(&["--source", "none"]).ready();
    let mirrored = mirror(source.address, &[]);
    assert_eq!(post(source.address, "/v3/kv/put", &json!({"key": b64("k")})).status, 200);
    until("mirrored", || mirrored.revision() == source.revision());
    let endpoints = [&source, &mirrored].map(|server| format!("http://{}", server.admin));
    let both = endpoints.join(",");

    let one = run(&["status", "--endpoint", &endpoints[1]]);
    assert_eq!(one.status.code(), Some(0), "{one:?}");
    for line in ["ready       yes\n", "source      etcd connected, heard ", "keys        1, 0 of them"] {
        assert!(text(&one).contains(line), "{}", text(&one));
    }

    let table = run(&["status", "--endpoint", &both]);
    let lines: Vec<_> = text(&table).lines().map(str::to_owned).collect();
    assert_eq!((table.status.code(), lines.len()), (Some(0), 3), "{table:?}");
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let revision = source.revision().to_string();
    for (line, endpoint) in lines[1..].iter().zip(&endpoints) {
        assert_eq!(cells(line)[..5], [endpoint, "yes", &revision, "0", "1"], "{line}");
    }
    assert!(lines[1].ends_with(" -") && lines[2].contains("etcd connected"), "{lines:?}");

    // One that is away takes nothing from the others.
    let away = format!("http://{}", source.admin);
    source.kill();
    let all = run(&["status", "-o", "json", "--endpoint", &both]);
    assert_eq!(all.status.code(), Some(1));
    let all: Value = serde_json::from_slice(&all.stdout).expect("JSON");
    assert!(all[0]["error"].as_str().expect("an error").contains(&away), "{all}");
    assert_eq!(all[1]["status"]["ready"], true, "{all}");
    assert_eq!(all[1]["status"]["watch"]["lag"], json!({"streams": 0, "revisions": 0, "seconds": 0.0}));
    assert_eq!(all[1]["revisions_behind"], 0);
}

#[test]
fn shells_are_told_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let completions = run(&["completions", shell]);
        assert_eq!(completions.status.code(), Some(0));
        for word in ["log-level", "translate", "xds-server", "endpoint"] {
            assert!(text(&completions).contains(word), "{shell}: no {word}");
        }
    }
    let script = run(&["completions", "bash"]).stdout;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("confcast.bash");
    std::fs::write(&file, script).expect("written");
    assert!(Command::new("bash").arg("-n").arg(file).status().expect("bash runs").success());
    assert_eq!(run(&["completions", "none"]).status.code(), Some(2));
}
