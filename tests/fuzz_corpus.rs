//! The fuzz targets for a moment: the corpus, and random changes of it. `SEED=N` repeats a run; `cargo xtask fuzz` goes
//! on for longer, guided by coverage.
#![allow(clippy::print_stdout, missing_docs)]

use std::collections::BTreeMap;
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
    run_with(name, Vec::new(), rounds, target);
}

/// With inputs beside those of the corpus.
fn run_with(name: &str, more: Vec<Vec<u8>>, rounds: usize, target: fn(&[u8])) {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut corpus = corpus(name);
    corpus.extend(more);
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

/// The same where an input is a connection.
const CONNECTIONS: usize = 3_000;

/// The same where an input is a file of settings.
const SETTINGS: usize = 10_000;

#[test]
fn bytes_at_the_port() {
    run("connections", CONNECTIONS, fuzz::connections);
}

#[test]
fn files_of_settings() {
    run("settings", SETTINGS, fuzz::settings);
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
    run_with("xds_resources", resources().into_values().collect(), MESHES, fuzz::xds_resources);
}

#[test]
fn files_of_resources() {
    run("resource_files", MESHES, fuzz::resource_files);
}

/// The pool of resources as inputs by name: each alone, and meshes of them. With `CONFCAST_GENERATE=1` they are written as
/// what `cargo xtask fuzz` begins with.
fn resources() -> BTreeMap<String, Vec<u8>> {
    let made = rcgen::generate_simple_self_signed(vec!["s.test".to_owned()]).expect("made");
    let pool = confcast::testing::pool::pool(&made.cert.pem(), &made.signing_key.serialize_pem());
    let frame = |resource: &Resource| {
        let bytes = mesh::encode(resource);
        let kind = ResourceType::ALL.iter().position(|kind| *kind == resource.resource_type()).expect("a type");
        let length = u16::try_from(bytes.len()).expect("small").to_le_bytes();
        [&[u8::try_from(kind).expect("small"), length[0], length[1]], bytes.as_slice()].concat()
    };
    let longest = pool.iter().map(Vec::len).max().unwrap_or(0);
    let mut inputs = BTreeMap::new();
    for form in 0..longest {
        let world: Vec<_> = pool.iter().filter_map(|forms| forms.get(form).or(forms.first())).collect();
        inputs.insert(format!("world{form}"), world.iter().flat_map(|resource| frame(resource)).collect());
    }
    inputs.extend(pool.iter().flatten().enumerate().map(|(at, resource)| (format!("one{at}"), frame(resource))));
    if std::env::var_os("CONFCAST_GENERATE").is_some() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/xds_resources");
        inputs.iter().for_each(|(name, input)| std::fs::write(folder.join(name), input).expect("written"));
    }
    inputs
}
