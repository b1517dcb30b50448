//! A short comparison of the raw broadcaster and confcast.
#![allow(missing_docs)]

mod support;

use support::{confcast, run_well};

#[test]
fn every_stream_sees_every_change() {
    let confcast = confcast().display().to_string();
    let compare = ["compare", "--runs", "1", "--no-pin", "--confcast", &confcast];
    let text = run_well(&[&compare[..], &["fanout", "--streams", "50"]].concat());
    assert!(text.contains("raw broadcaster") && text.contains("confcast"), "{text}");
}
