//! The ordered map from key to record.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use super::key_range::KeyRange;
use super::record::Record;

/// An immutable-by-sharing ordered map: a clone is cheap and shares everything that is not changed later.
///
/// A type of our own so that the tree inside can be replaced without touching its users.
#[derive(Clone, Debug, Default)]
pub struct Index {
    records: OrdMap<Bytes, Arc<Record>>,
}

impl Index {
    /// The record of `key`.
    pub fn get(&self, key: &[u8]) -> Option<&Arc<Record>> {
        self.records.get(key)
    }

    /// The records in `range`, by ascending key.
    pub fn range(&self, range: &KeyRange) -> impl Iterator<Item = &Arc<Record>> {
        // An inverted range has no bounds that a map accepts.
        let bounds = (!range.is_empty()).then(|| range.bounds());
        bounds.into_iter().flat_map(|bounds| self.records.range::<_, [u8]>(bounds).map(|(_, record)| record))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Stores `record` under its key and returns the one it replaces.
    pub fn insert(&mut self, record: Arc<Record>) -> Option<Arc<Record>> {
        self.records.insert(record.key.clone(), record)
    }

    /// Removes the record of `key`.
    pub fn remove(&mut self, key: &[u8]) -> Option<Arc<Record>> {
        self.records.remove(key)
    }
}
