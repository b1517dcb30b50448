//! The same random requests to a real etcd and to this server: whatever a client can see must be the same.
//!
//! Only what names the server is left out (cluster, member, term), and revisions are counted from where each server's
//! history began. `SEED=random` takes requests that nobody has seen, `SEED=N` those of an earlier run, and `CASES=N` makes
//! it longer. What fails is cut down to a short sequence that still does.
#![allow(clippy::print_stdout, missing_docs, unreachable_pub, reason = "a test of several files")]

mod answer;
mod request;
mod run;
mod server;
mod sessions;
#[path = "../support/mod.rs"]
mod support;

use std::cell::Cell;
use std::path::{Path, PathBuf};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use support::etcd::Etcd;
use support::{Confcast, program};

/// Histories a run, each of some 40 requests on average.
const CASES: u32 = 330;

#[test]
fn answers_as_debians_etcd() {
    if let Some(binary) = program("CONFCAST_ETCD", "etcd") {
        compare(&binary);
    }
}

#[test]
fn answers_as_etcd_3_5() {
    match std::env::var_os("CONFCAST_ETCD35").map(PathBuf::from) {
        Some(binary) => compare(&binary),
        None => println!("SKIPPED: no etcd 3.5; `cargo xtask test` fetches it"),
    }
}

/// The histories of the gate, where a change must not fail for what it did not touch.
const SEED: u64 = 20_261_124;

/// Pairs of servers, as most of the time is etcd's waiting.
const PAIRS: u32 = 3;

fn compare(binary: &Path) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed =
        if std::env::var("SEED").is_ok_and(|text| text == "random") { Some(rand::random()) } else { number("SEED") };
    let seed = seed.unwrap_or(SEED);
    let cases = number("CASES").and_then(|cases| u32::try_from(cases).ok()).unwrap_or(CASES);
    println!("SEED={seed}");
    let share = |pair: u32| move || compare_pair(binary, seed.wrapping_add(u64::from(pair)), cases.div_ceil(PAIRS));
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..PAIRS).map(|pair| scope.spawn(share(pair))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let (version, requests) = outcomes.into_iter().fold((String::new(), 0), |(_, all), outcome| match outcome {
        Ok((version, requests)) => (version, all + requests),
        Err(error) => panic!("SEED={seed}: {error}"),
    });
    println!("etcd {version}: {requests} requests in {cases} histories answered alike");
    assert!(requests >= 10_000 || cases < CASES, "only {requests} requests");
}

/// Version of etcd and number of requests, or how the two differ.
fn compare_pair(binary: &Path, seed: u64, cases: u32) -> Result<(String, usize), String> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let etcd = Etcd::start(binary);
    let confcast = Confcast::serve(&["--source", "none"]).ready();
    let servers = runtime.block_on(run::Servers::connect(etcd.address, confcast.address));
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let done = Cell::new(0);
    let outcome = runner.run(&request::history(), |history| {
        done.set(done.get() + history.len());
        runtime.block_on(servers.run(&history)).map_err(TestCaseError::fail)
    });
    outcome.map(|()| (etcd.version.clone(), done.get())).map_err(|error| format!("etcd {}: {error}", etcd.version))
}
