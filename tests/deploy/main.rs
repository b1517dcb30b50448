//! What `deploy/` has is what Kubernetes, Helm and Prometheus take, and what the program understands.
#![allow(clippy::print_stdout, missing_docs, unreachable_pub, reason = "a test of several files")]

mod helm;
mod kustomize;
mod machines;
mod manifests;
mod monitoring;
mod settings;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::Command;

/// A path below `deploy/`.
fn deploy(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// Runs a program and returns what it prints; or, if it fails, what it says of that.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{command:?}\n{}{}", text(&output.stdout), text(&output.stderr)))
    }
}

/// Names of the files and folders in a folder of `deploy/`.
fn names(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(deploy(folder)).expect("a folder").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
