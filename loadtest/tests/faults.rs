//! A load finds what a server does wrong, and says what it was.
#![allow(missing_docs)]

mod support;

use support::{Running, run, run_well, tool};

const PROTOCOLS: [&str; 2] = ["http", "grpc"];

/// Each change goes when all streams have the last.
const LOCK_STEP: [&str; 7] = ["fanout", "--streams", "4", "--each", "2", "--events", "12"];

/// Changes come whatever the streams do.
const STEADY: [&str; 9] = ["fanout", "--streams", "4", "--each", "2", "--events", "30", "--rate", "200"];

/// Runs a load against a server with this fault, which is told with these words.
fn check(fault: &str, load: &[&str], words: &str) {
    for protocol in PROTOCOLS {
        let server = Running::start(tool(), &["raw", "--fault", fault]);
        let output = run(&[&["--patience", "1", "--target", &server.url(protocol)], load].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{fault} was not found over {protocol}");
        assert!(text.contains(words), "{fault} over {protocol}: {text}");
    }
}

#[test]
fn without_a_fault_there_is_nothing_to_find() {
    for protocol in PROTOCOLS {
        for load in [&LOCK_STEP[..], &STEADY] {
            let server = Running::start(tool(), &["raw"]);
            run_well(&[&["--patience", "5", "--target", &server.url(protocol)], load].concat());
        }
    }
}

#[test]
fn an_event_that_is_lost() {
    check("drop", &LOCK_STEP, "1 streams got nothing");
    check("drop", &STEADY, "nothing came for 1 s; 1 of 120 deliveries are missing");
}

#[test]
fn an_event_that_comes_twice() {
    check("repeat", &LOCK_STEP, "stream 0 got revision");
    check("repeat", &STEADY, "stream 0 got revision");
}

#[test]
fn events_that_come_in_another_order() {
    check("swap", &STEADY, "stream 0 got revision");
}

#[test]
fn a_value_that_was_changed_on_its_way() {
    check("corrupt", &LOCK_STEP, "stream 0 got something at revision");
    check("corrupt", &STEADY, "stream 0 got something at revision");
}

#[test]
fn a_value_of_another_key() {
    check("stale", &LOCK_STEP, "stream 0 got something at revision");
    check("stale", &STEADY, "stream 0 got something at revision");
}
