//! What must hold. Each invariant is shown every commit with its author, and the world when all faults are over.

mod convergence;
mod fencing;
mod foreign_keys;
mod no_idle_writes;
mod references;

use crate::etcd::Commit;
use crate::world::{Author, World};

/// Something that must hold.
pub trait Invariant {
    /// Looks at a commit.
    fn commit(&mut self, world: &World, author: Author, commit: &Commit) -> Result<(), String>;

    /// Looks at the end.
    fn end(&mut self, _world: &World) -> Result<(), String> {
        Ok(())
    }
}

/// All of them.
pub struct Invariants(Vec<Box<dyn Invariant>>);

impl Default for Invariants {
    fn default() -> Self {
        Self(vec![
            Box::<fencing::Fencing>::default(),
            Box::<references::References>::default(),
            Box::<foreign_keys::ForeignKeys>::default(),
            Box::<no_idle_writes::NoIdleWrites>::default(),
            Box::<convergence::Convergence>::default(),
        ])
    }
}

impl Invariants {
    pub fn commit(&mut self, world: &World, author: Author, commit: &Commit) -> Result<(), String> {
        self.0.iter_mut().try_for_each(|invariant| invariant.commit(world, author, commit))
    }

    pub fn end(&mut self, world: &World) -> Result<(), String> {
        self.0.iter_mut().try_for_each(|invariant| invariant.end(world))
    }
}
