//! Every scenario, for a moment, against the real server.
#![allow(missing_docs)]

mod support;

use support::{Running, confcast, etcd, free_address, run_well};

/// Starts the server for it, over each of these protocols.
fn smoke(protocols: &[&str], scenario: &[&str]) {
    let confcast = confcast().display().to_string();
    for protocol in protocols {
        let compare = ["compare", "--runs", "1", "--no-pin", "--patience", "20", "--protocol", protocol];
        let text = run_well(&[&compare[..], &["--confcast", confcast.as_str()], scenario].concat());
        assert!(text.contains("confcast"), "{text}");
    }
}

const BOTH: [&str; 2] = ["gateway", "grpc"];

#[test]
fn fanout() {
    smoke(&BOTH, &["fanout", "--streams", "20", "--each", "5", "--events", "10"]);
    smoke(&BOTH, &["fanout", "--streams", "20", "--each", "5", "--events", "20", "--rate", "100"]);
}

#[test]
fn storm() {
    smoke(&BOTH, &["storm", "--clients", "10", "--keys", "50"]);
}

#[test]
fn churn() {
    smoke(&BOTH, &["churn", "--seconds", "1", "--clients", "5"]);
}

#[test]
fn stall() {
    let load = ["stall", "--streams", "5", "--stalled", "5", "--megabytes", "4", "--rate", "500"];
    smoke(&BOTH, &load);
}

#[test]
fn puts() {
    smoke(&BOTH, &["puts", "--streams", "10", "--puts", "100"]);
}

#[test]
fn soak() {
    smoke(&BOTH, &["soak", "--streams", "10", "--each", "5", "--rate", "50", "--seconds", "1"]);
}

#[test]
fn fleet() {
    for era in ["2.15", "3.2", "3.14", "3.18"] {
        let size = ["--instances", "2", "--workers", "2", "--routes", "10", "--rate", "20", "--seconds", "1"];
        smoke(&["gateway"], &[&["fleet", "--era", era, "--idle", "0.5"], &size[..]].concat());
    }
}

#[test]
fn xds() {
    for protocol in BOTH {
        let ads = free_address().to_string();
        let size = ["--services", "5", "--endpoints", "2", "--streams", "10", "--pushes", "5"];
        smoke(&[protocol], &[&["xds", "--ads", &ads], &size[..]].concat());
    }
}

/// Two servers with the same data, the mirror of which is killed.
#[test]
fn failover() {
    for protocol in ["http", "grpc"] {
        let first = Running::confcast(&["--source", "none"]);
        let mirror = Running::confcast(&["--source", "etcd", "--upstream", &first.url("http")]);
        let (pid, urls) = (mirror.id().to_string(), [first.url(protocol), mirror.url(protocol)]);
        let targets = ["--patience", "20", "--target", &urls[0], "--target", &urls[1]];
        let load = ["failover", "--streams", "10", "--seconds", "2", "--kill-after", "0.7", "--kill", &pid];
        let text = run_well(&[&targets[..], &load].concat());
        assert!(text.contains("streams moved"), "{text}");
    }
}

/// An etcd, and mirrors in front of it, one of which is killed.
#[test]
fn tier() {
    let Some(etcd) = etcd() else { return };
    let confcast = confcast().display().to_string();
    let servers = ["--confcast", &confcast, "--etcd", &etcd, "--no-pin", "--runs", "1", "--patience", "20"];
    for (protocol, mirrors) in [("gateway", "2"), ("grpc", "1")] {
        let size = ["--mirrors", mirrors, "--streams", "10", "--rate", "20", "--seconds", "1", "--protocol", protocol];
        let text = run_well(&[&["tier"][..], &servers, &size].concat());
        if mirrors == "1" {
            assert!(text.contains("on a mirror"), "{text}");
            continue;
        }
        let row = |name: &str| -> Vec<&str> {
            let line = text.lines().find(|line| line.starts_with(&format!("| {name}"))).expect("a row");
            line.split('|').map(str::trim).collect()
        };
        let column = |name: &str| row("target").iter().position(|title| *title == name).expect("a column");
        assert_eq!(row("on 2 mirrors")[column("streams moved")], "5", "{text}");
        for (name, figure) in [("on the etcd", "etcd CPU us/put"), ("on 2 mirrors", "mirrors CPU us/put")] {
            assert_ne!(row(name)[column(figure)].split(' ').next(), Some("0"), "{text}");
        }
    }
}
