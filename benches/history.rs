//! Costs of what is past: reading at an older revision, compaction, and catching up from the log.
//!
//! Run with `cargo bench --bench history`. Compare ratios within one run.
#![allow(missing_docs)]

use std::hint::black_box;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use confcast::store::ops::Range;
use confcast::store::snapshot::Restored;
use confcast::store::{KeyRange, LeaseId, MemoryOnly, Origin, Retention, Revision, Store, Writer};
use confcast::watch::{Create, Hub, Message};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];

/// Commits of one key each after the first one.
const CHANGES: usize = 500;

fn key(number: usize) -> Bytes {
    Bytes::from(format!("/apisix/routes/{number:032x}"))
}

fn put(writer: &mut Writer, numbers: impl Iterator<Item = usize>) -> Revision {
    let mut transaction = writer.begin();
    for number in numbers {
        transaction.put(key(number), Bytes::from_static(&[b'x'; 128]), LeaseId::NONE, Origin::Source);
    }
    let revision = writer.commit(transaction);
    writer.flush().expect("memory does not fail");
    revision
}

/// A writer with this many keys, of which some have changed since; and the revision before they did.
fn changed(keys: usize) -> (Writer, Revision) {
    let retention = Retention { commits: 10 * CHANGES, ..Retention::default() };
    let (mut writer, _) = Writer::new(Restored::empty_at(Revision(1)), retention, Box::new(MemoryOnly));
    let first = put(&mut writer, 0..keys);
    for change in 0..CHANGES {
        put(&mut writer, std::iter::once(change * 7919 % keys));
    }
    (writer, first)
}

fn at_revision(c: &mut Criterion) {
    let mut group = c.benchmark_group("snapshot_at_revision");
    for keys in SIZES {
        let (writer, first) = changed(keys);
        let range = Range::all(KeyRange::single(key(1)));
        group.bench_function(BenchmarkId::from_parameter(keys), |b| {
            b.iter(|| range.read(black_box(writer.snapshot()).at(first).expect("it is kept")).records.len());
        });
    }
    group.finish();
}

fn compact(c: &mut Criterion) {
    let mut group = c.benchmark_group("compaction");
    for keys in SIZES {
        let (mut writer, _) = changed(keys);
        group.bench_function(BenchmarkId::from_parameter(keys), |b| {
            // One more commit, and compaction to the one before: the log keeps its length.
            let mut next = 0;
            b.iter_batched(
                || (),
                |()| {
                    next = (next + 7919) % keys;
                    let revision = put(&mut writer, std::iter::once(next));
                    writer.compact_to(revision.previous()).expect("it is newer than the last");
                    writer.flush().expect("memory does not fail");
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn catch_up(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut group = c.benchmark_group("catch_up");
    group.throughput(Throughput::Elements(CHANGES as u64));
    for keys in SIZES {
        let store = Store::in_memory(Revision(1)).expect("a thread");
        let first = runtime.block_on(store.submit(move |writer| put(writer, 0..keys))).expect("memory does not fail");
        for change in 0..CHANGES {
            let change = store.submit(move |writer| put(writer, std::iter::once(change * 7919 % keys)));
            runtime.block_on(change).expect("memory does not fail");
        }
        let hub = Hub::new(store);
        let create = Create {
            key: "/apisix/".into(),
            range_end: "/apisix0".into(),
            start_revision: first.next().0,
            ..Create::default()
        };
        group.bench_function(BenchmarkId::from_parameter(keys), |b| {
            b.iter(|| {
                // Alone, so that nothing is there that another one has made.
                let (mut session, mut events) = (hub.session(), 0);
                session.create(&create);
                while let Poll::Ready(message) = session.poll_next(&mut Context::from_waker(Waker::noop())) {
                    if let Message::Events { frame, .. } = message {
                        events += frame.events().len();
                        black_box(frame.proto());
                    }
                }
                assert_eq!(events, CHANGES);
            });
        });
    }
    group.finish();
}

fn quick() -> Criterion {
    let second = Duration::from_secs(1);
    Criterion::default().sample_size(20).warm_up_time(second / 2).measurement_time(second)
}

criterion_group! { name = benches; config = quick(); targets = at_revision, compact, catch_up }
criterion_main!(benches);
