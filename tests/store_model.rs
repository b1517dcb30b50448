//! The store and the watch hub against a reference model: a plain list of everything that ever happened.
#![allow(clippy::print_stdout, missing_docs)]

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use confcast::store::ops::{DeleteRange, Put, Range};
use confcast::store::snapshot::Restored;
use confcast::store::{KeyRange, LeaseId, MemoryOnly, ReadError, Retention, Revision, Store};
use confcast::watch::{Cancel, Create, Hub, Message, Session, WatchId};
use proptest::prelude::*;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// One commit that puts and deletes keys.
    Commit(Vec<(u8, Option<u8>)>),
    /// A client gives up history, this many revisions below the current one.
    Compact(u8),
    /// A watcher starts, this many revisions before or after the next one.
    Watch { range: Ranges, start: Start, prev_kv: bool },
    /// A watcher reads this many messages.
    Read { watcher: prop::sample::Index, messages: u8 },
}

#[derive(Clone, Debug)]
enum Start {
    Now,
    Back(u8),
    Ahead(u8),
}

#[derive(Clone, Debug)]
enum Ranges {
    Single(u8),
    Prefix,
    Interval(u8, u8),
    From(u8),
    All,
}

fn key(number: u8) -> Bytes {
    Bytes::from(format!("{}/{}", if number.is_multiple_of(2) { "a" } else { "b" }, number / 2))
}

impl Ranges {
    fn range(&self) -> KeyRange {
        match self {
            Self::Single(number) => KeyRange::single(key(*number)),
            Self::Prefix => KeyRange::prefix("a/"),
            Self::Interval(from, to) => KeyRange::from_wire(key(*from), key(*to)),
            Self::From(number) => KeyRange::from_wire(key(*number), Bytes::from_static(b"\0")),
            Self::All => KeyRange::from_wire(Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
        }
    }

    fn wire(&self) -> (Bytes, Bytes) {
        let end = Bytes::from_static(b"\0");
        match self {
            Self::Single(number) => (key(*number), Bytes::new()),
            Self::Prefix => ("a/".into(), "a0".into()),
            Self::Interval(from, to) => (key(*from), key(*to)),
            Self::From(number) => (key(*number), end),
            Self::All => (end.clone(), end),
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 0..10_u8;
    let ranges = prop_oneof![
        number.clone().prop_map(Ranges::Single),
        Just(Ranges::Prefix),
        (number.clone(), number.clone()).prop_map(|(from, to)| Ranges::Interval(from, to)),
        number.clone().prop_map(Ranges::From),
        Just(Ranges::All),
    ];
    let start = prop_oneof![Just(Start::Now), (0..40_u8).prop_map(Start::Back), (1..5_u8).prop_map(Start::Ahead)];
    let change = (number, prop::option::weighted(0.7, any::<u8>()));
    let step = prop_oneof![
        6 => prop::collection::vec(change, 1..4).prop_map(Step::Commit),
        1 => (0..20_u8).prop_map(Step::Compact),
        2 => (ranges, start, any::<bool>()).prop_map(|(range, start, prev_kv)| Step::Watch { range, start, prev_kv }),
        4 => (any::<prop::sample::Index>(), 1..4_u8).prop_map(|(watcher, messages)| Step::Read { watcher, messages }),
    ];
    prop::collection::vec(step, 1..120)
}

/// What a key is: its value and its three numbers.
#[derive(Clone, Debug, PartialEq)]
struct Pair {
    value: Bytes,
    create: i64,
    modified: i64,
    version: i64,
}

type State = BTreeMap<Bytes, Pair>;

/// What happened to a key: what it became, and what it was.
type Change = (Bytes, Option<Pair>, Option<Pair>);

/// Everything that happened, and every state there was.
#[derive(Default)]
struct Model {
    first: i64,
    history: Vec<(State, Vec<Change>)>,
    compacted: i64,
}

impl Model {
    fn revision(&self) -> i64 {
        self.first + i64::try_from(self.history.len()).expect("short")
    }

    fn state(&self, revision: i64) -> State {
        let position = usize::try_from(revision - self.first).expect("not before the first");
        position.checked_sub(1).map(|last| self.history[last].0.clone()).unwrap_or_default()
    }

    fn commit(&mut self, changes: &[(u8, Option<u8>)]) {
        let before = self.state(self.revision());
        let mut state = before.clone();
        let revision = self.revision() + 1;
        let mut events = Vec::new();
        for (number, value) in changes {
            let key = key(*number);
            let old = state.get(&key).cloned();
            let new = value.map(|value| Pair {
                value: Bytes::from(vec![b'v', value]),
                create: old.as_ref().map_or(revision, |pair| pair.create),
                modified: revision,
                version: old.as_ref().map_or(0, |pair| pair.version) + 1,
            });
            match &new {
                Some(pair) => drop(state.insert(key.clone(), pair.clone())),
                None => drop(state.remove(&key)),
            }
            if old.is_some() || new.is_some() {
                // A key that changes twice in a commit is shown as it was before all of it; a new one is shown as new.
                let is_new = new.as_ref().is_some_and(|pair| pair.create == revision);
                let previous = before.get(&key).filter(|_| !is_new).cloned();
                events.push((key, new, previous));
            }
        }
        if !events.is_empty() {
            self.history.push((state, events));
        }
    }

    /// Revision and content of every change in `range` at `from` and later.
    fn changes(&self, range: &KeyRange, from: i64) -> Vec<(i64, Change)> {
        let mut found = Vec::new();
        for (position, (_, events)) in self.history.iter().enumerate() {
            let revision = self.first + 1 + i64::try_from(position).expect("short");
            if revision >= from {
                let wanted = events.iter().filter(|(key, ..)| range.contains(key));
                found.extend(wanted.map(|change| (revision, change.clone())));
            }
        }
        found
    }
}

/// A watcher and what it has seen.
#[expect(clippy::struct_excessive_bools, reason = "they are told apart by name")]
struct Seen {
    session: Session,
    range: KeyRange,
    prev_kv: bool,
    start: i64,
    /// It started below the floor of a Compact request.
    below_floor: bool,
    created: bool,
    refused: bool,
    compacted: Option<i64>,
    changes: Vec<(i64, Change)>,
}

impl Seen {
    /// Reads one message. False if there is none.
    fn read(&mut self) -> bool {
        let Poll::Ready(message) = self.session.poll_next(&mut Context::from_waker(Waker::noop())) else {
            return false;
        };
        assert!(self.compacted.is_none() && !self.refused, "nothing after the end: {message:?}");
        match message {
            Message::Created { id, revision } => {
                assert_eq!(id, WatchId(0));
                if self.start == 0 {
                    self.start = revision.0 + 1;
                }
                self.created = true;
            }
            Message::Refused { reason, .. } => {
                assert_eq!(reason, "mvcc: watcher range is empty");
                assert!(self.range.is_empty());
                self.refused = true;
            }
            Message::Canceled { cancel: Cancel::Compacted(floor), .. } => self.compacted = Some(floor.0),
            Message::Events { frame, .. } => {
                assert!(self.created, "events before the created message");
                let last = self.changes.last().map_or(0, |(revision, _)| *revision);
                for event in frame.events() {
                    let pair = |record: &confcast::store::Record| Pair {
                        value: record.value.clone(),
                        create: record.create_revision.0,
                        modified: record.mod_revision.0,
                        version: record.version,
                    };
                    assert!(event.record.mod_revision.0 > last, "a revision is never split over two messages");
                    let new = (!event.is_delete()).then(|| pair(&event.record));
                    let old = event.previous.as_deref().map(pair);
                    self.changes.push((event.record.mod_revision.0, (event.key().clone(), new, old)));
                }
                assert_eq!(frame.revision().0, self.changes.last().expect("frames have events").0);
            }
            other => panic!("unexpected {other:?}"),
        }
        true
    }

    /// Compares all that was seen with what happened, once there is nothing more to read.
    fn check(&self, model: &Model) {
        if self.refused {
            return;
        }
        assert!(self.created);
        let expected = model.changes(&self.range, self.start);
        if let Some(floor) = self.compacted {
            assert!(floor > self.start && floor <= model.revision() + 1, "floor {floor}, start {}", self.start);
            assert!(expected.starts_with(&self.changes), "what came before the end is the truth");
            let lost = expected.get(self.changes.len()).is_some_and(|(revision, _)| *revision < floor);
            assert!(lost || self.below_floor || self.start <= model.first, "told compacted although nothing was lost");
        } else {
            assert!(self.start > model.first, "what was before the first revision is not known");
            assert_eq!(self.changes, expected, "every change once, in order");
        }
    }
}

async fn run(steps: Vec<Step>, retention: Retention, first: i64) {
    let restored = Restored::empty_at(Revision(first));
    let store = Store::open(restored, retention, Box::new(MemoryOnly)).expect("a thread");
    let hub = Hub::new(store.clone());
    let mut model = Model { first, compacted: -1, ..Model::default() };
    let mut watchers: Vec<Seen> = Vec::new();
    for step in steps {
        match step {
            Step::Commit(changes) => {
                model.commit(&changes);
                let revision = store
                    .submit(move |writer| {
                        let mut transaction = writer.begin();
                        for (number, value) in changes {
                            match value {
                                Some(value) => drop(transaction.put(
                                    key(number),
                                    Bytes::from(vec![b'v', value]),
                                    LeaseId::NONE,
                                    confcast::store::Origin::Client,
                                )),
                                None => drop(transaction.delete(&key(number))),
                            }
                        }
                        writer.commit(transaction)
                    })
                    .await
                    .expect("memory does not fail");
                assert_eq!(revision.0, model.revision());
            }
            Step::Compact(back) => {
                let revision = model.revision() - i64::from(back);
                let compacted = store.submit(move |writer| writer.compact_to(Revision(revision))).await;
                let allowed = revision > model.compacted;
                assert_eq!(compacted.expect("memory does not fail").is_ok(), allowed);
                if allowed {
                    model.compacted = revision;
                }
            }
            Step::Watch { range, start, prev_kv } => {
                let start = match start {
                    Start::Now => 0,
                    Start::Back(back) => (model.revision() + 1 - i64::from(back)).max(1),
                    Start::Ahead(ahead) => model.revision() + 1 + i64::from(ahead),
                };
                let mut session = hub.session();
                let (key, range_end) = range.wire();
                session.create(&Create { key, range_end, start_revision: start, prev_kv, ..Create::default() });
                let (range, changes) = (range.range(), Vec::new());
                let below_floor = start != 0 && start < model.compacted;
                let (created, refused, compacted) = (false, false, None);
                let mut seen =
                    Seen { session, range, prev_kv, start, below_floor, created, refused, compacted, changes };
                assert!(seen.read(), "the answer comes at once");
                watchers.push(seen);
            }
            Step::Read { watcher, messages } => {
                if !watchers.is_empty() {
                    let watcher = watcher.get_mut(&mut watchers);
                    let _ = (0..messages).all(|_| watcher.read());
                }
            }
        }
        let snapshot = store.snapshot();
        let state = model.state(model.revision());
        assert!(snapshot.range(&KeyRange::all()).map(|record| &record.key).eq(state.keys()));
    }
    for watcher in &mut watchers {
        while watcher.read() {}
        watcher.check(&model);
        let _ = watcher.prev_kv;
    }
    check_reads(&store, &model);
}

/// Every revision reads as it was, or is refused because it is too old or too new.
fn check_reads(store: &Store, model: &Model) {
    let snapshot = store.snapshot();
    for revision in model.first.max(1)..=model.revision() {
        match snapshot.at(Revision(revision)) {
            Ok(view) => {
                let records = Range::all(KeyRange::all()).read(view).records;
                let state = model.state(revision);
                let seen: State = records
                    .iter()
                    .map(|record| {
                        let (create, modified) = (record.create_revision.0, record.mod_revision.0);
                        let pair = Pair { value: record.value.clone(), create, modified, version: record.version };
                        (record.key.clone(), pair)
                    })
                    .collect();
                assert_eq!(seen, state, "at {revision}");
            }
            Err(error) => {
                assert_eq!(error, ReadError::Compacted);
                assert!(revision < model.revision(), "the current revision can always be read");
                assert!(revision < snapshot.floor().0, "{revision} is above the floor");
            }
        }
    }
    assert_eq!(snapshot.at(Revision(model.revision() + 1)).expect_err("not yet"), ReadError::Future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_watcher_sees_every_change_once_or_is_told(
        steps in steps(),
        commits in prop_oneof![1..6_usize, Just(1000)],
        first in prop_oneof![Just(0_i64), Just(17_000_000_000_000)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(run(steps, Retention { commits, ..Retention::default() }, first));
    }
}

/// A put that repeats what the source holds is accepted and changes nothing; any other write to it is refused.
#[tokio::test]
async fn keys_of_the_source_are_read_only() {
    let store = Store::in_memory(Revision(1)).expect("a thread");
    let put = |key: &'static str, value: &'static str| Put {
        key: key.into(),
        value: value.into(),
        lease: LeaseId::NONE,
        ignore_value: false,
        ignore_lease: false,
    };
    let (repeated, changed, deleted, own) = store
        .submit(move |writer| {
            let mut transaction = writer.begin();
            transaction.put("/a/".into(), "init_dir".into(), LeaseId::NONE, confcast::store::Origin::Source);
            writer.commit(transaction);
            let repeated = writer.put(&put("/a/", "init_dir"));
            let changed = writer.put(&put("/a/", "other"));
            let deleted = writer.delete_range(&DeleteRange { range: KeyRange::prefix("/") });
            let own = writer.put(&put("/a/1", "x"));
            (repeated, changed, deleted, own)
        })
        .await
        .expect("memory does not fail");
    assert!(repeated.is_ok() && own.is_ok());
    assert!(changed.is_err() && deleted.is_err());
    assert_eq!(store.snapshot().revision(), Revision(3), "one commit of the source, one of the client");
    assert_eq!(store.snapshot().get(b"/a/").expect("there").value, "init_dir");
}
