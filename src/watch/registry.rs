//! Finds the interests that a key belongs to.
//!
//! Nearly all interests are one key or one prefix, for which a look-up costs one hash per prefix length in use,
//! however many interests there are. The rest is in a search tree of intervals.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::interest::{Interest, Scope};
use super::intervals::Intervals;
use super::stream::{Cursor, Stream};
use crate::store::Revision;

/// Interests that share a key, a prefix or an interval.
type Group = Vec<Arc<Interest>>;

/// All interests of running watchers.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// Guards the others: an interest is added to and removed from them while its entry here is locked.
    interests: DashMap<Scope, Arc<Interest>>,
    keys: DashMap<Bytes, Group>,
    prefixes: DashMap<Bytes, Group>,
    /// How many prefixes there are of each length.
    prefix_lengths: Mutex<BTreeMap<usize, usize>>,
    /// What is neither. A std lock: held to find and to wake, to add or to remove.
    others: RwLock<Intervals<Group>>,
}

/// A watcher's place in the registry, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    registry: Arc<Registry>,
    interest: Arc<Interest>,
    /// How far the watcher has come.
    pub(super) cursor: Arc<Cursor>,
    slot: usize,
}

impl Registration {
    pub(super) fn interest(&self) -> &Arc<Interest> {
        &self.interest
    }

    /// The next revision that the watcher has not looked at yet.
    pub(super) fn next(&self) -> Revision {
        self.cursor.next()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.interest.remove_stream(self.slot);
        // Asked again under the entry's lock, as another watcher may have come in between.
        if self.interest.is_idle()
            && let Entry::Occupied(entry) = self.registry.interests.entry(self.interest.scope().clone())
            && entry.get().is_idle()
        {
            self.registry.withdraw(entry.get());
            entry.remove();
        }
    }
}

impl Registry {
    /// Registers a stream's watcher for what it wants to see, from `cursor` on.
    pub(super) fn register(self: &Arc<Self>, scope: Scope, stream: Arc<Stream>, cursor: Cursor) -> Registration {
        let entry = self.interests.entry(scope.clone()).or_insert_with(|| {
            let interest = Arc::new(Interest::new(scope));
            self.announce(&interest);
            interest
        });
        let interest = entry.clone();
        // Before the entry's lock is given back, so that nobody finds the interest idle.
        let cursor = Arc::new(cursor);
        let slot = interest.add_stream(stream, cursor.clone());
        drop(entry);
        Registration { registry: self.clone(), interest, cursor, slot }
    }

    /// Number of different interests.
    pub(super) fn len(&self) -> usize {
        self.interests.len()
    }

    /// Every interest.
    pub(super) fn interests(&self) -> Vec<Arc<Interest>> {
        self.interests.iter().map(|entry| entry.value().clone()).collect()
    }

    /// Calls `visit` with every interest.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&Interest)) {
        self.interests.iter().for_each(|entry| visit(entry.value()));
    }

    /// Calls `hit` with every interest whose range holds `key`.
    pub(super) fn find(&self, key: &[u8], lengths: &[usize], mut hit: impl FnMut(&Arc<Interest>)) {
        if let Some(group) = self.keys.get(key) {
            group.iter().for_each(&mut hit);
        }
        for length in lengths.iter().take_while(|length| **length <= key.len()) {
            if let Some(group) = self.prefixes.get(&key[..*length]) {
                group.iter().for_each(&mut hit);
            }
        }
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        others.find(key, &mut |group| group.iter().for_each(&mut hit));
    }

    /// The prefix lengths in use, ascending: what [`find`](Self::find) needs, looked up once for many keys.
    pub(super) fn prefix_lengths(&self) -> Vec<usize> {
        self.prefix_lengths.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    fn announce(&self, interest: &Arc<Interest>) {
        let range = &interest.scope().range;
        if let Some(key) = range.as_single() {
            self.keys.entry(key.clone()).or_default().push(interest.clone());
        } else if let Some(prefix) = range.as_prefix() {
            self.prefixes.entry(prefix.clone()).or_default().push(interest.clone());
            // After the group is there, so that whoever sees the length finds the group.
            *self.prefix_lengths.lock().unwrap_or_else(PoisonError::into_inner).entry(prefix.len()).or_default() += 1;
        } else {
            let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
            others.update(range, |group| group.push(interest.clone()));
        }
    }

    fn withdraw(&self, interest: &Arc<Interest>) {
        let range = &interest.scope().range;
        if let Some(key) = range.as_single() {
            leave(&self.keys, key, interest);
        } else if let Some(prefix) = range.as_prefix() {
            leave(&self.prefixes, prefix, interest);
            let mut lengths = self.prefix_lengths.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = lengths.get_mut(&prefix.len()) {
                *count -= 1;
                if *count == 0 {
                    lengths.remove(&prefix.len());
                }
            }
        } else {
            let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
            others.remove_if(range, |group| {
                group.retain(|other| !Arc::ptr_eq(other, interest));
                group.is_empty()
            });
        }
    }
}

fn leave(groups: &DashMap<Bytes, Group>, key: &Bytes, interest: &Arc<Interest>) {
    if let Entry::Occupied(mut entry) = groups.entry(key.clone()) {
        entry.get_mut().retain(|other| !Arc::ptr_eq(other, interest));
        if entry.get().is_empty() {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::Protocol;
    use super::*;
    use crate::store::KeyRange;

    fn hits(registry: &Registry, key: &str) -> Vec<Scope> {
        let mut found = Vec::new();
        registry.find(key.as_bytes(), &registry.prefix_lengths(), |interest| found.push(interest.scope().clone()));
        found
    }

    #[test]
    fn finds_by_key_prefix_and_interval_until_the_last_watcher_leaves() {
        let registry = Arc::new(Registry::default());
        let scopes = [
            KeyRange::single("/a/b".into()),
            KeyRange::prefix("/a/"),
            KeyRange::all(),
            KeyRange::from_wire("/a".into(), "/c".into()),
        ]
        .map(Scope::all_of);
        let mut places: Vec<_> = scopes
            .iter()
            .flat_map(|scope| [scope, scope])
            .map(|scope| {
                let stream = Arc::new(Stream::new(Protocol::Program, None));
                registry.register(scope.clone(), stream, Cursor::new(Revision(2), Revision(1)))
            })
            .collect();
        assert_eq!(registry.len(), 4, "watchers with the same interest share it");
        assert_eq!(hits(&registry, "/a/b"), scopes);
        assert_eq!(hits(&registry, "/a/c"), scopes[1..]);
        assert_eq!(hits(&registry, "/b"), scopes[2..]);
        assert_eq!(hits(&registry, "/d"), scopes[2..3]);
        for left in (1..=4).rev() {
            places.truncate(left * 2 - 1);
            assert_eq!(registry.len(), left, "one watcher of the pair is left");
            places.truncate(left * 2 - 2);
            assert_eq!(registry.len(), left - 1);
        }
        assert_eq!(hits(&registry, "/a/b"), []);
        assert!(registry.prefix_lengths().is_empty() && registry.keys.is_empty() && registry.prefixes.is_empty());
        assert!(registry.others.read().expect("not poisoned").is_empty());
    }
}
