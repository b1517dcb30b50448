//! What is kept is what would be made anew, and there is an end to it.

use proptest::prelude::*;

use super::*;
use crate::store::{LeaseId, Origin};

fn kept_as_text(cache: &RangeCache, store: &Store, key: &Key) -> Option<(String, usize)> {
    let kept = cache.read(key, store, &Ledger::default()).expect("room")?;
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
    let read = || cache.read(&key, &store, &Ledger::default()).expect("room");
    let before = read().expect("large enough").pieces;
    change(&store, vec![(200, 2000)], Vec::new());
    let after = read().expect("large enough").pieces;
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
        for key in [key(0), key(start)] {
            cache.read(&key, &store, &Ledger::default()).expect("room").expect("large enough");
        }
    }
    assert_eq!(cache.entries.len(), RANGES);
    assert!(cache.entries.contains_key(&key(0)) && !cache.entries.contains_key(&key(1)));
}

#[test]
fn without_room_nothing_is_made_and_what_is_there_is_shared() {
    let (cache, store) = (RangeCache::default(), Store::in_memory(Revision(1)).expect("a thread"));
    change(&store, (0..400).map(|number| (number, 2000)).collect(), Vec::new());
    let key = |start: &str| Key {
        range: KeyRange::between(start.to_owned().into(), None),
        keys_only: false,
        form: Form::Proto,
    };
    let memory = Ledger::new(Some(100_000));
    let read = |start| cache.read(&key(start), &store, &memory).map(|kept| kept.expect("large enough").count);
    assert_eq!(read("/"), Ok(400));
    let held = memory.open().expect("it counts");
    held.grow(110_000).expect("room");
    let other = memory.make(0, || 1_000_000).expect("room");
    assert_eq!(read("/"), Ok(400), "which is there");
    assert!(read("/k").is_err() && !cache.entries.contains_key(&key("/k")));
    change(&store, vec![(7, 3000)], Vec::new());
    assert!(read("/").is_err(), "a part of it is to be made anew");
    drop(other);
    assert_eq!((read("/"), read("/k")), (Ok(400), Ok(400)));
}
