//! What a source wants to be in etcd.

use std::collections::BTreeSet;

use bytes::Bytes;
use imbl::OrdMap;
use xxhash_rust::xxh3::xxh3_128;

use crate::apisix::{Object, ObjectKey};
use crate::translate::Changes;

/// Stands for a value: 128 bits of its hash, which leave no room for collisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint of a value.
    pub fn of(value: &[u8]) -> Self {
        Self(xxh3_128(value))
    }

    /// As it is written into a mark.
    pub fn to_text(self) -> Bytes {
        format!("{:032x}", self.0).into()
    }

    /// Reads a mark; none if it is not one of ours.
    pub fn from_text(text: &[u8]) -> Option<Self> {
        u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok().map(Self)
    }
}

/// A value that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The object's JSON text.
    pub bytes: Bytes,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self { fingerprint: Fingerprint::of(&bytes), bytes }
    }
}

/// Every object that is wanted, in make-before-break order. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    objects: OrdMap<ObjectKey, Value>,
}

impl Wanted {
    /// Takes changes over.
    pub fn update(&mut self, changes: Changes) {
        for object in changes.puts {
            self.put(object);
        }
        for key in changes.deletes {
            self.objects.remove(&key);
        }
    }

    /// The objects, in make-before-break order.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &Value)> {
        self.objects.iter()
    }

    /// Whether an object is wanted.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        self.objects.contains_key(key)
    }

    /// Those of them that are not among `objects`.
    pub fn missing_from(&self, objects: &[Object]) -> impl Iterator<Item = &ObjectKey> {
        let kept: BTreeSet<ObjectKey> = objects.iter().map(|object| object.key.clone()).collect();
        self.objects.keys().filter(move |key| !kept.contains(key))
    }

    /// Goes on to want these of what was wanted `before`.
    pub fn keep(&mut self, before: &Self, keys: &BTreeSet<ObjectKey>) {
        let kept = keys.iter().filter_map(|key| Some((key.clone(), before.objects.get(key)?.clone())));
        self.objects.extend(kept);
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    fn put(&mut self, object: Object) {
        self.objects.insert(object.key, object.value.into());
    }
}

impl FromIterator<Object> for Wanted {
    fn from_iter<T: IntoIterator<Item = Object>>(objects: T) -> Self {
        let mut wanted = Self::default();
        objects.into_iter().for_each(|object| wanted.put(object));
        wanted
    }
}
