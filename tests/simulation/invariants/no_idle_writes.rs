//! A publisher never writes a value that is there already, and never writes nothing except after a write of which it
//! does not know whether it took place.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Invariant;
use crate::etcd::Commit;
use crate::world::{Author, World};

#[derive(Default)]
pub struct NoIdleWrites {
    values: BTreeMap<Bytes, Bytes>,
}

impl Invariant for NoIdleWrites {
    fn commit(&mut self, world: &World, author: Author, commit: &Commit) -> Result<(), String> {
        let calm = world.habits.loss == 0.0 && world.habits.slow == 0.0 && !world.faults_were_made;
        if calm && matches!(author, Author::Leader { .. }) && commit.changes.len() == 1 {
            return Err("a write of nothing, though every answer came".into());
        }
        for change in &commit.changes {
            let value = change.value.clone();
            let same = value.is_some() && self.values.get(&change.key) == value.as_ref();
            if same && matches!(author, Author::Leader { .. }) && world.keys.objects().contains(&change.key) {
                return Err(format!("{change:?} is as it was"));
            }
            match value {
                Some(value) => drop(self.values.insert(change.key.clone(), value)),
                None => drop(self.values.remove(&change.key)),
            }
        }
        Ok(())
    }
}
