//! Cost of a commit for the watchers: finding whom it concerns, and fan-out to in-process sessions, up to the bytes that
//! would be written.
//!
//! Run with `cargo bench --bench watch`. An element is one event delivered to one watcher.
#![allow(missing_docs)]

use std::hint::black_box;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use confcast::store::{LeaseId, Origin, Revision, Store};
use confcast::watch::{Create, Hub, Message, Session};
use confcast::wire::Identity;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const IDENTITY: Identity = Identity { cluster_id: 1 << 60, member_id: 1 << 61, raft_term: 2 };

fn sessions(hub: &Hub, count: usize) -> Vec<Session> {
    let create = Create { key: "/apisix/".into(), range_end: "/apisix0".into(), ..Create::default() };
    let mut sessions: Vec<_> = (0..count).map(|_| hub.session()).collect();
    for session in &mut sessions {
        session.create(&create);
        drain(session, |_| 0);
    }
    sessions
}

/// Polls until there is no more, and returns how many bytes `write` says it made.
fn drain(session: &mut Session, write: impl Fn(&Message) -> usize) -> usize {
    let mut context = Context::from_waker(Waker::noop());
    let mut written = 0;
    while let Poll::Ready(message) = session.poll_next(&mut context) {
        written += write(&message);
    }
    written
}

fn fan_out(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let store = Store::in_memory(Revision(1)).expect("a thread");
    let hub = Hub::new(store.clone());
    let commit = || {
        let change = store.submit(|writer| {
            let mut transaction = writer.begin();
            let value = Bytes::from(vec![b'x'; 1024]);
            transaction.put("/apisix/routes/1".into(), value, LeaseId::NONE, Origin::Source);
            writer.commit(transaction)
        });
        let revision = runtime.block_on(change).expect("memory does not fail");
        hub.wake(&store.snapshot(), revision);
    };
    let mut group = c.benchmark_group("fan_out");
    for count in [100, 1_000, 10_000] {
        let mut sessions = sessions(&hub, count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("json", count), |b| {
            b.iter(|| {
                commit();
                let line = |message: &Message| black_box(message.json_chunk(&IDENTITY)).framed().len();
                sessions.iter_mut().map(|session| drain(session, line)).sum::<usize>()
            });
        });
        group.bench_function(BenchmarkId::new("grpc", count), |b| {
            let write = |message: &Message| {
                let mut head = Vec::with_capacity(64);
                let events = message.put_proto(&IDENTITY, &mut head);
                black_box(&head).len() + black_box(events).map_or(0, |events| events.len())
            };
            b.iter(|| {
                commit();
                sessions.iter_mut().map(|session| drain(session, write)).sum::<usize>()
            });
        });
    }
    group.finish();
}

/// Finding whom a commit concerns, among so many interests of a kind, one of which it is. Nobody is woken, as the
/// streams have been for this revision already.
fn look_up(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut group = c.benchmark_group("interest_lookup");
    let key = |number: usize| format!("/apisix/routes/{number:05}");
    for count in [1, 10, 100, 1_000, 10_000] {
        for (kind, last) in [("key", None), ("prefix", Some("0")), ("interval", Some("/5"))] {
            let store = Store::in_memory(Revision(1)).expect("a thread");
            let hub = Hub::new(store.clone());
            let watch = |number| {
                let end = last.map_or(String::new(), |last| key(number) + last);
                let start = if last == Some("0") { key(number) + "/" } else { key(number) };
                let mut session = hub.session();
                session.create(&Create { key: start.into(), range_end: end.into(), ..Create::default() });
                drain(&mut session, |_| 0);
                session
            };
            let sessions: Vec<_> = (0..count).map(watch).collect();
            let changed = if last == Some("0") { key(count / 2) + "/1" } else { key(count / 2) };
            let change = store.submit(move |writer| {
                let mut transaction = writer.begin();
                transaction.put(changed.into(), "v".into(), LeaseId::NONE, Origin::Source);
                writer.commit(transaction)
            });
            let revision = runtime.block_on(change).expect("memory does not fail");
            let snapshot = store.snapshot();
            hub.wake(&snapshot, revision);
            assert_eq!(hub.interests(), sessions.len());
            group.bench_function(BenchmarkId::new(kind, count), |b| {
                b.iter(|| hub.wake(black_box(&snapshot), revision));
            });
        }
    }
    group.finish();
}

fn quick() -> Criterion {
    let second = Duration::from_secs(1);
    Criterion::default().sample_size(20).warm_up_time(second / 2).measurement_time(second)
}

criterion_group!(benches, fan_out);
criterion_group! { name = look_ups; config = quick(); targets = look_up }
criterion_main!(benches, look_ups);
