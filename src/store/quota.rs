//! How much there may be of keys before clients may not write any more: etcd's quota, and its alarm.
//!
//! What a source or a mirrored etcd has is served however large it is. It counts, so that clients are refused earlier.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ops::OpError;

/// The quota, and whether it was exceeded. Clones share that.
#[derive(Clone, Debug)]
pub struct Quota {
    bytes: usize,
    exceeded: Arc<AtomicBool>,
}

impl Quota {
    /// For so many bytes of memory of keys; [`usize::MAX`] is for none.
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes, exceeded: Arc::default() }
    }

    /// Whether a write was refused since the alarm was last taken back, so that all are.
    pub fn is_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }

    /// Takes the alarm back, and returns whether there was one. If there is still no room, the next write raises it again.
    pub fn disarm(&self) -> bool {
        self.exceeded.swap(false, Ordering::Relaxed)
    }

    /// Refuses everything that needs room while there is an alarm.
    pub(super) fn check(&self) -> Result<(), OpError> {
        if self.is_exceeded() { Err(OpError::NoSpace) } else { Ok(()) }
    }

    /// The same, and raises the alarm if keys grow beyond the quota. A write that makes them smaller is always within it.
    pub(super) fn admit(&self, keys: usize, growth: isize) -> Result<(), OpError> {
        self.check()?;
        if growth <= 0 || keys.saturating_add_signed(growth) <= self.bytes {
            return Ok(());
        }
        self.exceeded.store(true, Ordering::Relaxed);
        tracing::warn!(
            keys,
            quota = self.bytes,
            "keys have no more room within --memory-budget-mib: writes of clients are refused until some are deleted and \
             the alarm is taken back (etcdctl alarm disarm)"
        );
        Err(OpError::NoSpace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ops::{DeleteRange, Op, Put, Txn};
    use crate::store::{KeyRange, LeaseId, MemoryOnly, Origin, Restored, Retention, Revision, Writer};

    const QUOTA: usize = 1 << 20;

    fn put(key: &str, size: usize) -> Put {
        let (key, value) = (key.to_owned().into(), vec![b'v'; size].into());
        Put { key, value, lease: LeaseId::NONE, ignore_value: false, ignore_lease: false }
    }

    fn writer() -> Writer {
        let retention = Retention { memory: QUOTA, ..Retention::default() };
        Writer::new(Restored::empty_at(Revision(1)), retention, Box::new(MemoryOnly)).0
    }

    fn source(writer: &mut Writer, key: &str, size: usize) {
        let mut transaction = writer.begin();
        transaction.put(key.to_owned().into(), vec![b's'; size].into(), LeaseId::NONE, Origin::Source);
        writer.commit(transaction);
    }

    fn deletion(key: &str) -> DeleteRange {
        DeleteRange { range: KeyRange::single(key.to_owned().into()) }
    }

    #[test]
    fn writes_beyond_it_are_refused_until_the_alarm_is_taken_back() {
        let mut writer = writer();
        let quota = writer.quota().clone();
        for key in ["a", "b"] {
            writer.put(&put(key, 100_000)).expect("room");
        }
        // As often as it is written anew, it takes the same.
        for _ in 0..20 {
            writer.put(&put("b", 100_000)).expect("it does not grow");
        }
        writer.put(&put("c", 60_000)).expect("room");
        assert!(!quota.is_exceeded());
        assert_eq!(writer.put(&put("d", 100_000)).expect_err("no room"), OpError::NoSpace);
        assert!(quota.is_exceeded() && writer.snapshot().get(b"d").is_none());
        // Now nothing that needs room is taken, as little as it may need.
        assert_eq!(writer.put(&put("d", 1)).expect_err("no room"), OpError::NoSpace);
        assert_eq!(writer.lease_grant(LeaseId(7), 60, LeaseId::NONE), Err(OpError::NoSpace));
        let txn = |ops: Vec<Op>| Txn { success: ops, ..Txn::default() };
        let inner = Op::Txn(Txn { failure: vec![Op::Put(put("d", 1))], ..Txn::default() });
        for ops in [vec![Op::Put(put("d", 1))], vec![Op::DeleteRange(deletion("a")), Op::Put(put("d", 1))], vec![inner]]
        {
            assert_eq!(writer.txn(&txn(ops)).expect_err("it may need room"), OpError::NoSpace);
        }
        // What needs none is.
        writer.txn(&txn(vec![Op::DeleteRange(deletion("a"))])).expect("a deletion");
        writer.delete_range(&deletion("b")).expect("a deletion");
        writer.compact_to(writer.snapshot().revision()).expect("a compaction");
        assert_eq!(
            writer.put(&put("d", 1)).expect_err("no room"),
            OpError::NoSpace,
            "as etcd, until somebody has seen to it"
        );
        assert!(quota.disarm() && !quota.disarm());
        writer.put(&put("d", 100_000)).expect("room");
    }

    #[test]
    fn what_a_source_has_is_taken_and_counts() {
        let mut writer = writer();
        writer.put(&put("a", 1000)).expect("room");
        for key in ["/s/1", "/s/2", "/s/3", "/s/4"] {
            source(&mut writer, key, 100_000);
        }
        assert!(writer.snapshot().keys_memory() > QUOTA);
        assert_eq!(writer.put(&put("b", 1)).expect_err("no room"), OpError::NoSpace);
        source(&mut writer, "/s/5", 100_000);
        assert_eq!(writer.snapshot().len(), 6);
        // A repetition of what the source has changes nothing, and needs no room.
        let same = Put { value: vec![b's'; 100_000].into(), ..put("/s/1", 0) };
        assert!(writer.put(&same).is_ok());
        let unknown = Put { lease: LeaseId(5), ..put("b", 1) };
        assert_eq!(writer.put(&unknown).expect_err("no room"), OpError::NoSpace, "whatever else may be wrong with it");
        writer.delete_range(&deletion("a")).expect("a deletion");
    }

    #[test]
    fn memory_of_keys_is_that_of_all_there_are() {
        let mut writer = writer();
        for step in 0..200_usize {
            let key = format!("{}", step % 17);
            match step % 5 {
                4 => drop(writer.delete_range(&deletion(&key))),
                _ => drop(writer.put(&put(&key, step * 37 % 4000))),
            }
            let all = KeyRange::all();
            let sum: usize = writer.snapshot().range(&all).map(|record| record.memory()).sum();
            assert_eq!(writer.snapshot().keys_memory(), sum, "{step}");
        }
    }
}
