//! Upstreams that are used no more stay for a while, where APISIX may hear that they are gone before it hears of the
//! routes: one that watches each directory on a connection of its own sees no order between them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::apisix::{Kind, ObjectKey};
use crate::translate::Changes;

/// The removals that wait.
#[derive(Debug)]
pub(super) struct Removals {
    /// How long each waits; none for not at all.
    grace: Option<Duration>,
    /// Until when.
    waiting: BTreeMap<ObjectKey, Instant>,
}

impl Removals {
    pub(super) fn new(grace: Option<Duration>) -> Self {
        Self { grace, waiting: BTreeMap::new() }
    }

    /// Takes out of changes what is to stay for now.
    pub(super) fn take(&mut self, changes: &mut Changes, now: Instant) {
        for object in &changes.puts {
            self.waiting.remove(&object.key);
        }
        changes.deletes.retain(|key| !self.waits(key, now));
    }

    /// Whether an object that is used no more is to stay for now.
    pub(super) fn waits(&mut self, key: &ObjectKey, now: Instant) -> bool {
        let Some(grace) = self.grace.filter(|_| key.kind == Kind::Upstream) else { return false };
        *self.waiting.entry(key.clone()).or_insert(now + grace) > now
    }

    /// Forgets those that are used again, or were removed.
    pub(super) fn keep(&mut self, stay: impl Fn(&ObjectKey) -> bool) {
        self.waiting.retain(|key, _| stay(key));
    }

    /// When the first of them has waited long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }

    /// Those that have, as changes.
    pub(super) fn over(&mut self, now: Instant) -> Changes {
        let over = self.waiting.extract_if(.., |_, until| *until <= now);
        Changes { puts: Vec::new(), deletes: over.map(|(key, _)| key).collect() }
    }

    /// They could not be removed; they are tried again then.
    pub(super) fn again_at(&mut self, changes: Changes, then: Instant) {
        self.waiting.extend(changes.deletes.into_iter().map(|key| (key, then)));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::apisix::Object;

    fn key(kind: Kind, id: &str) -> ObjectKey {
        ObjectKey::new(kind, id)
    }

    #[tokio::test(start_paused = true)]
    async fn upstreams_wait_and_what_is_used_again_stays() {
        let (mut removals, now) = (Removals::new(Some(Duration::from_secs(5))), Instant::now());
        let upstreams = ["a", "b"].map(|id| key(Kind::Upstream, id));
        let deletes = vec![key(Kind::Route, "r"), upstreams[0].clone(), upstreams[1].clone()];
        let mut changes = Changes { puts: Vec::new(), deletes };
        removals.take(&mut changes, now);
        assert_eq!(changes.deletes, [key(Kind::Route, "r")]);
        let again = Object { key: upstreams[0].clone(), value: Bytes::new() };
        removals.take(&mut Changes { puts: vec![again], deletes: Vec::new() }, now);
        let due = now + Duration::from_secs(5);
        assert_eq!((removals.due(), removals.over(now).deletes), (Some(due), vec![]));
        assert!(removals.waits(&upstreams[1], now + Duration::from_secs(4)), "it does not begin anew");
        assert_eq!(removals.over(due).deletes, [upstreams[1].clone()]);
        assert_eq!(removals.due(), None);
    }

    #[test]
    fn without_a_grace_nothing_waits() {
        let (mut removals, now) = (Removals::new(None), Instant::now());
        let mut changes = Changes { puts: Vec::new(), deletes: vec![key(Kind::Upstream, "a")] };
        removals.take(&mut changes, now);
        assert_eq!((changes.deletes.len(), removals.due()), (1, None));
    }
}
