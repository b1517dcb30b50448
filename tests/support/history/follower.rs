//! A client that watches, goes from server to server as it likes, and goes on where it was.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::wire::{Stream, post};
use super::{Event, Pair, Span, now, number, pause};
use crate::support::http::b64;

/// What a follower was told.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Events, with the revision of the header.
    Told { at: Instant, server: SocketAddr, revision: i64, events: Vec<Event> },
    /// That what it asked for is gone.
    Compacted { server: SocketAddr, asked: i64 },
    /// After that, the state.
    Reloaded { at: Instant, server: SocketAddr, revision: i64, pairs: Vec<Pair> },
}

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Stays while it can.
    Stays,
    /// Goes elsewhere after a moment.
    Hops,
}

/// Follows in a thread of its own.
pub struct Follower {
    stop: Arc<AtomicBool>,
    revision: Arc<AtomicI64>,
    heard: Arc<Mutex<Vec<Heard>>>,
    thread: JoinHandle<()>,
}

impl Follower {
    /// Follows everything from the first change on.
    pub fn start(servers: &[SocketAddr], habit: Habit, seed: u64) -> Self {
        // An etcd begins at 1, with nothing in it.
        let revision = Arc::new(AtomicI64::new(1));
        let (stop, heard) = (Arc::default(), Arc::<Mutex<Vec<Heard>>>::default());
        let mut walk = Walk {
            servers: servers.to_vec(),
            habit,
            random: StdRng::seed_from_u64(seed),
            stop: Arc::clone(&stop),
            revision: Arc::clone(&revision),
            heard: Arc::clone(&heard),
        };
        let thread = std::thread::spawn(move || walk.run());
        Self { stop, revision, heard, thread }
    }

    /// The revision up to which it was told.
    pub fn revision(&self) -> i64 {
        self.revision.load(Ordering::Acquire)
    }

    /// What it was told so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("not poisoned").clone()
    }

    /// Ends it, and returns all that it was told.
    pub fn finish(self) -> Vec<Heard> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("no panic");
        std::mem::take(&mut *self.heard.lock().expect("not poisoned"))
    }
}

/// Waits until all were told everything up to a revision.
pub fn told<'a>(followers: impl IntoIterator<Item = &'a Follower> + Clone, revision: i64) {
    let began = now();
    while followers.clone().into_iter().any(|follower| follower.revision() < revision) {
        if began.elapsed() > crate::support::PATIENCE {
            for follower in followers {
                let heard = follower.heard();
                println!("a follower is at {}: {:?}", follower.revision(), heard.last());
            }
            panic!("not told of {revision} in time");
        }
        pause(Duration::from_millis(5));
    }
}

struct Walk {
    servers: Vec<SocketAddr>,
    habit: Habit,
    random: StdRng,
    stop: Arc<AtomicBool>,
    revision: Arc<AtomicI64>,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Walk {
    fn run(&mut self) {
        while !self.stopped() {
            let server = self.servers[self.random.random_range(0..self.servers.len())];
            let stay = match self.habit {
                Habit::Stays => Duration::MAX,
                Habit::Hops => Duration::from_millis(self.random.random_range(5..600)),
            };
            // An error means that the server, or the way to it, is away.
            if self.visit(server, stay).is_err() {
                pause(Duration::from_millis(20));
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn visit(&mut self, server: SocketAddr, stay: Duration) -> std::io::Result<()> {
        let asked = self.revision.load(Ordering::Acquire) + 1;
        let mut stream = Stream::watch(server, Span::ALL, asked)?;
        let came = now();
        while !self.stopped() && came.elapsed() < stay {
            let message = match stream.next(Duration::from_millis(500).min(stay)) {
                Ok(message) => message,
                // Nothing new; what was read of a message is read again.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            if message["canceled"] == true {
                if number(&message["compact_revision"]) == 0 {
                    return Err(std::io::Error::other(message.to_string()));
                }
                self.push(Heard::Compacted { server, asked });
                return self.reload(server);
            }
            let events: Vec<_> = message["events"].as_array().into_iter().flatten().map(Event::read).collect();
            if events.is_empty() {
                continue;
            }
            let revision = number(&message["header"]["revision"]);
            // A header may be ahead of its events in an etcd, and says then nothing about what lies between.
            let last = events.iter().map(|event| event.pair.modified).max().unwrap_or_default();
            self.push(Heard::Told { at: now(), server, revision, events });
            self.revision.store(last, Ordering::Release);
        }
        Ok(())
    }

    fn reload(&self, server: SocketAddr) -> std::io::Result<()> {
        let (status, body) =
            post(server, "/v3/kv/range", &json!({"key": b64(Span::ALL.0), "range_end": b64(Span::ALL.1)}))?;
        if status != 200 {
            return Err(std::io::Error::other(body.to_string()));
        }
        let revision = number(&body["header"]["revision"]);
        let pairs = body["kvs"].as_array().into_iter().flatten().map(Pair::read).collect();
        self.push(Heard::Reloaded { at: now(), server, revision, pairs });
        self.revision.store(revision, Ordering::Release);
        Ok(())
    }

    fn push(&self, heard: Heard) {
        self.heard.lock().expect("not poisoned").push(heard);
    }
}
