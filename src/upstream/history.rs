//! Putting an etcd's history into the store: its events as they come, or the difference to a state that was read whole.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::prefixes::Prefixes;
use crate::pb::mvccpb::event::EventType;
use crate::pb::mvccpb::{Event, KeyValue};
use crate::store::{KeyRange, LeaseId, Origin, Record, Revision, Snapshot, Writer};

/// The history that the store holds is not the one that the etcd has, whose state is handed back.
#[derive(Debug)]
pub(super) struct OtherHistory(pub(super) Vec<Record>);

/// A copy of a pair, as what a decoder returns keeps the whole message in memory.
pub(super) fn record(pair: &KeyValue) -> Record {
    let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    let numbers = (Revision(pair.create_revision), Revision(pair.mod_revision), pair.version);
    Record::new(copy(&pair.key), copy(&pair.value), numbers, LeaseId(pair.lease), Origin::Client)
}

/// Whether an event is about a key that is kept.
pub(super) fn is_kept(event: &Event, prefixes: &Prefixes) -> bool {
    event.kv.as_ref().is_some_and(|pair| prefixes.contain(&pair.key))
}

/// The events of one response as commits: one for each revision, as etcd never splits one over two responses.
pub(super) fn follow(writer: &mut Writer, events: &[Event], prefixes: &Prefixes) {
    let revision = |event: &Event| event.kv.as_ref().map_or(0, |pair| pair.mod_revision);
    for events in events.chunk_by(|a, b| revision(a) == revision(b)) {
        let at = Revision(revision(&events[0]));
        // What is known is sent again after a reconnect.
        if at <= writer.snapshot().revision() {
            continue;
        }
        let mut transaction = writer.begin_at(at);
        for event in events.iter().filter(|event| is_kept(event, prefixes)) {
            let Some(pair) = &event.kv else { continue };
            if event.r#type() == EventType::Delete {
                transaction.delete(&pair.key);
            } else {
                transaction.adopt(record(pair));
            }
        }
        writer.commit(transaction);
        // Nothing if there was a commit.
        writer.pass(at);
    }
}

/// Makes the store what the etcd holds at `revision`, after the events in between were lost: puts at the revisions that
/// they had, deletions at `revision`, all in one commit.
pub(super) fn repair(writer: &mut Writer, revision: Revision, pairs: Vec<Record>) -> Result<(), OtherHistory> {
    if is_other(writer.snapshot(), revision, &pairs) {
        return Err(OtherHistory(pairs));
    }
    if revision == writer.snapshot().revision() {
        return Ok(());
    }
    let mut transaction = writer.begin_at(revision);
    let mut gone: BTreeSet<Bytes> =
        writer.snapshot().range(&KeyRange::all()).map(|record| record.key.clone()).collect();
    for pair in pairs {
        gone.remove(&pair.key);
        transaction.adopt(pair);
    }
    for key in gone {
        transaction.delete(&key);
    }
    transaction.sort();
    writer.commit_repair(transaction);
    Ok(())
}

/// Whether the store holds these pairs, and no others.
pub(super) fn is_same(known: &Snapshot, pairs: &[Record]) -> bool {
    let same = |pair: &Record| {
        known.get(&pair.key).is_some_and(|own| {
            (own.mod_revision, own.create_revision, own.version, own.lease, &own.value)
                == (pair.mod_revision, pair.create_revision, pair.version, pair.lease, &pair.value)
        })
    };
    known.len() == pairs.len() && pairs.iter().all(same)
}

/// Whether these events, all that the etcd has at the store's revision, can have led to what the store holds.
pub(super) fn agrees(known: &Snapshot, events: &[&Event]) -> bool {
    let at = known.revision();
    let is_there = |event: &&Event| {
        let Some(pair) = &event.kv else { return false };
        let own = known.get(&pair.key);
        if event.r#type() == EventType::Delete {
            return own.is_none();
        }
        own.is_some_and(|own| {
            (own.mod_revision.0, own.create_revision.0, own.version, own.lease.0, &own.value)
                == (pair.mod_revision, pair.create_revision, pair.version, pair.lease, &pair.value)
        })
    };
    let puts = events.iter().filter(|event| event.r#type() == EventType::Put).count();
    let own = known.range(&KeyRange::all()).filter(|record| record.mod_revision == at).count();
    // What was deleted is known if the commit is; one that stands for several revisions says nothing of this one.
    let last = known.commits_from(at).next().filter(|commit| !commit.is_repair());
    let deleted = last.is_none_or(|commit| {
        let deleted = commit.events().iter().filter(|event| event.is_delete()).count();
        deleted == events.len() - puts
    });
    events.iter().all(is_there) && puts == own && deleted
}

/// Whether the two states cannot be of one history: revisions that went back, or mean something else.
fn is_other(known: &Snapshot, revision: Revision, pairs: &[Record]) -> bool {
    let differs = |pair: &Record| {
        known.get(&pair.key).is_some_and(|own| {
            own.mod_revision > pair.mod_revision
                || (own.mod_revision == pair.mod_revision
                    && (&own.value, own.version, own.create_revision)
                        != (&pair.value, pair.version, pair.create_revision))
        }) || (pair.mod_revision <= known.revision()
            && known.get(&pair.key).is_none_or(|own| own.mod_revision != pair.mod_revision))
    };
    let is_less = revision == known.revision() && pairs.len() < known.len();
    // What has nothing in common with the store is nothing to be repaired, whatever happened to it.
    let is_strange = !known.is_empty()
        && pairs.iter().all(|pair| known.get(&pair.key).is_none_or(|own| own.create_revision != pair.create_revision));
    revision < known.revision() || is_less || is_strange || pairs.iter().any(differs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn pair(key: &str, value: &str, numbers: (i64, i64, i64)) -> Record {
        let (create, modified, version) = numbers;
        let numbers = (Revision(create), Revision(modified), version);
        Record::new(
            Bytes::copy_from_slice(key.as_bytes()),
            value.to_owned().into(),
            numbers,
            LeaseId::NONE,
            Origin::Client,
        )
    }

    /// A mirror that has seen a put of a at 5 and one of b at 6.
    async fn mirror() -> Store {
        let store = Store::in_memory(Revision::ZERO).expect("a thread");
        let both = vec![pair("a", "1", (5, 5, 1)), pair("b", "1", (6, 6, 1))];
        store.submit(move |writer| writer.replace_history(Revision(6), both)).await.expect("memory does not fail");
        store
    }

    #[tokio::test]
    async fn a_repair_is_one_commit_with_the_numbers_that_the_etcd_has() {
        let store = mirror().await;
        let now = vec![pair("a", "2", (5, 9, 2)), pair("c", "1", (8, 8, 1))];
        store.submit(move |writer| repair(writer, Revision(10), now)).await.expect("done").expect("one history");
        let snapshot = store.snapshot();
        let commits: Vec<_> = snapshot.commits_from(Revision(7)).collect();
        assert_eq!((commits.len(), commits[0].revision()), (1, Revision(10)));
        let events: Vec<_> = commits[0]
            .events()
            .iter()
            .map(|event| (event.key().clone(), event.record.mod_revision.0, event.is_delete()))
            .collect();
        assert_eq!(events, [("c".into(), 8, false), ("a".into(), 9, false), ("b".into(), 10, true)]);
        // What lies in between is not known, and nobody may start there or read there.
        assert!(snapshot.at(Revision(6)).is_ok() && snapshot.at(Revision(10)).is_ok());
        assert!(snapshot.at(Revision(8)).is_err());
        assert!(!snapshot.is_unknown_start(Revision(7)) && !snapshot.is_unknown_start(Revision(11)));
        assert!(snapshot.is_unknown_start(Revision(8)) && snapshot.is_unknown_start(Revision(10)));
    }

    #[tokio::test]
    async fn what_has_undone_itself_is_repaired_as_well() {
        let store = mirror().await;
        let now = vec![pair("a", "1", (5, 5, 1)), pair("b", "1", (6, 6, 1))];
        store.submit(move |writer| repair(writer, Revision(9), now)).await.expect("done").expect("one history");
        let snapshot = store.snapshot();
        assert_eq!(snapshot.revision(), Revision(9), "a read at 9 is not waited for in vain");
        assert!(snapshot.is_unknown_start(Revision(8)), "who has seen 7 may have seen what is gone");
        assert!(!snapshot.is_unknown_start(Revision(7)) && !snapshot.is_unknown_start(Revision(10)));
    }

    #[tokio::test]
    async fn another_history_is_noticed() {
        let a = || pair("a", "1", (5, 5, 1));
        let b = || pair("b", "1", (6, 6, 1));
        let cases = [
            ("the revision went back", 4, vec![a()], true),
            ("a revision means something else", 9, vec![pair("a", "x", (5, 5, 1)), b()], true),
            ("a key went back", 9, vec![a(), pair("b", "1", (4, 4, 1))], true),
            ("a key appeared in the past", 9, vec![a(), b(), pair("c", "1", (3, 3, 1))], true),
            ("a key is gone, and nothing has happened", 6, vec![b()], true),
            ("nothing is left of it", 9, vec![pair("c", "1", (8, 8, 1))], true),
            ("it went on", 9, vec![a(), pair("b", "2", (6, 9, 2))], false),
            ("nothing happened", 6, vec![a(), b()], false),
        ];
        for (name, revision, pairs, other) in cases {
            let store = mirror().await;
            let outcome = store.submit(move |writer| repair(writer, Revision(revision), pairs)).await.expect("done");
            assert_eq!(outcome.is_err(), other, "{name}");
        }
    }
}
