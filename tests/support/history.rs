//! Histories: what clients did and were shown at which moment, what watchers were told, and what the etcd says of it.
//!
//! An etcd numbers its states, which makes the check simple: whatever is shown with a revision must be the state at that
//! revision, and a linearizable answer must not be older than anything that anybody was shown before it was asked for.

pub mod check;
pub mod follower;
pub mod load;
pub mod truth;
pub mod wire;

use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::from_b64;

/// A key with its value and numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    pub key: String,
    pub value: String,
    pub create: i64,
    pub modified: i64,
    pub version: i64,
    pub lease: i64,
}

impl Pair {
    pub fn read(json: &Value) -> Self {
        let text = |name: &str| String::from_utf8(from_b64(&json[name])).expect("text");
        Self {
            key: text("key"),
            value: text("value"),
            create: number(&json["create_revision"]),
            modified: number(&json["mod_revision"]),
            version: number(&json["version"]),
            lease: number(&json["lease"]),
        }
    }
}

/// A number as the gateway writes it; what is left out is zero.
pub fn number(json: &Value) -> i64 {
    json.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    pub pair: Pair,
    pub deleted: bool,
}

impl Event {
    pub fn read(json: &Value) -> Self {
        Self { pair: Pair::read(&json["kv"]), deleted: json["type"] == "DELETE" }
    }
}

/// A range of keys, in etcd's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub &'static str, pub &'static str);

impl Span {
    pub const ALL: Self = Self("\0", "\0");

    pub fn contains(self, key: &str) -> bool {
        match self.1 {
            "" => key == self.0,
            "\0" => key >= self.0,
            end => key >= self.0 && key < end,
        }
    }
}

/// A seed, from the environment or drawn, and printed.
pub fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::Rng::random_range(&mut rand::rng(), 0..1_000_000));
    println!("SEED={seed}");
    seed
}

#[expect(clippy::disallowed_methods, reason = "tests of other processes have real time")]
pub fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "tests of other processes wait in real time")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
