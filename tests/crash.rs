//! The data directory when the process is killed, when the file is damaged, and when there is no room for it.
#![allow(clippy::print_stdout, missing_docs, unreachable_pub)]

#[path = "crash/model.rs"]
mod model;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use model::Model;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use support::Confcast;
use support::history::wire::{self, Stream};
use support::history::{Span, now, number, pause, seed};
use support::http::{b64, post, range};

/// Servers that are killed at the same time, each with a directory of its own.
const LANES: usize = 4;

/// How often each is killed.
const KILLS: usize = 50;

/// In memory where there is such a place, as every write is synced; the process dies here, not the machine.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a directory")
}

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_confcast"));
    command.args(["--log-format", "json", "serve", "--source", "none", "--data-dir"]).arg(data);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command
}

fn start(data: &Path) -> Confcast {
    Confcast::launch(command(data)).unwrap_or_else(|log| panic!("it does not start: {log}"))
}

/// Puts, and returns the revision, or status and answer of what failed.
fn put(server: &Confcast, key: &str, value: &str) -> Result<i64, (u16, Value)> {
    let answer = post(server.address, "/v3/kv/put", &json!({"key": b64(key), "value": b64(value)}));
    let body = answer.json();
    if answer.status == 200 { Ok(number(&body["header"]["revision"])) } else { Err((answer.status, body)) }
}

#[test]
fn whatever_was_acknowledged_or_shown_is_there_after_a_kill() {
    let seed = seed();
    let started = now();
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || {
                let (dir, mut model) = (directory(), Model::default());
                let mut random = StdRng::seed_from_u64(seed + lane as u64);
                for round in 0..KILLS {
                    let server = start(dir.path());
                    model.check(server.address);
                    let time = Duration::from_millis(random.random_range(0..150));
                    model.run(server, lane * KILLS + round, time);
                }
                model.check(start(dir.path()).address);
                println!("server {lane}: {} puts acknowledged over {KILLS} kills", model.acknowledged());
                assert!(model.acknowledged() > KILLS, "most rounds had time for some");
            });
        }
    });
    println!("{} kills in {:?}", LANES * KILLS, started.elapsed());
}

/// What is done to the file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// Cut off so many bytes.
    Cut(u64),
    /// Another byte at this place.
    Flip(u64),
}

fn damage(file: &Path, damage: Damage) {
    let mut bytes = std::fs::read(file).expect("read");
    match damage {
        Damage::Cut(count) => bytes.truncate(bytes.len() - usize::try_from(count).expect("small")),
        Damage::Flip(at) => bytes[usize::try_from(at).expect("small")] ^= 0x55,
    }
    std::fs::write(file, bytes).expect("written");
}

/// Places at the tail, and all where one of the newest values is.
fn damages(file: &Path) -> Vec<Damage> {
    let bytes = std::fs::read(file).expect("read");
    let length = bytes.len() as u64;
    let tail = [1, 100, 4096, 5000, 64 << 10];
    let cuts = tail.into_iter().chain([length / 2, length - 100, length]).filter(|count| *count <= length);
    let flips = tail.map(|from_end| length - from_end);
    let newest = b"the newest value";
    let places = bytes.windows(newest.len()).enumerate().filter(|(_, window)| window == newest);
    let places: Vec<_> = places.map(|(at, _)| at as u64).collect();
    assert!(!places.is_empty(), "the value is in the file");
    cuts.map(Damage::Cut).chain(flips.into_iter().chain(places).map(Damage::Flip)).collect()
}

#[test]
fn a_damaged_file_is_refused_or_has_the_last_state() {
    for kill in [true, false] {
        let dir = directory();
        let server = start(dir.path());
        for number in 0..50 {
            put(&server, &format!("/k/{number}"), &format!("value {number}")).expect("put");
        }
        let last = put(&server, "/k/last", "the newest value").expect("put");
        let good = range(server.address, "/k/", "/k0");
        assert_eq!((good.revision, good.pairs.len()), (last, 51));
        if kill {
            server.kill();
        } else {
            assert!(server.terminate());
        }
        let file = dir.path().join("confcast.redb");
        let (mut refused, mut same) = (0, 0);
        for done in damages(&file) {
            let copy = directory();
            let copied: PathBuf = copy.path().join("confcast.redb");
            std::fs::copy(&file, &copied).expect("copied");
            damage(&copied, done);
            match Confcast::launch(command(copy.path())) {
                Ok(server) => {
                    let found = range(server.address, "/k/", "/k0");
                    assert_eq!((found.revision, found.pairs), (good.revision, good.pairs.clone()), "{done:?}");
                    same += 1;
                }
                Err(log) => {
                    let path = copied.display().to_string();
                    assert!(log.contains(&path) && log.contains("move it away"), "{done:?}: {log}");
                    assert!(!log.contains("panicked"), "{done:?}: {log}");
                    refused += 1;
                }
            }
        }
        println!("killed: {kill}; refused {refused}, started with the last state {same}");
        assert!(refused > 5, "cuts and damaged values are found out");
    }
}

/// Sets the size up to which the server may write files: the soft limit, which may be raised again.
fn limit(server: &Confcast, size: &str) {
    let (pid, fsize) = (format!("--pid={}", server.id()), format!("--fsize={size}:"));
    assert!(Command::new("prlimit").args([pid, fsize]).status().expect("prlimit runs").success());
}

#[test]
fn without_room_puts_fail_and_the_rest_goes_on() {
    if support::program("CONFCAST_PRLIMIT", "prlimit").is_none() {
        return;
    }
    let dir = directory();
    // Without the signal a file that is too large is an error like a full disk.
    let mut shell = Command::new("sh");
    let inner = command(dir.path());
    shell.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(inner.get_program()).args(inner.get_args());
    let server = Confcast::launch(shell).expect("starts");
    let first = put(&server, "/k/first", "1").expect("put");
    let mut watch = Stream::watch(server.address, Span("/k/", "/k0"), first + 1).expect("a watch");
    let length = std::fs::metadata(dir.path().join("confcast.redb")).expect("there").len();
    limit(&server, &length.to_string());

    let large = "x".repeat(500 << 10);
    let mut taken = first;
    let refused = (0..100).find_map(|number| match put(&server, &format!("/k/{number}"), &large) {
        Ok(revision) => {
            assert_eq!(std::mem::replace(&mut taken, revision) + 1, revision);
            None
        }
        Err(refused) => Some(refused),
    });
    let (status, body) = refused.expect("there is no room for all of them");
    assert_eq!((status, body["code"].as_i64()), (429, Some(8)), "{body}");
    assert_eq!(body["message"], "etcdserver: mvcc: database space exceeded");
    assert!(put(&server, "/k/again", &large).is_err(), "there is still none");
    let state = range(server.address, "/k/", "/k0");
    assert_eq!((state.revision, state.pairs[state.pairs.len() - 1].0.as_str()), (taken, "/k/first"));
    assert!(server.log().contains("make room for the file"), "{}", server.log());

    limit(&server, "unlimited");
    let mut next = put(&server, "/k/room", "there");
    let waited = now();
    while next.is_err() && waited.elapsed() < support::PATIENCE {
        pause(Duration::from_millis(100));
        next = put(&server, "/k/room", "there");
    }
    assert_eq!(next.expect("there is room"), taken + 1, "what failed has used no revision");
    let mut seen = first;
    while seen < taken + 1 {
        let message = watch.next(support::PATIENCE).expect("the watch goes on");
        for event in message["events"].as_array().expect("events") {
            let revision = number(&event["kv"]["mod_revision"]);
            assert_eq!(revision, seen + 1, "the watch has missed nothing");
            seen = revision;
        }
    }
    let before = range(server.address, "/k/", "/k0");
    server.kill();
    let after = range(start(dir.path()).address, "/k/", "/k0");
    assert_eq!((after.revision, after.pairs), (before.revision, before.pairs));
}

#[test]
fn a_hundred_thousand_keys_are_there_soon_after_a_restart() {
    const KEYS: i64 = 100_000;
    let dir = directory();
    let server = start(dir.path());
    for group in 0..KEYS / 100 {
        let puts = (0..100).map(|number| {
            let key = format!("/apisix/routes/{:06}", group * 100 + number);
            json!({"request_put": {"key": b64(key), "value": b64("{\"uri\":\"/a\",\"upstream_id\":\"1\"}")}})
        });
        let request = json!({"success": puts.collect::<Vec<_>>()});
        let (status, answer) = wire::post(server.address, "/v3/kv/txn", &request).expect("answered");
        assert_eq!(status, 200, "{answer}");
    }
    let revision = server.revision();
    let size = std::fs::metadata(dir.path().join("confcast.redb")).expect("there").len();
    server.kill();
    for end in ["killed", "ended well"] {
        let started = now();
        let server = start(dir.path());
        let took = started.elapsed();
        println!("{KEYS} keys, {} MiB: after it was {end} it serves {took:?} after its start", size >> 20);
        let count = json!({"key": b64("/apisix/"), "range_end": b64("/apisix0"), "count_only": true});
        let answer = post(server.address, "/v3/kv/range", &count).json();
        assert_eq!((number(&answer["count"]), server.revision()), (KEYS, revision));
        assert!(took < Duration::from_mins(1), "{took:?}");
        assert!(server.terminate());
    }
}
