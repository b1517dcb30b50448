//! Only the first in the queue writes, and none of its writes takes place after a later one.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use confcast::publish::Ticket;

use super::Invariant;
use crate::etcd::Commit;
use crate::world::{Author, World};

#[derive(Default)]
pub struct Fencing {
    /// Create revisions of the candidates' keys.
    queue: BTreeMap<Bytes, i64>,
    /// The last write of each life of a replica.
    last: HashMap<(usize, u64), Ticket>,
}

impl Invariant for Fencing {
    fn commit(&mut self, world: &World, author: Author, commit: &Commit) -> Result<(), String> {
        if let Author::Leader { replica, life, ticket } = author {
            let own = commit.changes.iter().find(|change| self.queue.contains_key(&change.key));
            let own = own.ok_or("a leader wrote without touching its key")?;
            if self.queue.iter().min_by_key(|(_, created)| **created).map(|(key, _)| key) != Some(&own.key) {
                return Err(format!("{commit:?} is of one that does not lead: {:?}", self.queue));
            }
            let last = self.last.insert((replica, life), ticket);
            if last.is_some_and(|last| last >= ticket) {
                return Err(format!("{ticket:?} of replica {replica} took place after {last:?}"));
            }
        }
        for change in commit.changes.iter().filter(|change| world.keys.queue().contains(&change.key)) {
            match change.value {
                Some(_) => drop(self.queue.entry(change.key.clone()).or_insert(commit.revision.0)),
                None => drop(self.queue.remove(&change.key)),
            }
        }
        Ok(())
    }
}
