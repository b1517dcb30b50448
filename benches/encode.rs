//! Costs of bytes: the frame of a large commit, and the answer to a Range, put together and mapped to JSON.
//!
//! Run with `cargo bench --bench encode`. Compare ratios within one run.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use confcast::pb::etcdserverpb::RangeResponse;
use confcast::rpc::range::{self, Content, Form};
use confcast::store::ops::Range;
use confcast::store::snapshot::Restored;
use confcast::store::{KeyRange, LeaseId, MemoryOnly, Origin, Retention, Revision, Snapshot, Writer};
use confcast::watch::{Interest, Scope};
use confcast::wire::Identity;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message as _;

const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];

const IDENTITY: Identity = Identity { cluster_id: 1 << 60, member_id: 1 << 61, raft_term: 2 };

/// A snapshot with this many keys, all in one commit.
fn filled(keys: usize) -> Arc<Snapshot> {
    let (mut writer, _) = Writer::new(Restored::empty_at(Revision(1)), Retention::default(), Box::new(MemoryOnly));
    let mut transaction = writer.begin();
    for number in 0..keys {
        let key = Bytes::from(format!("/apisix/routes/{number:032x}"));
        transaction.put(key, Bytes::from_static(&[b'x'; 256]), LeaseId::NONE, Origin::Source);
    }
    writer.commit(transaction);
    writer.flush().expect("memory does not fail");
    Arc::new(writer.snapshot().clone())
}

fn frame(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame_encode");
    for keys in SIZES {
        let snapshot = filled(keys);
        let interest = Interest::new(Scope::all_of(KeyRange::prefix("/apisix/")));
        group.throughput(Throughput::Elements(keys as u64));
        for form in ["proto", "json"] {
            group.bench_function(BenchmarkId::new(form, keys), |b| {
                // Nobody watches, so that no frame is kept, and each is a new one.
                b.iter_batched(
                    || interest.frame(&snapshot, snapshot.revision()),
                    |frame| if form == "proto" { frame.proto().len() } else { frame.json().len() },
                    BatchSize::LargeInput,
                );
            });
        }
    }
    group.finish();
}

fn answer(c: &mut Criterion) {
    let mut group = c.benchmark_group("range_answer");
    for keys in SIZES {
        let snapshot = filled(keys);
        let result = Range::all(KeyRange::prefix("/apisix/")).read(snapshot.current());
        group.throughput(Throughput::Elements(keys as u64));
        for (name, form) in [("proto", Form::Proto), ("json", Form::Json)] {
            group.bench_function(BenchmarkId::new(name, keys), |b| {
                b.iter(|| {
                    let content = Content::of(black_box(&result), form, snapshot.revision());
                    range::message(&IDENTITY, &content, form).expect("small").len()
                });
            });
        }
    }
    group.finish();
}

/// What the generated code makes of the same message, as every other call is answered.
fn mapping(c: &mut Criterion) {
    let mut group = c.benchmark_group("range_json_mapping");
    for keys in SIZES {
        let snapshot = filled(keys);
        let records = Range::all(KeyRange::prefix("/apisix/")).read(snapshot.current()).records;
        let mut wire = Vec::new();
        for record in &records {
            // Field 2 of the message.
            wire.extend_from_slice(record.proto());
        }
        let message = RangeResponse::decode(wire.as_slice()).expect("decodes");
        assert_eq!(message.kvs.len(), keys);
        group.throughput(Throughput::Elements(keys as u64));
        group.bench_function(BenchmarkId::new("generated", keys), |b| {
            b.iter(|| serde_json::to_vec(black_box(&message)).expect("encodes").len());
        });
    }
    group.finish();
}

fn quick() -> Criterion {
    let second = Duration::from_secs(1);
    Criterion::default().sample_size(10).warm_up_time(second / 2).measurement_time(second)
}

criterion_group! { name = benches; config = quick(); targets = frame, answer, mapping }
criterion_main!(benches);
