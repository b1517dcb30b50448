//! What is put, and how whoever gets it can tell that it is just that.
//!
//! A value begins with the time, a number that no other value has, and a checksum of the key and all else. So a stream
//! that is given a value of another key, or one that was changed on its way, tells at once; and one that is given a
//! sound value in place of another tells at the end, as revisions and contents are held against those that were put.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

use crate::client::{Client, Pairs};
use crate::meter;

/// Digits of the time, of the number, and of the checksum.
const STAMP: usize = 15;
const NUMBER: usize = 10;
const SUM: usize = 16;

/// Different contents that are remembered.
const KNOWN: usize = 4096;

/// A change that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) revision: i64,
    /// Of what was put, as [`identity`].
    pub(crate) identity: u64,
}

/// A change as a stream has been told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) revision: i64,
    pub(crate) content: Content,
}

/// What a key and its value say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) identity: u64,
    /// When it was put, in microseconds of the load's clock; zero if it does not say.
    pub(crate) sent: u64,
    /// Whether the value is one of those that are put, and whole.
    pub(crate) is_sound: bool,
}

/// Puts a new value, which says when.
pub(crate) fn put(client: &mut Client, key: &str, size: usize) -> Result<Change> {
    let value = value(key, size, meter::now());
    let revision = client.put(key, &value)?;
    Ok(Change { revision, identity: identity(key.as_bytes(), &value) })
}

/// A value of this size, or of the least that a value has.
pub(crate) fn value(key: &str, size: usize, sent: u64) -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let head = format!("{sent:0STAMP$}{number:0NUMBER$}");
    let letter = |position: usize| b'a' + u8::try_from(position * 7 % 26).unwrap_or(0);
    let rest: Vec<_> = (head.len() + SUM..size).map(letter).collect();
    let sum = sum(key.as_bytes(), head.as_bytes(), &rest);
    [head.as_bytes(), format!("{sum:0SUM$x}").as_bytes(), &rest].concat()
}

fn sum(key: &[u8], head: &[u8], rest: &[u8]) -> u64 {
    let mut sum = Xxh3::with_seed(key.len() as u64);
    for part in [key, head, rest] {
        sum.update(part);
    }
    sum.digest()
}

/// Of a key and its value.
pub(crate) fn identity(key: &[u8], value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, xxh3_64(key))
}

/// The time in a value that is sound.
pub(crate) fn sent(key: &[u8], value: &[u8]) -> Option<u64> {
    let (head, after) = value.split_at_checked(STAMP + NUMBER)?;
    let (told, rest) = after.split_at_checked(SUM)?;
    let told = u64::from_str_radix(std::str::from_utf8(told).ok()?, 16).ok()?;
    std::str::from_utf8(&head[..STAMP]).ok()?.parse().ok().filter(|_| told == sum(key, head, rest))
}

/// Fails unless every one of these values is sound.
pub(crate) fn check(pairs: &Pairs) -> Result<()> {
    for (key, value) in pairs {
        sent(key, value).with_context(|| format!("{} has not what was put", String::from_utf8_lossy(key)))?;
    }
    Ok(())
}

/// Looks at what comes. A thousand streams get the same bytes, which are taken apart once.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    known: HashMap<u64, Content>,
    /// What a value holds that someone else has put; none if they are this load's own.
    foreign: Option<Vec<u8>>,
}

impl Reader {
    /// From now on values are someone else's, and hold this.
    pub(crate) fn expect(&mut self, text: &str) {
        self.known.clear();
        self.foreign = Some(text.as_bytes().to_vec());
    }

    /// Looks at a key and a value as they are on the wire; `decode` makes of each what it was.
    pub(crate) fn look(&mut self, key: &[u8], value: &[u8], decode: fn(&[u8]) -> Option<Vec<u8>>) -> Content {
        let wire = identity(key, value);
        if let Some(content) = self.known.get(&wire) {
            return *content;
        }
        let content = decode(key).zip(decode(value)).map_or(Content::default(), |(key, value)| {
            let sent = sent(&key, &value);
            let is_sound = match &self.foreign {
                None => sent.is_some(),
                Some(text) => memchr::memmem::find(&value, text).is_some(),
            };
            Content { identity: identity(&key, &value), sent: sent.unwrap_or(0), is_sound }
        });
        if self.known.len() >= KNOWN {
            self.known.clear();
        }
        self.known.insert(wire, content);
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_says_whether_it_is_whole_and_its_keys() {
        for size in [0, 100] {
            let whole = value("/a", size, 1234);
            assert_eq!(whole.len(), size.max(STAMP + NUMBER + SUM));
            assert_eq!(sent(b"/a", &whole), Some(1234));
            assert_eq!(sent(b"/b", &whole), None);
            assert_eq!(sent(b"/a", &whole[..whole.len() - 1]), None);
            for position in 0..whole.len() {
                let mut broken = whole.clone();
                broken[position] ^= 1;
                assert_eq!(sent(b"/a", &broken), None, "byte {position}");
            }
        }
        assert_ne!(value("/a", 50, 1), value("/a", 50, 1), "no two are the same");
    }

    #[test]
    fn what_has_been_seen_is_known_and_nothing_else() {
        let (mut reader, plain) = (Reader::default(), |bytes: &[u8]| Some(bytes.to_vec()));
        let whole = value("/a", 50, 9);
        for _ in 0..2 {
            let content = reader.look(b"/a", &whole, plain);
            assert_eq!(content, Content { identity: identity(b"/a", &whole), sent: 9, is_sound: true });
            assert!(!reader.look(b"/b", &whole, plain).is_sound);
        }
        reader.expect("port 1");
        assert!(!reader.look(b"/a", &whole, plain).is_sound);
        assert!(reader.look(b"/a", b"at port 1", plain).is_sound);
    }
}
