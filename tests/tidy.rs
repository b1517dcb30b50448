//! Rules about the tree itself: who imports whom, and how long files are.
#![allow(clippy::print_stdout, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a folder with an extension, without generated code.
fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    fn visit(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                visit(&path, extension, found);
            } else if path.extension().is_some_and(|other| other == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    visit(&root().join(folder), extension, &mut found);
    found.sort();
    let name = |path: &Path| path.strip_prefix(root()).expect("below the root").display().to_string();
    let named = found.iter().map(|path| (name(path), fs::read_to_string(path).expect("text")));
    named.filter(|(name, _)| !name.starts_with("src/pb/")).collect()
}

#[test]
fn modules_import_only_what_the_map_says() {
    // Module, and what it must not name.
    let rules: [(&str, &[&str]); 17] = [
        ("src/auth", &["crate::rpc", "crate::gateway", "crate::watch", "crate::pb", "tonic", "hyper"]),
        ("src/wire", &["crate::store", "crate::watch", "crate::rpc", "tokio", "tonic", "hyper"]),
        (
            "src/store",
            &["crate::watch", "crate::rpc", "crate::translate", "crate::view", "tonic", "hyper", "crate::pb"],
        ),
        (
            "src/watch",
            &["crate::rpc", "crate::gateway", "crate::serve", "crate::translate", "tonic", "hyper", "crate::pb"],
        ),
        (
            "src/apisix",
            &["crate::envoy", "crate::store", "crate::translate", "envoy_types", "tokio", "tonic", "std::fs"],
        ),
        ("src/envoy", &["crate::apisix", "crate::store", "crate::xds", "tokio", "tonic::", "std::fs"]),
        ("src/translate", &["crate::store", "crate::xds", "crate::view", "tokio", "tonic", "std::fs"]),
        ("src/xds", &["crate::store", "crate::translate", "crate::apisix", "crate::view"]),
        (
            "src/upstream",
            &["crate::rpc", "crate::gateway", "crate::serve", "crate::translate", "crate::view", "crate::publish"],
        ),
        (
            "src/publish",
            &["crate::view", "crate::rpc", "crate::gateway", "crate::serve", "crate::app", "crate::store::Store"],
        ),
        // What is simulated has no I/O.
        ("src/upstream/engine", &["tonic", "tokio"]),
        ("src/publish/engine", &["tonic", "crate::pb"]),
        ("src/publish/election", &["tonic", "crate::pb"]),
        ("src/publish/writer", &["tonic", "crate::pb"]),
        ("src/publish/plan", &["tonic", "crate::pb"]),
        ("src/rpc", &["crate::gateway", "crate::translate", "crate::xds", "crate::view", "crate::app"]),
        ("src/gateway", &["crate::translate", "crate::xds", "crate::view", "crate::app"]),
    ];
    let mut wrong = Vec::new();
    for (name, text) in files("src", "rs") {
        // Unit tests may hold a module against what others make of the same thing.
        let text = text.split("#[cfg(test)]").next().expect("a first part");
        for (module, banned) in rules {
            if name.starts_with(&format!("{module}/")) || name == format!("{module}.rs") {
                let lines =
                    text.lines().filter(|line| line.trim_start().starts_with("use ") || line.contains("crate::"));
                for line in lines {
                    let hit = banned.iter().find(|banned| line.contains(**banned));
                    // The store tells time by tokio's clock, which tests can pause.
                    wrong.extend(hit.map(|banned| format!("{name} names {banned}: {}", line.trim())));
                }
            }
        }
        let commands = name.starts_with("src/cli") || name == "src/main.rs";
        if text.contains("use clap") && !commands {
            wrong.push(format!("{name} names clap"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_about_one_thing() {
    let long: Vec<_> = ["src", "tests", "xtask/src", "benches"]
        .into_iter()
        .flat_map(|folder| files(folder, "rs"))
        .filter(|(_, text)| text.lines().count() > 400)
        .map(|(name, text)| format!("{name}: {} lines", text.lines().count()))
        .collect();
    assert!(long.is_empty(), "split by subject:\n{}", long.join("\n"));
}
