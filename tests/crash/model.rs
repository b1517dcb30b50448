//! What a server has told, which it must not take back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::Confcast;
use crate::support::history::wire::{self, Stream};
use crate::support::history::{Event, Pair, Span, number, pause};
use crate::support::http::b64;

/// Clients that put at the same time, each to keys of its own.
const WRITERS: usize = 3;

/// Keys of a client.
const KEYS: usize = 8;

/// A put that was sent. Without a revision the answer did not come.
#[derive(Debug)]
struct Put {
    key: String,
    value: String,
    revision: Option<i64>,
}

/// Everything that a server was seen to hold, over all of its lives.
#[derive(Debug, Default)]
pub struct Model {
    /// What each revision was told to be.
    told: BTreeMap<i64, (String, String)>,
    /// The newest revision of each key.
    newest: BTreeMap<String, i64>,
    /// Puts without an answer.
    open: BTreeSet<(String, String)>,
    last: i64,
    acknowledged: usize,
}

impl Model {
    /// How many puts were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// Holds the state of a server that has just started against what was told before.
    pub fn check(&mut self, server: SocketAddr) {
        let (revision, pairs) = wire::state(server, false).expect("it answers");
        let pairs: Vec<_> = pairs.as_array().into_iter().flatten().map(Pair::read).collect();
        assert!(revision >= self.last, "the revision went from {} back to {revision}", self.last);
        let found: BTreeMap<_, _> = pairs.iter().map(|pair| (&pair.key, pair.modified)).collect();
        for (key, newest) in &self.newest {
            let modified = found.get(key).copied().unwrap_or_default();
            assert!(modified >= *newest, "{key} had revision {newest} and has {modified}");
        }
        for pair in pairs {
            assert!(pair.modified <= revision);
            let known = self.told.contains_key(&pair.modified);
            let open = self.open.contains(&(pair.key.clone(), pair.value.clone()));
            assert!(known || open, "nobody has put {pair:?}");
            self.tell(pair.modified, pair.key, pair.value);
        }
        self.last = self.last.max(revision);
    }

    /// A revision was seen to be this.
    fn tell(&mut self, revision: i64, key: String, value: String) {
        let newest = self.newest.entry(key.clone()).or_default();
        *newest = revision.max(*newest);
        let content = (key, value);
        let told = self.told.entry(revision).or_insert_with(|| content.clone());
        assert_eq!(*told, content, "revision {revision} has two contents");
        self.last = self.last.max(revision);
    }

    /// Lets clients put and watch for a while, and kills the server meanwhile.
    pub fn run(&mut self, server: Confcast, round: usize, time: Duration) {
        let (address, from) = (server.address, self.last + 1);
        let killed = AtomicBool::new(false);
        let (puts, events) = std::thread::scope(|scope| {
            let watcher = scope.spawn(move || watch(address, from));
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let killed = &killed;
                    scope.spawn(move || write(address, writer, round, killed))
                })
                .collect();
            pause(time);
            server.kill();
            killed.store(true, Ordering::Relaxed);
            let puts: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().expect("no panic")).collect();
            (puts, watcher.join().expect("no panic"))
        });
        for put in puts {
            match put.revision {
                Some(revision) => {
                    self.acknowledged += 1;
                    assert!(revision >= from, "revision {revision} was there before {from}");
                    self.tell(revision, put.key, put.value);
                }
                None => drop(self.open.insert((put.key, put.value))),
            }
        }
        // What was shown counts as much as what was acknowledged.
        for Event { pair, .. } in events {
            self.tell(pair.modified, pair.key, pair.value);
        }
    }
}

/// Puts until the server is gone.
fn write(server: SocketAddr, writer: usize, round: usize, killed: &AtomicBool) -> Vec<Put> {
    let mut puts = Vec::new();
    while !killed.load(Ordering::Relaxed) {
        let count = puts.len();
        let (key, value) = (format!("/k/{writer}/{}", count % KEYS), format!("{round}.{count}"));
        let request = json!({"key": b64(&key), "value": b64(&value)});
        let answer = wire::post(server, "/v3/kv/put", &request);
        let revision = answer.ok().map(|(status, body)| {
            assert_eq!(status, 200, "{body}");
            number(&body["header"]["revision"])
        });
        puts.push(Put { key, value, revision });
    }
    puts
}

/// Watches until the server is gone.
fn watch(server: SocketAddr, from: i64) -> Vec<Event> {
    let mut events = Vec::new();
    let Ok(mut stream) = Stream::watch(server, Span("/k/", "/k0"), from) else { return events };
    while let Ok(message) = stream.next(Duration::from_secs(8)) {
        events.extend(message["events"].as_array().into_iter().flatten().map(Event::read));
    }
    events
}
