//! Costs of the store: commit, reading a range of a snapshot, and both with many keys.
//!
//! Run with `cargo bench --bench store`. Compare ratios within one run; the machine's speed is not part of the claim.
#![allow(missing_docs)]

use std::hint::black_box;

use bytes::Bytes;
use confcast::store::ops::Range;
use confcast::store::snapshot::Restored;
use confcast::store::{KeyRange, LeaseId, MemoryOnly, Origin, Retention, Revision, Snapshot, Writer};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];

fn key(number: usize) -> Bytes {
    Bytes::from(format!("/apisix/routes/{number:032x}"))
}

fn value() -> Bytes {
    Bytes::from(vec![b'x'; 1024])
}

/// A writer with this many keys of 1 KiB, all in one commit.
fn filled(keys: usize) -> Writer {
    let retention = Retention { commits: 1_000, ..Retention::default() };
    let (mut writer, _) = Writer::new(Restored::empty_at(Revision(1)), retention, Box::new(MemoryOnly));
    let mut transaction = writer.begin();
    for number in 0..keys {
        transaction.put(key(number), value(), LeaseId::NONE, Origin::Source);
    }
    writer.commit(transaction);
    writer.flush().expect("memory does not fail");
    writer
}

fn commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit_one_key");
    for keys in SIZES {
        let mut writer = filled(keys);
        let mut next = 0;
        group.bench_function(BenchmarkId::from_parameter(keys), |b| {
            b.iter(|| {
                next = (next + 7919) % keys;
                let mut transaction = writer.begin();
                transaction.put(key(next), value(), LeaseId::NONE, Origin::Source);
                writer.commit(transaction);
                writer.flush().expect("memory does not fail");
            });
        });
    }
    group.finish();
}

fn range(c: &mut Criterion) {
    let mut group = c.benchmark_group("range_all");
    for keys in SIZES {
        let writer = filled(keys);
        let snapshot: &Snapshot = writer.snapshot();
        let all = Range::all(KeyRange::prefix("/apisix/"));
        group.throughput(Throughput::Elements(keys as u64));
        group.bench_function(BenchmarkId::from_parameter(keys), |b| {
            b.iter(|| black_box(all.read(snapshot.current())).records.len());
        });
    }
    group.finish();
    let mut group = c.benchmark_group("range_encoded");
    for keys in [1_000, 10_000] {
        let writer = filled(keys);
        let records = Range::all(KeyRange::prefix("/apisix/")).read(writer.snapshot().current()).records;
        group.throughput(Throughput::Elements(keys as u64));
        group.bench_function(BenchmarkId::new("json_cached", keys), |b| {
            b.iter(|| records.iter().map(|record| black_box(record.json()).len()).sum::<usize>());
        });
        group.bench_function(BenchmarkId::new("json_fresh", keys), |b| {
            b.iter(|| records.iter().map(|record| black_box(record.json_without_value()).len()).sum::<usize>());
        });
    }
    group.finish();
}

criterion_group!(benches, commit, range);
criterion_main!(benches);
