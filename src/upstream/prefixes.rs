//! Which of the etcd's keys are mirrored: all of them, or those below some prefixes.
//!
//! A mirror of some prefixes watches everything nevertheless. So the revisions of what it does not keep come, too, in
//! order and on the one stream, and its revision is the etcd's. A watch on each prefix would tell of a revision only if
//! something happened in the prefix; for the others there are progress notifications, which etcd before 3.4.31 and
//! 3.5.13 sends ahead of events.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::store::KeyRange;

/// The prefixes below which keys are mirrored. Clones share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefixes(Arc<[KeyRange]>);

impl Default for Prefixes {
    fn default() -> Self {
        Self(Arc::new([KeyRange::all()]))
    }
}

impl Prefixes {
    /// These prefixes; everything if there are none.
    pub fn of(prefixes: &[String]) -> Self {
        let mut sorted: Vec<&str> = prefixes.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        // One that begins with another one comes after it, and is part of it.
        sorted.dedup_by(|later, earlier| later.starts_with(&**earlier));
        if sorted.is_empty() || sorted == [""] {
            return Self::default();
        }
        Self(sorted.into_iter().map(|prefix| KeyRange::prefix(Bytes::copy_from_slice(prefix.as_bytes()))).collect())
    }

    /// Whether every key is mirrored.
    pub fn is_everything(&self) -> bool {
        *self.0 == [KeyRange::all()]
    }

    /// The keys, by ascending prefix.
    pub fn ranges(&self) -> &[KeyRange] {
        &self.0
    }

    /// Whether a key is mirrored.
    pub fn contain(&self, key: &[u8]) -> bool {
        self.0.iter().any(|range| range.contains(key))
    }

    /// Whether every key of a range is mirrored.
    pub fn cover(&self, range: &KeyRange) -> bool {
        self.0.iter().any(|own| own.covers(range))
    }

    /// A number for just these keys; zero for everything.
    pub fn fingerprint(&self) -> i64 {
        if self.is_everything() {
            return 0;
        }
        let mut hash = Xxh3::new();
        for range in self.0.iter() {
            hash.update(&(range.start().len() as u64).to_le_bytes());
            hash.update(range.start());
        }
        hash.digest().cast_signed()
    }

    /// What clients are told who ask for other keys.
    pub fn refusal(&self) -> String {
        format!(
            "confcast: this mirror has only keys that begin with {self} (--upstream-prefix); the etcd has the others"
        )
    }
}

impl fmt::Display for Prefixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.0.iter().map(|range| String::from_utf8_lossy(range.start())).collect();
        f.write_str(&all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(prefixes: &[&str]) -> Prefixes {
        Prefixes::of(&prefixes.iter().map(|prefix| (*prefix).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_within_and_what_is_not() {
        assert!(of(&[]).is_everything() && of(&["/a", ""]).is_everything() && !of(&["/a"]).is_everything());
        assert_eq!(of(&["/b/", "/a/", "/b/c/"]), of(&["/a/", "/b/"]));
        let some = of(&["/a/", "/b/"]);
        let wire = |key: &'static str, end: &'static str| KeyRange::from_wire(key.into(), end.into());
        for (key, end) in [("/a/", "/a0"), ("/a/1", ""), ("/b/1", "/b/2"), ("/b/", "/b0")] {
            assert!(some.cover(&wire(key, end)), "{key} to {end}");
        }
        for (key, end) in [("/a", "/b"), ("/a/", "/b0"), ("/b/", "\0"), ("\0", "\0"), ("/a", ""), ("/b/1", "/c")] {
            assert!(!some.cover(&wire(key, end)), "{key} to {end}");
        }
        assert!(of(&[]).cover(&wire("\0", "\0")) && of(&[]).contain(b"anything"));
        assert!(some.contain(b"/a/1") && !some.contain(b"/a") && !some.contain(b"/c"));
    }

    #[test]
    fn other_keys_have_another_fingerprint() {
        let all = [of(&[]), of(&["/a"]), of(&["/b"]), of(&["/a", "/b"]), of(&["/a/b"])].map(|one| one.fingerprint());
        assert_eq!(all[0], 0);
        assert!((1..all.len()).all(|at| !all[..at].contains(&all[at])), "{all:?}");
    }
}
