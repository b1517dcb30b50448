//! What users wrote last is neither changed nor deleted by a publisher, unless it may take it over.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::Invariant;
use crate::etcd::Commit;
use crate::world::{Author, World};

#[derive(Default)]
pub struct ForeignKeys {
    users: BTreeSet<Bytes>,
}

impl Invariant for ForeignKeys {
    fn commit(&mut self, world: &World, author: Author, commit: &Commit) -> Result<(), String> {
        for change in commit.changes.iter().filter(|change| world.keys.objects().contains(&change.key)) {
            match author {
                Author::User if change.value.is_some() => drop(self.users.insert(change.key.clone())),
                Author::User => drop(self.users.remove(&change.key)),
                Author::Leader { .. } if self.users.contains(&change.key) => {
                    if !world.habits.takes || change.value.is_none() {
                        return Err(format!("{change:?} is at a user's object"));
                    }
                    self.users.remove(&change.key);
                }
                Author::Leader { .. } => {}
                Author::Queue => return Err(format!("{change:?} was made by the end of a lease")),
            }
        }
        Ok(())
    }
}
