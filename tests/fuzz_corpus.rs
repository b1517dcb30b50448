//! The fuzz targets for a moment: the corpus, and random changes of it. `SEED=N` repeats a run; `cargo xtask fuzz` goes
//! on for longer, guided by coverage.
#![allow(clippy::print_stdout, missing_docs)]

use std::path::Path;

use confcast::testing::fuzz;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Changed inputs for each target.
const ROUNDS: usize = 150_000;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("a corpus").flatten().map(|entry| entry.path()).collect();
    files.sort();
    assert!(files.len() > 5, "the corpus of {target} is missing");
    files.into_iter().map(|path| std::fs::read(path).expect("a file")).collect()
}

fn run(name: &str, target: fn(&[u8])) {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let corpus = corpus(name);
    for input in &corpus {
        target(input);
    }
    for _ in 0..ROUNDS {
        let mut input = corpus[random.random_range(0..corpus.len())].clone();
        for _ in 0..random.random_range(1..6) {
            let position = random.random_range(0..=input.len());
            match random.random_range(0..5) {
                0 if position < input.len() => input[position] = random.random(),
                1 if position < input.len() => input[position] ^= 1 << random.random_range(0..8),
                2 => input.insert(position, random.random()),
                3 => input.truncate(position),
                _ => {
                    let other = &corpus[random.random_range(0..corpus.len())];
                    let from = random.random_range(0..=other.len());
                    input.splice(position..position, other[from..].iter().copied());
                }
            }
        }
        input.truncate(1 << 12);
        target(&input);
    }
}

#[test]
fn bodies_of_the_gateway() {
    run("gateway_json", fuzz::gateway_json);
}

#[test]
fn requests_over_grpc() {
    run("grpc_requests", fuzz::grpc_requests);
}
