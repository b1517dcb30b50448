//! At every revision, what a published object refers to is there. Looked at only where users leave the published
//! objects alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use confcast::apisix::references;

use super::Invariant;
use crate::etcd::Commit;
use crate::world::{Author, PREFIX, World};

#[derive(Default)]
pub struct References {
    /// What each object refers to.
    objects: BTreeMap<Bytes, Vec<Bytes>>,
}

impl Invariant for References {
    fn commit(&mut self, world: &World, _author: Author, commit: &Commit) -> Result<(), String> {
        for change in commit.changes.iter().filter(|change| world.keys.objects().contains(&change.key)) {
            match &change.value {
                Some(value) => {
                    let to = references(value).iter().map(|to| to.etcd_key(PREFIX)).collect();
                    self.objects.insert(change.key.clone(), to);
                }
                None => drop(self.objects.remove(&change.key)),
            }
        }
        if world.habits.meddling {
            return Ok(());
        }
        for (key, references) in &self.objects {
            if let Some(to) = references.iter().find(|to| !self.objects.contains_key(*to)) {
                return Err(format!("at {} {key:?} refers to {to:?}, which is not there", commit.revision));
            }
        }
        Ok(())
    }
}
