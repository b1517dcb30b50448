//! The engine of a mirror with an etcd that is compacted, restored and cut off at any moment, and with crashes of the
//! mirror: thousands of histories, each drawn from a seed. `SEED=…` repeats one, `CASES=…` looks at more of them.
#![allow(clippy::print_stdout, missing_docs)]

use std::collections::BTreeMap;

use bytes::Bytes;
use confcast::pb::etcdserverpb::{ResponseHeader, WatchResponse};
use confcast::pb::mvccpb::event::EventType;
use confcast::pb::mvccpb::{Event, KeyValue};
use confcast::store::{KeyRange, LeaseId, MemoryOnly, Origin, Record, Restored, Retention, Revision, View, Writer};
use confcast::upstream::Prefixes;
use confcast::upstream::engine::{Engine, News, Next};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const CLUSTER: u64 = 7;
const STEPS: usize = 600;

/// Revisions of the past that are asked for.
const HISTORY: u32 = 20;

type State = BTreeMap<Bytes, KeyValue>;

/// An etcd: at each revision its events and the state after them. The first one is 1, and empty.
struct Etcd {
    history: Vec<(Vec<Event>, State)>,
    compacted: usize,
}

impl Etcd {
    fn revision(&self) -> usize {
        self.history.len()
    }

    fn state(&self, revision: usize) -> &State {
        &self.history[revision - 1].1
    }

    fn write(&mut self, random: &mut StdRng) {
        let revision = i64::try_from(self.revision() + 1).expect("small");
        let mut state = self.state(self.revision()).clone();
        let mut events = Vec::new();
        for key in ["a", "b", "c", "d"] {
            if !random.random_bool(0.3) {
                continue;
            }
            let key = Bytes::from(key);
            let old = state.get(&key).cloned();
            if random.random_bool(0.4) {
                if state.remove(&key).is_some() {
                    let kv = KeyValue { key, mod_revision: revision, ..KeyValue::default() };
                    events.push(Event { r#type: EventType::Delete.into(), kv: Some(kv), prev_kv: None });
                }
                continue;
            }
            let kv = KeyValue {
                key: key.clone(),
                value: random.random_range(0..1_000).to_string().into(),
                create_revision: old.as_ref().map_or(revision, |old| old.create_revision),
                version: old.map_or(1, |old| old.version + 1),
                mod_revision: revision,
                lease: 0,
            };
            state.insert(key, kv.clone());
            events.push(Event { r#type: EventType::Put.into(), kv: Some(kv), prev_kv: None });
        }
        if !events.is_empty() {
            self.history.push((events, state));
        }
    }

    /// The events of a revision. Compaction takes the deletions at its own revision along, for a watch that is made then.
    fn events(&self, revision: usize, is_first: bool) -> Vec<Event> {
        let left = |event: &&Event| !is_first || revision > self.compacted || event.r#type() == EventType::Put;
        self.history[revision - 1].0.iter().filter(left).cloned().collect()
    }
}

struct World {
    random: StdRng,
    etcd: Etcd,
    /// What is mirrored.
    prefixes: Prefixes,
    engine: Engine,
    writer: Writer,
    /// What the engine wants; none without a connection.
    next: Option<Next>,
    /// The first and the next revision of the watch, and whether it was told that it is there.
    watch: Option<(usize, usize, bool)>,
    following: bool,
    /// Whether anything happened after which a mirror may not know.
    lossy: bool,
    repairs: usize,
    steps: usize,
    /// Whether the etcd's past is another one than that of the store may be, of which the present says nothing where both
    /// have come to the same.
    restored: bool,
}

fn writer(restored: Restored) -> Writer {
    Writer::new(restored, Retention::default(), Box::new(MemoryOnly)).0
}

fn record(pair: &KeyValue) -> Record {
    let numbers = (Revision(pair.create_revision), Revision(pair.mod_revision), pair.version);
    Record::new(pair.key.clone(), pair.value.clone(), numbers, LeaseId(pair.lease), Origin::Client)
}

impl World {
    fn new(seed: u64, prefixes: &Prefixes) -> Self {
        Self {
            prefixes: prefixes.clone(),
            random: StdRng::seed_from_u64(seed),
            etcd: Etcd { history: vec![(Vec::new(), State::new())], compacted: 0 },
            engine: Engine::of(prefixes.clone(), HISTORY),
            writer: writer(Restored::empty_at(Revision::ZERO)),
            next: None,
            watch: None,
            following: false,
            lossy: false,
            repairs: 0,
            steps: 0,
            restored: false,
        }
    }

    /// What the etcd has at a revision of what is mirrored.
    fn mirrored(&self, revision: usize) -> impl Iterator<Item = &KeyValue> {
        self.etcd.state(revision).values().filter(|pair| self.prefixes.contain(&pair.key))
    }

    fn cut(&mut self) {
        (self.next, self.watch, self.following) = (None, None, false);
    }

    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        match self.random.random_range(0..1_000) {
            0..350 => self.etcd.write(&mut self.random),
            350..365 => {
                self.etcd.compacted = self.random.random_range(self.etcd.compacted.max(1)..=self.etcd.revision());
                self.lossy = true;
            }
            365..375 => {
                // Restored from any moment. Mirrors see it only when it has got as far as it likes.
                let to = self.random.random_range(1..=self.etcd.revision());
                self.etcd.history.truncate(to);
                self.etcd.compacted = self.etcd.compacted.min(to);
                self.cut();
                (self.lossy, self.restored) = (true, true);
                for _ in 0..self.random.random_range(0..60) {
                    self.etcd.write(&mut self.random);
                }
            }
            375..400 => {
                self.cut();
                for _ in 0..self.random.random_range(0..10) {
                    self.etcd.write(&mut self.random);
                }
            }
            400..408 => self.crash(),
            _ => self.turn()?,
        }
        self.check()
    }

    /// The mirror starts again with what its data directory has, if it has one.
    fn crash(&mut self) {
        self.cut();
        if self.random.random_bool(0.3) {
            let nothing = Restored::empty_at(Revision::ZERO);
            (self.engine, self.writer) = (Engine::of(self.prefixes.clone(), HISTORY), writer(nothing));
            self.restored = false;
            return;
        }
        let snapshot = self.writer.snapshot();
        let revision = snapshot.revision();
        let again = |own: &std::sync::Arc<Record>| {
            let numbers = (own.create_revision, own.mod_revision, own.version);
            Record::new(own.key.clone(), own.value.clone(), numbers, own.lease, own.origin)
        };
        let records = snapshot.range(&KeyRange::all()).map(again).collect();
        let restored = Restored { records, deleted_unknown_through: revision, ..Restored::empty_at(revision) };
        (self.engine, self.writer) = (Engine::of(self.prefixes.clone(), HISTORY), writer(restored));
    }

    fn turn(&mut self) -> Result<(), String> {
        let here = Revision(i64::try_from(self.etcd.revision()).expect("small"));
        let (next, news) = match self.next.clone() {
            None => (self.engine.found(&self.writer, CLUSTER, here), None),
            Some(Next::Leave(why)) => return Err(why),
            Some(Next::Load) => {
                (self.watch, self.following) = (None, false);
                let pairs = self.mirrored(self.etcd.revision()).map(record).collect();
                self.engine.loaded(&mut self.writer, CLUSTER, here, pairs)
            }
            Some(Next::Begin(at)) => {
                (self.watch, self.following) = (None, false);
                let at = usize::try_from(at.0).expect("positive").max(self.etcd.compacted);
                if self.random.random_bool(0.1) {
                    (self.engine.past_is_gone(), None)
                } else {
                    let pairs = self.mirrored(at).map(record).collect();
                    let at = Revision(i64::try_from(at).expect("small"));
                    self.engine.loaded(&mut self.writer, CLUSTER, at, pairs)
                }
            }
            Some(Next::Compare(at)) => {
                let at = usize::try_from(at.0).expect("positive");
                let there = self.etcd.compacted <= at;
                let pairs: Option<Vec<_>> = there.then(|| self.mirrored(at).map(record).collect());
                (self.engine.compared(&self.writer, pairs.as_deref()), None)
            }
            Some(Next::Watch(from)) => {
                let from = usize::try_from(from.0).expect("positive");
                self.watch = Some((from, from, false));
                (Next::Read, None)
            }
            Some(Next::Read) => {
                let Some(response) = self.response() else {
                    if self.engine.is_waiting() && self.random.random_bool(0.1) {
                        let (next, news) = self.engine.waited(&self.writer);
                        self.following |= news.is_some();
                        self.next = Some(next);
                    }
                    return Ok(());
                };
                self.engine.told(&mut self.writer, &response)
            }
        };
        match news {
            Some(News::Following) => self.following = true,
            Some(_) if !self.lossy => return Err(format!("{news:?}, and nothing was lost")),
            Some(_) => self.repairs += 1,
            None => {}
        }
        self.next = Some(next);
        Ok(())
    }

    /// What the watch says next.
    fn response(&mut self) -> Option<WatchResponse> {
        let header = ResponseHeader { cluster_id: CLUSTER, ..ResponseHeader::default() };
        let response = WatchResponse { header: Some(header), ..WatchResponse::default() };
        let (first, from, created) = self.watch.as_mut()?;
        if !std::mem::replace(created, true) {
            return Some(WatchResponse { created: true, ..response });
        }
        if *from < self.etcd.compacted {
            let compact_revision = i64::try_from(self.etcd.compacted).expect("small");
            return Some(WatchResponse { canceled: true, compact_revision, ..response });
        }
        let mut events = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            if *from <= self.etcd.revision() {
                events.extend(self.etcd.events(*from, *first == *from));
                *from += 1;
            }
        }
        (!events.is_empty()).then_some(WatchResponse { events, ..response })
    }

    fn check_at(&self, revision: usize, view: View<'_>) -> Result<(), String> {
        let own: Vec<_> = view.range(&KeyRange::all()).collect();
        let same = own.len() == self.mirrored(revision).count()
            && own.iter().zip(self.mirrored(revision)).all(|(own, pair)| {
                (&own.key, &own.value, own.create_revision.0, own.mod_revision.0, own.version)
                    == (&pair.key, &pair.value, pair.create_revision, pair.mod_revision, pair.version)
            });
        if same { Ok(()) } else { Err(format!("at {revision}: {own:?}\nbut {:?}", self.etcd.state(revision))) }
    }

    /// While it follows, the store is what the etcd was at the store's revision.
    fn check(&self) -> Result<(), String> {
        let snapshot = self.writer.snapshot();
        let revision = usize::try_from(snapshot.revision().0).expect("positive");
        if !self.following {
            return Ok(());
        }
        self.check_at(revision, snapshot.current())?;
        if self.restored {
            return Ok(());
        }
        // And what it was, as far as that is known.
        let past = revision.saturating_sub(self.steps % (HISTORY as usize + 5)).max(1);
        let at = Revision(i64::try_from(past).expect("small"));
        snapshot.at(at).map_or(Ok(()), |view| self.check_at(past, view))
    }
}

fn run(seed: u64, prefixes: &Prefixes) -> Result<usize, String> {
    let mut world = World::new(seed, prefixes);
    let wrong = |error| format!("seed {seed}: {error}");
    for _ in 0..STEPS {
        world.step().map_err(wrong)?;
    }
    // The faults are over.
    world.etcd.write(&mut world.random);
    for _ in 0..400 {
        world.turn().and_then(|()| world.check()).map_err(wrong)?;
    }
    let revision = usize::try_from(world.writer.snapshot().revision().0).expect("positive");
    if world.following && revision == world.etcd.revision() {
        return Ok(world.repairs);
    }
    Err(format!("seed {seed}: it stays at {revision} of {}, {:?}", world.etcd.revision(), world.next))
}

#[test]
fn a_mirror_is_what_its_etcd_is_in_every_history() {
    every_history(&Prefixes::default(), 3_000);
}

/// Most revisions have nothing that is kept.
#[test]
fn a_mirror_of_a_prefix_is_what_its_etcd_is_below_it() {
    every_history(&Prefixes::of(&["b".into()]), 1_000);
}

fn every_history(prefixes: &Prefixes, cases: u64) {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CASES").unwrap_or(cases),
    };
    let results: Vec<_> = seeds.map(|seed| run(seed, prefixes)).collect();
    let wrong: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).cloned().collect();
    assert!(
        wrong.is_empty(),
        "{} of {} histories:\n{}",
        wrong.len(),
        results.len(),
        wrong[..wrong.len().min(3)].join("\n")
    );
    let repairs: usize = results.iter().flatten().sum();
    println!("{} histories with {repairs} repairs", results.len());
    assert!(results.len() == 1 || repairs > results.len(), "there were faults");
}
