//! Ranges of keys, in the forms of etcd's requests.

use std::ops::Bound;

use bytes::Bytes;

/// A half-open interval of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyRange {
    start: Bytes,
    end: End,
}

/// Where a range ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum End {
    /// The range holds `start` alone.
    Single,
    /// The range ends before this key.
    Before(Bytes),
    /// The range has no end.
    Open,
}

impl KeyRange {
    /// The range that a request's `key` and `range_end` stand for: an empty `range_end` means the single key, a
    /// zero byte means every key from `key` on, and anything else is the key before which the range ends. A `key` of
    /// one zero byte with a `range_end` is the start of the key space.
    pub fn from_wire(key: Bytes, range_end: Bytes) -> Self {
        if range_end.is_empty() {
            return Self::single(key);
        }
        let end = if range_end.as_ref() == b"\0" { End::Open } else { End::Before(range_end) };
        Self { start: key, end }
    }

    /// The range of one key.
    pub fn single(key: Bytes) -> Self {
        Self { start: key, end: End::Single }
    }

    /// The range of every key that begins with `prefix`; of every key when it is empty.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start: Bytes = prefix.into();
        let end = prefix_end(&start).map_or(End::Open, End::Before);
        Self { start, end }
    }

    /// The range of every key.
    pub fn all() -> Self {
        Self { start: Bytes::new(), end: End::Open }
    }

    /// The range from `start` to before `end`, or without an end.
    pub fn between(start: Bytes, end: Option<Bytes>) -> Self {
        Self { start, end: end.map_or(End::Open, End::Before) }
    }

    /// The first possible key of the range.
    pub fn start(&self) -> &Bytes {
        &self.start
    }

    /// The key before which the range ends; none if it has no end.
    pub fn end(&self) -> Option<Bytes> {
        match &self.end {
            End::Single => Some([self.start.as_ref(), b"\0"].concat().into()),
            End::Before(end) => Some(end.clone()),
            End::Open => None,
        }
    }

    /// The key itself, when the range holds a single one.
    pub fn as_single(&self) -> Option<&Bytes> {
        matches!(self.end, End::Single).then_some(&self.start)
    }

    /// The prefix, when the range holds just the keys that begin with it.
    pub fn as_prefix(&self) -> Option<&Bytes> {
        match &self.end {
            End::Before(end) => (prefix_end(&self.start).as_ref() == Some(end)).then_some(&self.start),
            End::Single | End::Open => None,
        }
    }

    /// Whether no key can be in the range, because it ends where it starts or before.
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, End::Before(end) if *end <= self.start)
    }

    /// Whether `key` is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Single => key == self.start,
            End::Before(end) => key >= self.start.as_ref() && key < end.as_ref(),
            End::Open => key >= self.start.as_ref(),
        }
    }

    /// Whether every key of `other` is in the range.
    pub fn covers(&self, other: &Self) -> bool {
        let ends_before = match (self.end(), other.end()) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => other <= own,
        };
        self.start <= other.start && ends_before
    }

    /// Whether the two ranges have a key in common.
    pub fn intersects(&self, other: &Self) -> bool {
        fn before_end(key: &[u8], range: &KeyRange) -> bool {
            match &range.end {
                End::Single => key <= range.start.as_ref(),
                End::Before(end) => key < end.as_ref(),
                End::Open => true,
            }
        }
        !self.is_empty() && !other.is_empty() && before_end(&self.start, other) && before_end(&other.start, self)
    }

    /// The bounds for an ordered map. Callers check [`is_empty`](Self::is_empty) first, as maps refuse such bounds.
    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let start = Bound::Included(self.start.as_ref());
        match &self.end {
            End::Single => (start, Bound::Included(self.start.as_ref())),
            End::Before(end) => (start, Bound::Excluded(end.as_ref())),
            End::Open => (start, Bound::Unbounded),
        }
    }
}

/// The first key after all keys that begin with `prefix`: its last byte below 255 plus one. None if there is none.
fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &'static [u8], end: &'static [u8]) -> KeyRange {
        KeyRange::from_wire(Bytes::from_static(key), Bytes::from_static(end))
    }

    #[test]
    fn wire_forms() {
        type Keys = &'static [&'static [u8]];
        let cases: [(KeyRange, Keys, Keys); 6] = [
            (range(b"b", b""), &[b"b"], &[b"a", b"ba", b"c"]),
            (range(b"b", b"d"), &[b"b", b"bz", b"c"], &[b"a", b"d"]),
            (range(b"b", b"\0"), &[b"b", b"\xff\xff"], &[b"a"]),
            (range(b"\0", b"\0"), &[b"\0", b"a", b"\xff"], &[]),
            (range(b"\0", b""), &[b"\0"], &[b"a", b""]),
            (range(b"d", b"b"), &[], &[b"b", b"c", b"d"]),
        ];
        for (range, inside, outside) in cases {
            for key in inside {
                assert!(range.contains(key), "{range:?} should hold {key:?}");
            }
            for key in outside {
                assert!(!range.contains(key), "{range:?} should not hold {key:?}");
            }
        }
        assert!(range(b"c", b"c").is_empty());
    }

    #[test]
    fn prefixes() {
        assert_eq!(KeyRange::prefix("/apisix"), range(b"/apisix", b"/apisiy"));
        assert_eq!(KeyRange::prefix("a\u{7f}"), range(b"a\x7f", b"a\x80"));
        assert_eq!(KeyRange::prefix(&b"a\xff\xff"[..]), range(b"a\xff\xff", b"b"));
        assert_eq!(KeyRange::prefix(&b"\xff"[..]), range(b"\xff", b"\0"));
        assert_eq!(KeyRange::prefix("/apisix/").as_prefix().map(Bytes::as_ref), Some(b"/apisix/".as_ref()));
        assert_eq!(range(b"a", b"c").as_prefix(), None);
    }

    #[test]
    fn intersections() {
        assert!(range(b"a", b"c").intersects(&range(b"b", b"")));
        assert!(!range(b"a", b"c").intersects(&range(b"c", b"")));
        assert!(range(b"b", b"\0").intersects(&range(b"a", b"c")));
        assert!(!range(b"b", b"").intersects(&range(b"b", b"a")));
        assert!(range(b"b", b"").intersects(&range(b"b", b"")));
    }
}
