//! Ranges kept as they are written.
//!
//! A gateway that starts reads everything below its prefix, and a fleet that starts does it at the same time. What they
//! read is put together once, in segments that all of them share, and a change of a key makes only its segment anew.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dashmap::DashMap;

use super::range::Form;
use super::sizes;
use super::status::EtcdError;
use crate::serve::memory::{Ledger, Making};
use crate::store::{KeyRange, Record, Revision, Snapshot, Store};

/// Ranges with no more records than this are put together each time.
const FEW: usize = 32;

/// Bytes of a segment, about: large enough that a large answer has few parts, small enough to be made anew.
const SEGMENT: usize = 64 << 10;

/// Most ranges that are kept.
const RANGES: usize = 64;

/// Most bytes that are kept, if nothing else is said. Ranges that were not read for the longest time go first.
const BYTES: usize = 256 << 20;

/// Which range, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The keys.
    pub range: KeyRange,
    /// Whether values are left out.
    pub keys_only: bool,
    /// The form of the pairs.
    pub form: Form,
}

impl Key {
    /// Bytes of a pair as it is written, about.
    pub(super) fn length_of(&self, record: &Record) -> usize {
        self.form.length(sizes::size(record, self.keys_only))
    }
}

/// What was kept of a range.
#[derive(Debug)]
pub struct Kept {
    /// The pairs, some in each piece.
    pub pieces: Vec<Bytes>,
    /// How many bytes.
    pub bytes: usize,
    /// How many pairs.
    pub count: usize,
    /// The revision that they are of.
    pub revision: Revision,
}

/// The ranges that are read again and again.
#[derive(Debug)]
pub struct RangeCache {
    /// Most bytes that are kept.
    limit: usize,
    /// Bytes that are kept now.
    kept: AtomicUsize,
    /// Bytes of all segments that there are: those that are kept, and those that are still being sent.
    alive: Alive,
    entries: DashMap<Key, Arc<Entry>>,
    /// Counts reads, to know which entry was read last.
    clock: AtomicU64,
}

impl Default for RangeCache {
    fn default() -> Self {
        Self::new(BYTES)
    }
}

/// Counts the bytes of segments, from when they are made until nobody has them.
#[derive(Clone, Debug, Default)]
struct Alive(Arc<AtomicUsize>);

/// The bytes of a segment.
struct Counted(Box<[u8]>, Alive);

#[derive(Debug, Default)]
struct Entry {
    read_at: AtomicU64,
    bytes: AtomicUsize,
    /// Held while segments are made, so that only the first of many readers makes them.
    content: Mutex<Content>,
}

#[derive(Debug)]
struct Content {
    history: u64,
    revision: Revision,
    /// By ascending start, from the start of the range on without a gap. Some may have become empty.
    segments: Vec<Segment>,
}

#[derive(Debug)]
struct Segment {
    start: Bytes,
    bytes: Bytes,
    count: usize,
}

impl Default for Content {
    fn default() -> Self {
        Self { history: 0, revision: Revision::NEVER, segments: Vec::new() }
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.0.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

impl Alive {
    /// A copy without the room that the buffer has left.
    fn owned(&self, buf: &[u8]) -> Bytes {
        self.0.fetch_add(buf.len(), Ordering::Relaxed);
        Bytes::from_owner(Counted(buf.into(), self.clone()))
    }
}

impl RangeCache {
    /// Keeps no more than so many bytes, and one range.
    pub fn new(limit: usize) -> Self {
        let (kept, alive, entries, clock) = Default::default();
        Self { limit, kept, alive, entries, clock }
    }

    /// Bytes that are kept.
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Bytes that are not kept any more, but are being sent to clients that take them slowly.
    pub fn outdated(&self) -> usize {
        self.alive.0.load(Ordering::Relaxed).saturating_sub(self.kept())
    }

    /// Bytes of a range when it was last read; none if it is not kept.
    pub fn last_size(&self, key: &Key) -> Option<usize> {
        let bytes = self.entries.get(key)?.bytes.load(Ordering::Relaxed);
        (bytes > 0).then_some(bytes)
    }

    /// The range as it is now. None if it is too small to be worth keeping. Refuses to make anything new of it if there is
    /// no memory for that; what is there already may be had by all.
    pub fn read(&self, key: &Key, store: &Store, memory: &Ledger) -> Result<Option<Kept>, EtcdError> {
        let snapshot = store.snapshot();
        if key.range.as_single().is_some() || snapshot.range(&key.range).nth(FEW).is_none() {
            return Ok(None);
        }
        let found = self.entries.get(key).map(|entry| entry.clone());
        let entry = found.unwrap_or_else(|| self.entries.entry(key.clone()).or_default().clone());
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        entry.read_at.store(now, Ordering::Relaxed);
        let kept = {
            let mut content = entry.content.lock().unwrap_or_else(PoisonError::into_inner);
            // Asked for again under the lock, so that it is not older than what is kept.
            let make = |bytes: &dyn Fn() -> usize| memory.make(self.outdated(), bytes);
            let brought = content.bring_to(&store.snapshot(), key, &self.alive, make);
            if brought.is_err() && content.segments.is_empty() {
                self.entries.remove_if(key, |_, other| Arc::ptr_eq(other, &entry));
            }
            brought.map(|()| content.kept())?
        };
        if entry.bytes.swap(kept.bytes, Ordering::Relaxed) != kept.bytes {
            self.shed();
        }
        Ok(Some(kept))
    }

    /// Drops what was not read for the longest time while there is too much.
    fn shed(&self) {
        loop {
            let sizes = self.entries.iter().map(|entry| entry.bytes.load(Ordering::Relaxed));
            let (entries, bytes) = sizes.fold((0, 0), |(entries, sum), bytes| (entries + 1, sum + bytes));
            self.kept.store(bytes, Ordering::Relaxed);
            if entries <= RANGES && (bytes <= self.limit || entries == 1) {
                return;
            }
            let oldest = self.entries.iter().min_by_key(|entry| entry.read_at.load(Ordering::Relaxed));
            let Some(oldest) = oldest.map(|entry| entry.key().clone()) else { return };
            self.entries.remove(&oldest);
        }
    }
}

impl Content {
    fn kept(&self) -> Kept {
        let filled = self.segments.iter().filter(|segment| segment.count > 0);
        Kept {
            bytes: self.segments.iter().map(|segment| segment.bytes.len()).sum(),
            pieces: filled.map(|segment| segment.bytes.clone()).collect(),
            count: self.segments.iter().map(|segment| segment.count).sum(),
            revision: self.revision,
        }
    }

    /// Makes the segments anew in which something has changed, after `make` has taken room for them; without room nothing
    /// changes.
    fn bring_to(
        &mut self,
        snapshot: &Snapshot,
        key: &Key,
        alive: &Alive,
        make: impl FnOnce(&dyn Fn() -> usize) -> Result<Making, EtcdError>,
    ) -> Result<(), EtcdError> {
        let same = self.history == snapshot.history();
        if same && self.revision == snapshot.revision() {
            return Ok(());
        }
        let from = self.revision.next();
        let known = same && self.revision != Revision::NEVER && from >= snapshot.log_start();
        let stale =
            if known { self.changed(snapshot, key, from) } else { vec![(0..self.segments.len(), key.range.clone())] };
        if !stale.is_empty() {
            let records = || stale.iter().flat_map(|(_, range)| snapshot.range(range));
            let mut making = make(&|| records().map(|record| key.length_of(record)).sum())?;
            for (place, range) in &stale {
                self.segments.splice(place.clone(), segments(snapshot, range, key, alive, &mut making));
            }
        }
        (self.history, self.revision) = (snapshot.history(), snapshot.revision());
        Ok(())
    }

    /// The places of segments in which something has changed since a revision, and their ranges; from the back, so that
    /// the places of those before stay.
    fn changed(&self, snapshot: &Snapshot, key: &Key, from: Revision) -> Vec<(std::ops::Range<usize>, KeyRange)> {
        let events = snapshot.commits_from(from).flat_map(|commit| commit.events());
        let changed: BTreeSet<_> =
            events.filter(|event| key.range.contains(event.key())).map(|event| self.position(event.key())).collect();
        let range = |position: usize| {
            let end = self.segments.get(position + 1).map(|next| next.start.clone()).or_else(|| key.range.end());
            (position..position + 1, KeyRange::between(self.segments[position].start.clone(), end))
        };
        changed.into_iter().rev().map(range).collect()
    }

    /// The segment in which a key of the range is, or would be.
    fn position(&self, key: &[u8]) -> usize {
        self.segments.partition_point(|segment| segment.start.as_ref() <= key).saturating_sub(1)
    }
}

/// At least one segment, the first of which begins where the range does.
fn segments(snapshot: &Snapshot, range: &KeyRange, key: &Key, alive: &Alive, making: &mut Making) -> Vec<Segment> {
    let mut made = Vec::new();
    let (mut start, mut buf, mut count) = (range.start().clone(), Vec::with_capacity(SEGMENT + (8 << 10)), 0);
    for record in snapshot.range(range) {
        if buf.len() >= SEGMENT {
            made.push(Segment { start, bytes: alive.owned(&buf), count });
            making.made(buf.len());
            (start, count) = (record.key.clone(), 0);
            buf.clear();
        }
        put(record, key, &mut buf);
        count += 1;
    }
    made.push(Segment { start, bytes: alive.owned(&buf), count });
    made
}

fn put(record: &Record, key: &Key, buf: &mut Vec<u8>) {
    match key.form {
        Form::Proto => record.put_proto(buf, !key.keys_only),
        Form::Json => {
            if !buf.is_empty() {
                buf.push(b',');
            }
            record.put_json(buf, !key.keys_only);
        }
    }
}

#[cfg(test)]
mod tests;
