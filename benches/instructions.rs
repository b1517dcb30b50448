//! The hot paths, to have their instructions counted, which come out the same on a noisy machine.
//!
//! Run with `cargo xtask instructions`, which tells callgrind to look only into the function that has the path's name.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the result is for another program")]

use std::hint::black_box;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use confcast::rpc::range::{self, Content, Form};
use confcast::store::ops::Range;
use confcast::store::snapshot::Restored;
use confcast::store::{KeyRange, LeaseId, MemoryOnly, Origin, Retention, Revision, Snapshot, Store, Writer};
use confcast::watch::{Create, Hub, Interest, Message, Scope, Session};
use confcast::wire::Identity;

const IDENTITY: Identity = Identity { cluster_id: 1 << 60, member_id: 1 << 61, raft_term: 2 };

/// Each of them counts what is measured, and does it once before, for what is made only the first time.
const PATHS: [(&str, fn()); 8] = [
    ("commit_one_key", commit),
    ("commit_when_full", commit_full),
    ("fan_out_grpc", || fan_out(fan_out_grpc)),
    ("fan_out_json", || fan_out(fan_out_json)),
    ("frame_grpc", || frame(frame_grpc)),
    ("frame_json", || frame(frame_json)),
    ("range_1000", range_answer),
    ("interest_look_up", look_up),
];

/// Without a name that it knows, as from `cargo bench`, it does all of them.
fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    if wanted == "--list" {
        return PATHS.iter().for_each(|(name, _)| println!("{name}"));
    }
    let known = PATHS.iter().any(|(name, _)| *name == wanted);
    PATHS.iter().filter(|(name, _)| !known || *name == wanted).for_each(|(_, run)| run());
}

fn key(number: usize) -> Bytes {
    Bytes::from(format!("/apisix/routes/{number:032x}"))
}

/// A writer with this many keys, all in one commit, that keeps so many commits.
fn filled(keys: usize, commits: usize) -> Writer {
    let retention = Retention { commits, ..Retention::default() };
    let (mut writer, _) = Writer::new(Restored::empty_at(Revision(1)), retention, Box::new(MemoryOnly));
    let mut transaction = writer.begin();
    for number in 0..keys {
        transaction.put(key(number), Bytes::from_static(&[b'x'; 256]), LeaseId::NONE, Origin::Source);
    }
    writer.commit(transaction);
    writer.flush().expect("memory does not fail");
    writer
}

fn commit() {
    let mut writer = filled(10_000, usize::MAX);
    for number in 0..100 {
        commit_one_key(&mut writer, key(number * 71));
    }
}

/// As a server does that has run for a while: for each commit that comes one goes.
fn commit_full() {
    let mut writer = filled(10_000, 10);
    (0..10).for_each(|number| commit_one_key(&mut writer, key(number)));
    for number in 0..100 {
        commit_when_full(&mut writer, key(number * 71));
    }
}

#[inline(never)]
fn commit_when_full(writer: &mut Writer, key: Bytes) {
    commit_one_key(writer, key);
}

#[inline(never)]
fn commit_one_key(writer: &mut Writer, key: Bytes) {
    let mut transaction = writer.begin();
    transaction.put(key, Bytes::from_static(&[b'y'; 256]), LeaseId::NONE, Origin::Source);
    writer.commit(transaction);
    writer.flush().expect("memory does not fail");
}

/// Commits a put. The store does it on a thread of its own, which is not looked into.
fn put(store: &Store, key: Bytes) -> Revision {
    let change = store.submit(move |writer| {
        let mut transaction = writer.begin();
        transaction.put(key, Bytes::from_static(&[b'y'; 1024]), LeaseId::NONE, Origin::Source);
        writer.commit(transaction)
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(change).expect("memory does not fail")
}

fn session(hub: &Hub, create: &Create) -> Session {
    let mut session = hub.session();
    session.create(create);
    while poll(&mut session).is_some() {}
    session
}

fn poll(session: &mut Session) -> Option<Message> {
    match session.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(message) => Some(message),
        Poll::Pending => None,
    }
}

fn fan_out(deliver: fn(&Hub, Revision, &mut [Session]) -> usize) {
    let store = Store::in_memory(Revision(1)).expect("a thread");
    let hub = Hub::new(store.clone());
    let create = Create { key: "/apisix/".into(), range_end: "/apisix0".into(), ..Create::default() };
    let mut sessions: Vec<_> = (0..1_000).map(|_| session(&hub, &create)).collect();
    for _ in 0..10 {
        let revision = put(&store, key(1));
        assert!(deliver(&hub, revision, &mut sessions) > 1_000 * 1_024);
    }
}

#[inline(never)]
fn fan_out_grpc(hub: &Hub, revision: Revision, sessions: &mut [Session]) -> usize {
    hub.wake(&hub.store().snapshot(), revision);
    let mut written = 0;
    for session in sessions {
        while let Some(message) = poll(session) {
            let mut head = Vec::with_capacity(64);
            let events = message.put_proto(&IDENTITY, &mut head);
            written += head.len() + events.as_ref().map_or(0, Bytes::len);
            black_box((head, events));
        }
    }
    written
}

#[inline(never)]
fn fan_out_json(hub: &Hub, revision: Revision, sessions: &mut [Session]) -> usize {
    hub.wake(&hub.store().snapshot(), revision);
    let mut written = 0;
    for session in sessions {
        while let Some(message) = poll(session) {
            written += black_box(message.json_chunk(&IDENTITY)).framed().len();
        }
    }
    written
}

/// Encodes a frame of 100 events that nobody has encoded.
fn frame(encode: fn(&Interest, &Snapshot) -> usize) {
    for _ in 0..10 {
        let writer = filled(100, usize::MAX);
        let interest = Interest::new(Scope::all_of(KeyRange::prefix("/apisix/")));
        assert!(encode(&interest, writer.snapshot()) > 100 * 256);
    }
}

#[inline(never)]
fn frame_grpc(interest: &Interest, snapshot: &Snapshot) -> usize {
    black_box(interest.frame(snapshot, snapshot.revision())).proto().len()
}

#[inline(never)]
fn frame_json(interest: &Interest, snapshot: &Snapshot) -> usize {
    black_box(interest.frame(snapshot, snapshot.revision())).json().len()
}

fn range_answer() {
    let writer = filled(1_000, usize::MAX);
    for _ in 0..10 {
        assert!(range_1000(writer.snapshot()) > 1_000 * 256);
    }
}

#[inline(never)]
fn range_1000(snapshot: &Snapshot) -> usize {
    let result = Range::all(KeyRange::prefix("/apisix/")).read(snapshot.current());
    let mut length = 0;
    for form in [Form::Proto, Form::Json] {
        let content = Content::of(&result, form, snapshot.revision());
        length += black_box(range::message(&IDENTITY, &content, form)).expect("small").len();
    }
    length
}

fn look_up() {
    let store = Store::in_memory(Revision(1)).expect("a thread");
    let hub = Hub::new(store.clone());
    let watch = |number| {
        let prefix = KeyRange::prefix(key(number));
        let end = prefix.end().unwrap_or_default();
        session(&hub, &Create { key: prefix.start().clone(), range_end: end, ..Create::default() })
    };
    let sessions: Vec<_> = (0..10_000).map(watch).collect();
    assert_eq!(hub.interests(), sessions.len());
    for number in 0..100 {
        let revision = put(&store, key(number * 71));
        interest_look_up(&hub, &store.snapshot(), revision);
    }
}

#[inline(never)]
fn interest_look_up(hub: &Hub, snapshot: &Snapshot, revision: Revision) {
    hub.wake(snapshot, revision);
}
