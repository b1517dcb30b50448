//! What the memory of keys and history is held to be.

use super::*;
use crate::store::{LeaseId, MemoryOnly, Origin, Writer};

fn writer(retention: Retention) -> Writer {
    Writer::new(Restored::empty_at(Revision(1)), retention, Box::new(MemoryOnly)).0
}

fn put(writer: &mut Writer, key: usize, size: usize) {
    let mut transaction = writer.begin();
    transaction.put(format!("key {key}").into(), vec![b'x'; size].into(), LeaseId::NONE, Origin::Client);
    writer.commit(transaction);
}

/// Counted from the start.
fn counted(snapshot: &Snapshot) -> usize {
    let base: usize = snapshot.base.index.range(&KeyRange::all()).map(|record| record.memory()).sum();
    base + snapshot.log.iter().map(|commit| commit.memory()).sum::<usize>()
}

#[test]
fn history_gives_way_to_keys_within_the_memory_for_both() {
    let memory = 4 << 20;
    let mut writer = writer(Retention { memory, ..Retention::default() });
    let mut random = 1_usize;
    for step in 0..4000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (key, size) = ((random >> 33) % 200, (random >> 40) % 4000);
        let mut transaction = writer.begin();
        match random >> 60 {
            0..3 => drop(transaction.delete(format!("key {key}").as_bytes())),
            3..6 => {
                for next in key..key + 5 {
                    let (key, value) = (format!("key {next}").into(), vec![b'y'; size / 8].into());
                    transaction.put(key, value, LeaseId::NONE, Origin::Client);
                }
                transaction.delete(format!("key {key}").as_bytes());
            }
            _ => drop(transaction.put(
                format!("key {key}").into(),
                vec![b'x'; size].into(),
                LeaseId::NONE,
                Origin::Client,
            )),
        }
        writer.commit(transaction);
        let snapshot = writer.snapshot();
        assert!(snapshot.memory() <= memory, "step {step}");
        if step % 100 == 0 {
            assert_eq!(snapshot.memory(), counted(snapshot), "step {step}");
        }
    }
    let (commits, _) = writer.snapshot().log_size();
    assert!((10..4000).contains(&commits), "as much history as there is room for: {commits}");
    // The keys alone are too much: they stay, and so does the newest commit.
    (1000..1200).for_each(|key| put(&mut writer, key, 20_000));
    assert_eq!(writer.snapshot().log_size().0, 1);
    assert!(writer.snapshot().memory() > memory && writer.snapshot().len() >= 200);
    assert_eq!(writer.snapshot().memory(), counted(writer.snapshot()));
}
