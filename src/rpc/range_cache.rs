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

    /// The range as it is now. None if it is too small to be worth keeping, or too large.
    pub fn read(&self, key: &Key, store: &Store) -> Option<Kept> {
        let snapshot = store.snapshot();
        if key.range.as_single().is_some() || snapshot.range(&key.range).nth(FEW).is_none() {
            return None;
        }
        let found = self.entries.get(key).map(|entry| entry.clone());
        let entry = found.unwrap_or_else(|| self.entries.entry(key.clone()).or_default().clone());
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        entry.read_at.store(now, Ordering::Relaxed);
        let kept = {
            let mut content = entry.content.lock().unwrap_or_else(PoisonError::into_inner);
            // Asked for again under the lock, so that it is not older than what is kept.
            content.bring_to(&store.snapshot(), key, &self.alive);
            content.kept()
        };
        if entry.bytes.swap(kept.bytes, Ordering::Relaxed) != kept.bytes {
            self.shed();
        }
        Some(kept)
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

    /// Makes the segments anew in which something has changed.
    fn bring_to(&mut self, snapshot: &Snapshot, key: &Key, alive: &Alive) {
        let same = std::mem::replace(&mut self.history, snapshot.history()) == snapshot.history();
        if same && self.revision == snapshot.revision() {
            return;
        }
        let from = self.revision.next();
        let known = same && self.revision != Revision::NEVER && from >= snapshot.log_start();
        self.revision = snapshot.revision();
        if !known {
            self.segments = segments(snapshot, &key.range, key, alive);
            return;
        }
        let events = snapshot.commits_from(from).flat_map(|commit| commit.events());
        let changed: BTreeSet<_> =
            events.filter(|event| key.range.contains(event.key())).map(|event| self.position(event.key())).collect();
        // From the back, so that the positions of those before stay.
        for position in changed.into_iter().rev() {
            let end = self.segments.get(position + 1).map(|next| next.start.clone()).or_else(|| key.range.end());
            let range = KeyRange::between(self.segments[position].start.clone(), end);
            self.segments.splice(position..=position, segments(snapshot, &range, key, alive));
        }
    }

    /// The segment in which a key of the range is, or would be.
    fn position(&self, key: &[u8]) -> usize {
        self.segments.partition_point(|segment| segment.start.as_ref() <= key).saturating_sub(1)
    }
}

/// At least one segment, the first of which begins where the range does.
fn segments(snapshot: &Snapshot, range: &KeyRange, key: &Key, alive: &Alive) -> Vec<Segment> {
    let mut made = Vec::new();
    let (mut start, mut buf, mut count) = (range.start().clone(), Vec::with_capacity(SEGMENT + (8 << 10)), 0);
    for record in snapshot.range(range) {
        if buf.len() >= SEGMENT {
            made.push(Segment { start, bytes: alive.owned(&buf), count });
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::{LeaseId, Origin};

    fn kept_as_text(cache: &RangeCache, store: &Store, key: &Key) -> Option<(String, usize)> {
        let kept = cache.read(key, store)?;
        assert_eq!(kept.revision, store.snapshot().revision());
        let separator: &[u8] = if key.form == Form::Json { b"," } else { b"" };
        let text = String::from_utf8_lossy(&kept.pieces.join(separator)).into_owned();
        Some((text, kept.count))
    }

    fn made_anew(store: &Store, key: &Key) -> (String, usize) {
        let (snapshot, mut buf, mut count) = (store.snapshot(), Vec::new(), 0);
        for record in snapshot.range(&key.range) {
            put(record, key, &mut buf);
            count += 1;
        }
        (String::from_utf8_lossy(&buf).into_owned(), count)
    }

    fn change(store: &Store, puts: Vec<(u16, usize)>, deletes: Vec<u16>) {
        let key = |number: u16| Bytes::from(format!("/k/{number:05}"));
        let change = store.submit(move |writer| {
            let mut transaction = writer.begin();
            for (number, size) in puts {
                transaction.put(key(number), vec![b'v'; size].into(), LeaseId::NONE, Origin::Client);
            }
            for number in deletes {
                transaction.delete(&key(number));
            }
            writer.commit(transaction);
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(change).expect("memory does not fail");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        /// Whatever changes between two reads, what was kept is what would be made anew.
        #[test]
        fn is_what_would_be_made_anew(
            steps in prop::collection::vec(
                (
                    prop::collection::vec((0..400_u16, 1..5000_usize), 0..60),
                    prop::collection::vec(0..400_u16, 0..30),
                    any::<bool>(),
                ),
                1..12,
            ),
            json: bool,
            keys_only: bool,
        ) {
            let form = if json { Form::Json } else { Form::Proto };
            let ranges = [KeyRange::prefix("/k/"), KeyRange::all(), KeyRange::between("/k/00100".into(), Some("/k/00300".into()))];
            let (cache, store) = (RangeCache::default(), Store::in_memory(Revision(1)).expect("a thread"));
            for (puts, deletes, read) in steps {
                change(&store, puts, deletes);
                for range in ranges.iter().filter(|_| read) {
                    let key = Key { range: range.clone(), keys_only, form };
                    if let Some(kept) = kept_as_text(&cache, &store, &key) {
                        prop_assert_eq!(kept, made_anew(&store, &key));
                    }
                }
            }
        }
    }

    #[test]
    fn a_change_makes_one_segment_anew() {
        let (cache, store) = (RangeCache::default(), Store::in_memory(Revision(1)).expect("a thread"));
        change(&store, (0..400).map(|number| (number, 2000)).collect(), Vec::new());
        let key = Key { range: KeyRange::prefix("/k/"), keys_only: false, form: Form::Json };
        let before = cache.read(&key, &store).expect("large enough").pieces;
        change(&store, vec![(200, 2000)], Vec::new());
        let after = cache.read(&key, &store).expect("large enough").pieces;
        assert_eq!(before.len(), after.len());
        let moved = before.iter().zip(&after).filter(|(before, after)| before.as_ptr() != after.as_ptr()).count();
        assert_eq!((before.len() > 10, moved), (true, 1));
    }

    #[test]
    fn what_was_not_read_goes_when_there_is_too_much() {
        let (cache, store) = (RangeCache::default(), Store::in_memory(Revision(1)).expect("a thread"));
        change(&store, (0..400).map(|number| (number, 10)).collect(), Vec::new());
        let key = |start: usize| Key {
            range: KeyRange::between(format!("/k/{start:05}").into(), None),
            keys_only: false,
            form: Form::Json,
        };
        for start in 0..RANGES + 10 {
            cache.read(&key(0), &store).expect("large enough");
            cache.read(&key(start), &store).expect("large enough");
        }
        assert_eq!(cache.entries.len(), RANGES);
        assert!(cache.entries.contains_key(&key(0)) && !cache.entries.contains_key(&key(1)));
    }
}
