//! The fuzz targets for a moment: the corpus, and random changes of it. `SEED=N` repeats a run; `cargo xtask fuzz` goes
//! on for longer, guided by coverage.
#![allow(clippy::print_stdout, missing_docs)]

use std::path::Path;

use confcast::envoy::{Resource, ResourceType};
use confcast::testing::{fuzz, mesh};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Changed inputs for each target.
const ROUNDS: usize = 150_000;

/// The same where an input is a whole mesh.
const MESHES: usize = 4_000;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("a corpus").flatten().map(|entry| entry.path()).collect();
    files.sort();
    assert!(files.len() > 5, "the corpus of {target} is missing");
    files.into_iter().map(|path| std::fs::read(path).expect("a file")).collect()
}

fn run(name: &str, rounds: usize, target: fn(&[u8])) {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let corpus = corpus(name);
    for input in &corpus {
        target(input);
    }
    for _ in 0..rounds {
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
        input.truncate(1 << 14);
        target(&input);
    }
}

#[test]
fn bodies_of_the_gateway() {
    run("gateway_json", ROUNDS, fuzz::gateway_json);
}

#[test]
fn requests_over_grpc() {
    run("grpc_requests", ROUNDS, fuzz::grpc_requests);
}

#[test]
fn resources_of_a_control_plane() {
    run("xds_resources", MESHES, fuzz::xds_resources);
}

#[test]
fn files_of_resources() {
    run("resource_files", MESHES, fuzz::resource_files);
}

/// Run by hand when the pool has grown: `cargo test --test fuzz_corpus -- --ignored`.
#[test]
#[ignore = "writes into the source tree"]
fn write_the_corpus_of_resources() {
    let made = rcgen::generate_simple_self_signed(vec!["s.test".to_owned()]).expect("made");
    let pool = confcast::testing::pool::pool(&made.cert.pem(), &made.signing_key.serialize_pem());
    let folder = |target: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let frame = |resource: &Resource| {
        let bytes = mesh::encode(resource);
        let kind = ResourceType::ALL.iter().position(|kind| *kind == resource.resource_type()).expect("a type");
        let length = u16::try_from(bytes.len()).expect("small").to_le_bytes();
        [&[u8::try_from(kind).expect("small"), length[0], length[1]], bytes.as_slice()].concat()
    };
    let longest = pool.iter().map(Vec::len).max().unwrap_or(0);
    for form in 0..longest {
        let world: Vec<_> = pool.iter().filter_map(|forms| forms.get(form).or(forms.first())).collect();
        let bytes: Vec<u8> = world.iter().flat_map(|resource| frame(resource)).collect();
        std::fs::write(folder("xds_resources").join(format!("world{form}")), bytes).expect("written");
    }
    for (at, resource) in pool.iter().flatten().enumerate() {
        std::fs::write(folder("xds_resources").join(format!("one{at}")), frame(resource)).expect("written");
    }
}
