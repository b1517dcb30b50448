//! The parts of the documentation that are made from the program are up to date. `cargo xtask gen` makes them.
#![allow(missing_docs)]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use confcast::telemetry::{Kind, SUBJECTS};

/// Compares a file with what it should be, or writes it if `cargo xtask gen` asks for that.
fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("CONFCAST_GENERATE").is_some() {
        return fs::write(&path, text).expect("written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "docs/{name} is not up to date; run: cargo xtask gen");
}

#[test]
fn metrics() {
    let mut text = "\
<!-- Made by `cargo xtask gen` from src/telemetry. -->
# Metrics

Served as `/metrics` by the admin port, and by the port of clients where etcd has them. Labels have no other values than
those named here, so that the number of time series does not grow with clients or configuration. Every series is there
from the start, with the value 0.
"
    .to_owned();
    for (subject, metrics) in SUBJECTS {
        let _ = write!(text, "\n## {subject}\n\n| name | type | meaning |\n| --- | --- | --- |\n");
        for metric in metrics {
            let kind = match metric.kind {
                Kind::Counter | Kind::Sum => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let _ = write!(text, "| `{}` | {kind} | {}", metric.name, metric.meaning());
            for (label, values) in metric.labels {
                let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
                let _ = write!(text, "; by `{label}`: {}", values.join(", "));
            }
            text.push_str(" |\n");
        }
    }
    check("metrics.md", &text);
}
