//! What etcd holds below a prefix, as far as a publisher needs to know it: which keys there are, since which revision,
//! and whether it wrote them. Values are kept as fingerprints.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::keys::Keys;
use super::wanted::Fingerprint;
use crate::store::Revision;

/// A key and its value, or none if it was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key: of an object, or of a mark.
    pub key: Bytes,
    /// Its value; none for a deletion.
    pub value: Option<Bytes>,
    /// Revision of the change.
    pub revision: Revision,
}

/// What is at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) fingerprint: Fingerprint,
    pub(super) revision: Revision,
}

/// What etcd holds.
#[derive(Debug, Default)]
pub struct Held {
    objects: BTreeMap<Bytes, Entry>,
    /// By the key of the object. A mark that cannot be read has no fingerprint, and fits no object.
    marks: BTreeMap<Bytes, (Option<Fingerprint>, Revision)>,
    /// Keys that were deleted, until no older news of them can come.
    gone: BTreeMap<Bytes, Revision>,
}

impl Held {
    /// Takes a change over, and returns whether it brings anything that was not known. What is older than what is
    /// known of a key is left out, so that the answers to a publisher's own writes and the watch that reports them
    /// can come in any order.
    pub fn apply(&mut self, keys: &Keys, change: &Change) -> bool {
        let object = keys.marked(&change.key);
        let known = match &object {
            Some(object) => self.marks.get(object).map(|(_, revision)| *revision),
            None => self.objects.get(&change.key).map(|entry| entry.revision),
        };
        let known = known.or_else(|| self.gone.get(&change.key).copied());
        if known.is_some_and(|known| known >= change.revision) {
            return false;
        }
        // Copies, as slices of a message would keep all of it.
        match (object, &change.value) {
            (Some(object), Some(value)) => {
                let mark = (Fingerprint::from_text(value), change.revision);
                self.marks.insert(Bytes::copy_from_slice(&object), mark);
            }
            (None, Some(value)) => {
                let entry = Entry { fingerprint: Fingerprint::of(value), revision: change.revision };
                self.objects.insert(Bytes::copy_from_slice(&change.key), entry);
            }
            (object, None) => {
                self.gone.insert(Bytes::copy_from_slice(&change.key), change.revision);
                return match object {
                    Some(object) => self.marks.remove(&object).is_some(),
                    None => self.objects.remove(&change.key).is_some(),
                };
            }
        }
        self.gone.remove(&change.key);
        true
    }

    /// Forgets deletions up to a revision to which everything is known.
    pub fn settle(&mut self, revision: Revision) {
        self.gone.retain(|_, gone| *gone > revision);
    }

    /// What is at the key of an object.
    pub(super) fn object(&self, key: &[u8]) -> Option<Entry> {
        self.objects.get(key).copied()
    }

    /// Whether there is a mark for an object.
    pub(super) fn is_marked(&self, key: &[u8]) -> bool {
        self.marks.contains_key(key)
    }

    /// Whether the object at `key` is what a publisher wrote there: there is a mark, and nobody changed the object
    /// since.
    pub(super) fn owns(&self, key: &[u8]) -> bool {
        let Some((Some(mark), _)) = self.marks.get(key) else { return false };
        self.objects.get(key).is_some_and(|object| object.fingerprint == *mark)
    }

    /// The keys of all objects that there is a mark for.
    pub(super) fn marked(&self) -> impl Iterator<Item = &Bytes> {
        self.marks.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, value: Option<&str>, revision: i64) -> Change {
        let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
        Change { key: Bytes::copy_from_slice(key.as_bytes()), value, revision: Revision(revision) }
    }

    #[test]
    fn news_of_a_key_can_come_in_any_order() {
        let keys = Keys::new("/a");
        let (put, delete) = (change("/a/routes/1", Some("x"), 9), change("/a/routes/1", None, 10));
        let mut held = Held::default();
        assert!(held.apply(&keys, &put) && held.apply(&keys, &delete));
        assert!(!held.apply(&keys, &put), "the watch is behind the answer");
        assert_eq!(held.object(&put.key), None);
        held.settle(Revision(10));
        assert!(held.apply(&keys, &change("/a/routes/1", Some("x"), 11)));
    }

    #[test]
    fn an_object_is_owned_while_it_is_what_was_written() {
        let keys = Keys::new("/a");
        let mut held = Held::default();
        let mark = Fingerprint::of(b"x").to_text();
        let mark = std::str::from_utf8(&mark).expect("text");
        held.apply(&keys, &change("/a/routes/1", Some("x"), 2));
        assert!(!held.owns(b"/a/routes/1"), "it has no mark");
        held.apply(&keys, &change("/confcast/owned/a/routes/1", Some(mark), 3));
        assert!(held.owns(b"/a/routes/1") && held.is_marked(b"/a/routes/1"));
        held.apply(&keys, &change("/a/routes/1", Some("edited"), 4));
        assert!(!held.owns(b"/a/routes/1"), "somebody changed it");
        held.apply(&keys, &change("/a/routes/1", Some("x"), 5));
        assert!(held.owns(b"/a/routes/1"), "and changed it back");
        held.apply(&keys, &change("/confcast/owned/a/routes/1", Some("nonsense"), 6));
        assert!(!held.owns(b"/a/routes/1"));
    }
}
