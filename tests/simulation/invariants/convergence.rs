//! When the faults are over, one replica leads, etcd holds what is wanted and what users wrote, and nothing is written
//! any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use confcast::apisix::placeholders;
use tokio::time::Instant;

use super::Invariant;
use crate::etcd::Commit;
use crate::world::{Author, PREFIX, World};

#[derive(Default)]
pub struct Convergence {
    users: BTreeSet<Bytes>,
    last: Option<Instant>,
}

/// How long nothing is to be written at the end.
const QUIET: Duration = Duration::from_secs(10);

impl Invariant for Convergence {
    fn commit(&mut self, world: &World, author: Author, commit: &Commit) -> Result<(), String> {
        self.last = Some(world.now);
        for change in &commit.changes {
            if author == Author::User && change.value.is_some() {
                self.users.insert(change.key.clone());
            } else {
                self.users.remove(&change.key);
            }
        }
        Ok(())
    }

    fn end(&mut self, world: &World) -> Result<(), String> {
        let leaders = world.replicas.iter().filter(|replica| replica.engine.status().term.is_some());
        let leaders: Vec<_> = leaders.map(|replica| replica.engine.status()).collect();
        if leaders.len() != 1 {
            return Err(format!("{} replicas lead", leaders.len()));
        }
        if !leaders[0].published.complete {
            return Err(format!("not complete: {:?}", leaders[0]));
        }
        if self.last.is_some_and(|last| world.now - last < QUIET) {
            return Err("something is still written".into());
        }
        let wanted = world.source.wanted();
        let mut expected: BTreeMap<Bytes, Bytes> = wanted
            .iter()
            .map(|(object, value)| (object.etcd_key(PREFIX), value.bytes.clone()))
            .chain(placeholders::keys(PREFIX).map(|key| (key, placeholders::VALUE.into())))
            .collect();
        for key in &self.users {
            if let Some(pair) = world.etcd.keys.get(key) {
                expected.insert(key.clone(), pair.value.clone());
            }
        }
        let there: BTreeMap<_, _> = world
            .etcd
            .keys
            .values()
            .filter(|pair| world.keys.objects().contains(&pair.key))
            .map(|pair| (pair.key.clone(), pair.value.clone()))
            .collect();
        if there != expected {
            let different = |key: &&Bytes| there.get(*key) != expected.get(*key);
            let keys: BTreeSet<_> = there.keys().chain(expected.keys()).filter(different).collect();
            return Err(format!("not as wanted: {keys:?}"));
        }
        let marks = world.etcd.keys.keys().filter_map(|key| world.keys.marked(key));
        let stray =
            marks.into_iter().find(|key| !world.keys.object(key).is_some_and(|object| wanted.contains(&object)));
        stray.map_or(Ok(()), |key| Err(format!("a mark is left for {key:?}")))
    }
}
