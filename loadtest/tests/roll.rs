//! Mirrors that are restarted one after the other, with a fleet at all of them.
#![allow(clippy::print_stdout, missing_docs)]
#![allow(clippy::float_cmp, reason = "whole numbers that were printed")]

mod support;

use std::collections::HashMap;

use support::{confcast, etcd, run_well};

/// Seconds over which a mirror ends its watches.
const SPREAD: &str = "2";

/// The numbers of the only row, by name.
fn figures(text: &str) -> HashMap<&str, f64> {
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
    let (names, values) = (rows[0].split('|'), rows[2].split('|'));
    names.zip(values).filter_map(|(name, value)| Some((name.trim(), value.trim().parse().ok()?))).collect()
}

/// With a fleet of one generation, whose watches are so many.
fn roll(era: &str, instances: &str, watches: f64, more: &[&str]) {
    let Some(etcd) = etcd() else { return };
    let confcast = confcast().display().to_string();
    let servers = ["--patience", "20", "roll", "--confcast", &confcast, "--etcd", &etcd, "--no-pin"];
    let times = ["--drain-spread-seconds", SPREAD, "--pause", "0.7"];
    let fleet = ["--era", era, "--instances", instances, "--workers", "2", "--routes", "50", "--rate", "20"];
    let text = run_well(&[&servers[..], &times, &fleet, &["--seconds", "1"], more].concat());
    println!("{text}");
    let figures = figures(&text);
    let figure = |name: &str| *figures.get(name).unwrap_or_else(|| panic!("no {name}: {text}"));
    // The tool has checked that each watch saw all changes.
    assert_eq!(figure("watches"), watches, "{text}");
    assert!(figure("changes") > 100.0, "{text}");
    assert_eq!(figure("reloads"), 0.0, "nobody was told that something was lost: {text}");
    // Each mirror has a third of the watches at least when its turn comes, and all that go on to it from the one before.
    assert!(figure("moves") >= watches * 0.8, "{text}");
    let (allowed, most) = (figure("moves/s allowed"), figure("moves/s most"));
    assert!((watches * 0.2..=watches * 0.6).contains(&allowed), "{text}");
    assert!(most <= allowed * 1.2 + 4.0, "at an even pace, but for what a busy machine adds: {text}");
    assert!(figure("away longest ms") < 1000.0, "who is ended is elsewhere at once: {text}");
}

#[test]
fn a_rolling_restart_loses_nothing_and_makes_no_storm() {
    roll("3.18", "40", 80.0, &[]);
}

/// Each watch is given up after an event, and comes again at the next mirror. Most are of directories without events, and
/// come with a revision from before the mirror was started.
#[test]
fn a_rolling_restart_under_watches_for_one_event() {
    roll("2.15", "3", 78.0, &["--data-dirs"]);
}
