//! Clients that do random things, each on a server of its choice, and note what they were answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::wire::post;
use super::{Pair, Span, now, number, pause};
use crate::support::http::b64;

/// What was answered.
#[derive(Clone, Debug)]
pub enum What {
    /// A read: at a revision of the past, or 0 for now.
    Read { span: Span, past: i64, linearizable: bool, pairs: Vec<Pair> },
    /// A write, with the values that it surely put: key and value.
    Wrote(Vec<(String, String)>),
    /// A deletion, with the number of keys.
    Deleted(Span, usize),
    /// History was given up below a revision.
    Compacted,
}

/// An answer: when it was asked for and when it came, of which server, with which revision.
#[derive(Clone, Debug)]
pub struct Done {
    pub began: Instant,
    pub ended: Instant,
    pub server: SocketAddr,
    pub revision: i64,
    pub what: What,
}

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    pub clients: u64,
    /// Whether they give up history.
    pub compacts: bool,
    /// Longest pause between two requests, in milliseconds.
    pub pause: u64,
}

/// Clients at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    compacted: Arc<AtomicI64>,
    threads: Vec<JoinHandle<Vec<Done>>>,
}

impl Load {
    pub fn start(servers: &[SocketAddr], mix: Mix, seed: u64) -> Self {
        let (stop, compacted) = (Arc::<AtomicBool>::default(), Arc::<AtomicI64>::default());
        let client = |number| {
            let mut client = Client {
                number,
                servers: servers.to_vec(),
                mix,
                random: StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(number)),
                seen: 1,
                writes: 0,
                compacted: Arc::clone(&compacted),
                leases: Vec::new(),
                done: Vec::new(),
            };
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    // What fails may have happened or not; the truth will say.
                    let _ = client.act();
                    pause(Duration::from_millis(client.random.random_range(0..=mix.pause)));
                }
                client.done
            })
        };
        let threads = (0..mix.clients).map(client).collect();
        Self { stop, compacted, threads }
    }

    /// The greatest revision below which history was to be given up.
    pub fn compacted(&self) -> i64 {
        self.compacted.load(Ordering::Acquire)
    }

    /// Ends the clients, and returns what they were answered.
    pub fn finish(self) -> Vec<Done> {
        self.stop.store(true, Ordering::Release);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    }
}

struct Client {
    number: u64,
    servers: Vec<SocketAddr>,
    mix: Mix,
    random: StdRng,
    seen: i64,
    writes: u64,
    compacted: Arc<AtomicI64>,
    leases: Vec<Value>,
    done: Vec<Done>,
}

const ROUTES: Span = Span("/apisix/routes/", "/apisix/routes0");
const KEYS: [&str; 12] = [
    "/apisix/routes/1",
    "/apisix/routes/2",
    "/apisix/routes/3",
    "/apisix/routes/4",
    "/apisix/services/1",
    "/apisix/services/2",
    "/apisix/upstreams/1",
    "/apisix/upstreams/2",
    "/apisix/upstreams/3",
    "/confcast/mark",
    "/other",
    "zzz",
];

impl Client {
    fn act(&mut self) -> std::io::Result<()> {
        let key = KEYS[self.random.random_range(0..KEYS.len())];
        match self.random.random_range(0..100) {
            0..20 => self.put(key, &Value::Null),
            20..28 => self.delete(Span(key, "")),
            28..31 => self.delete(ROUTES),
            31..43 => self.txn(),
            43..47 => self.leased(key),
            47..49 => self.revoke(),
            49..50 => self.compact(),
            50..62 => self.read(Span(key, ""), 0, true),
            62..74 => self.read(ROUTES, 0, true),
            74..86 => self.read(Span::ALL, 0, true),
            86..93 => self.read(Span::ALL, 0, false),
            _ => {
                let past = (self.seen - self.random.random_range(0..150)).max(1);
                self.read(Span::ALL, past, true)
            }
        }
    }

    /// A request to any server. None if it refused.
    fn ask(&mut self, path: &str, body: &Value) -> std::io::Result<Option<(Done, Value)>> {
        let server = self.servers[self.random.random_range(0..self.servers.len())];
        let began = now();
        let (status, body) = post(server, path, body)?;
        if status != 200 {
            return Ok(None);
        }
        let revision = number(&body["header"]["revision"]);
        self.seen = self.seen.max(revision);
        Ok(Some((Done { began, ended: now(), server, revision, what: What::Compacted }, body)))
    }

    fn value(&mut self) -> String {
        self.writes += 1;
        format!("{}-{}", self.number, self.writes)
    }

    fn put(&mut self, key: &str, lease: &Value) -> std::io::Result<()> {
        let value = self.value();
        let mut body = json!({"key": b64(key), "value": b64(&value)});
        if !lease.is_null() {
            body["lease"] = lease.clone();
        }
        if let Some((done, _)) = self.ask("/v3/kv/put", &body)? {
            self.done.push(Done { what: What::Wrote(vec![(key.to_owned(), value)]), ..done });
        }
        Ok(())
    }

    fn delete(&mut self, span: Span) -> std::io::Result<()> {
        let body = json!({"key": b64(span.0), "range_end": b64(span.1)});
        if let Some((done, body)) = self.ask("/v3/kv/deleterange", &body)? {
            let count = usize::try_from(number(&body["deleted"])).expect("a count");
            self.done.push(Done { what: What::Deleted(span, count), ..done });
        }
        Ok(())
    }

    /// Several puts and a deletion if a key is there, and others if it is not.
    fn txn(&mut self) -> std::io::Result<()> {
        let first = self.random.random_range(0..KEYS.len() - 3);
        let (here, there) = (self.value(), self.value());
        let put = |key: &str, value: &str| json!({"requestPut": {"key": b64(key), "value": b64(value)}});
        let body = json!({
            "compare": [{"key": b64(KEYS[first]), "target": "VERSION", "result": "GREATER", "version": 0}],
            "success": [
                put(KEYS[first + 1], &here),
                {"requestDeleteRange": {"key": b64(KEYS[first])}},
                put(KEYS[first + 2], &here),
            ],
            "failure": [put(KEYS[first], &there), put(KEYS[first + 3], &there)],
        });
        if let Some((done, body)) = self.ask("/v3/kv/txn", &body)? {
            let pairs = if body["succeeded"] == true {
                [first + 1, first + 2].map(|key| (KEYS[key].to_owned(), here.clone()))
            } else {
                [first, first + 3].map(|key| (KEYS[key].to_owned(), there.clone()))
            };
            self.done.push(Done { what: What::Wrote(pairs.to_vec()), ..done });
        }
        Ok(())
    }

    fn leased(&mut self, key: &str) -> std::io::Result<()> {
        let ttl = self.random.random_range(1..6);
        let Some((_, body)) = self.ask("/v3/lease/grant", &json!({"TTL": ttl}))? else { return Ok(()) };
        self.leases.push(body["ID"].clone());
        self.put(key, &body["ID"])
    }

    fn revoke(&mut self) -> std::io::Result<()> {
        if self.leases.is_empty() {
            return Ok(());
        }
        let lease = self.leases.swap_remove(self.random.random_range(0..self.leases.len()));
        self.ask("/v3/lease/revoke", &json!({"ID": lease})).map(drop)
    }

    fn compact(&mut self) -> std::io::Result<()> {
        let below = self.seen - 60;
        if !self.mix.compacts || below < 2 {
            return Ok(());
        }
        // Noted before it can have happened.
        self.compacted.fetch_max(below, Ordering::AcqRel);
        if let Some((done, _)) = self.ask("/v3/kv/compaction", &json!({"revision": below.to_string()}))? {
            self.done.push(done);
        }
        Ok(())
    }

    fn read(&mut self, span: Span, past: i64, linearizable: bool) -> std::io::Result<()> {
        let body = json!({
            "key": b64(span.0),
            "range_end": b64(span.1),
            "revision": past.to_string(),
            "serializable": !linearizable,
        });
        if let Some((done, body)) = self.ask("/v3/kv/range", &body)? {
            let pairs = body["kvs"].as_array().into_iter().flatten().map(Pair::read).collect();
            self.done.push(Done { what: What::Read { span, past, linearizable, pairs }, ..done });
        }
        Ok(())
    }
}
