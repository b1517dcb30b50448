//! Permissions, and whether a set of them covers a range of keys.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::store::KeyRange;

/// What a permission is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Range, Watch, and comparisons.
    Read,
    /// Put and `DeleteRange`.
    Write,
    /// Both.
    ReadWrite,
}

impl Access {
    /// Whether this includes the other.
    pub fn includes(self, other: Self) -> bool {
        self == Self::ReadWrite || self == other
    }
}

/// A permission: for what, and on which keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// For what.
    pub access: Access,
    /// The key, or the first of the range.
    pub key: Vec<u8>,
    /// The end of the range as in requests: empty for the key alone, one zero byte for no end.
    pub range_end: Vec<u8>,
}

impl Permission {
    /// The keys.
    pub fn range(&self) -> KeyRange {
        KeyRange::from_wire(Bytes::copy_from_slice(&self.key), Bytes::copy_from_slice(&self.range_end))
    }

    /// Whether there can be keys in the range.
    pub fn is_valid(&self) -> bool {
        !self.key.is_empty() && !self.range().is_empty()
    }
}

/// Whether every key of `wanted` is in one of the `granted` ranges. Ranges that touch cover what spans them.
pub fn covers(granted: impl Iterator<Item = KeyRange>, wanted: &KeyRange) -> bool {
    let mut intervals: Vec<_> =
        granted.filter(|range| !range.is_empty()).map(|range| (range.start().clone(), range.end())).collect();
    intervals.sort();
    // A range without keys is taken for its first key, so that it tells nothing to those who may not read that.
    let single = KeyRange::single(wanted.start().clone());
    let wanted = if wanted.is_empty() { &single } else { wanted };
    let goal = wanted.end();
    let mut reached = wanted.start().clone();
    for (start, end) in intervals {
        if start > reached {
            return false;
        }
        match end {
            None => return true,
            Some(end) => reached = reached.max(end),
        }
        if goal.as_ref().is_some_and(|goal| reached >= *goal) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &'static str, end: &'static str) -> KeyRange {
        KeyRange::from_wire(key.into(), end.into())
    }

    #[test]
    fn a_range_is_covered_by_what_touches() {
        let granted = || [range("a", "c"), range("c", "e"), range("g", ""), range("x", "\0")].into_iter();
        for (key, end) in
            [("a", ""), ("a", "c"), ("b", "e"), ("a", "e"), ("d\0", "dz"), ("g", ""), ("y", "\0"), ("x", "z")]
        {
            assert!(covers(granted(), &range(key, end)), "{key}..{end}");
        }
        for (key, end) in [
            ("", ""),
            ("e", ""),
            ("a", "f"),
            ("a", "e\0"),
            ("g", "h"),
            ("g", "\0"),
            ("a", "\0"),
            ("\0", "\0"),
            ("f", "b"),
        ] {
            assert!(!covers(granted(), &range(key, end)), "{key}..{end}");
        }
        assert!(covers([range("\0", "\0")].into_iter(), &range("a", "\0")));
        assert!(!covers([range("a", "")].into_iter(), &range("a", "\0")), "one key is not everything from it on");
        assert!(!covers(std::iter::empty(), &range("a", "")));
    }
}
