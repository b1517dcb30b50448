//! What happened in the etcd, by its own account.

use std::collections::BTreeMap;

use super::follower::Heard;
use super::{Event, Pair};

/// Keys with their pairs.
pub type State = BTreeMap<String, Pair>;

/// Every revision with its events, from the first one.
#[derive(Debug, Default)]
pub struct Truth(BTreeMap<i64, Vec<Event>>);

impl Truth {
    /// From what a follower of the etcd itself was told from the first revision on, without a loss.
    pub fn of(heard: &[Heard]) -> Result<Self, String> {
        let mut truth = Self::default();
        for heard in heard {
            let Heard::Told { revision, events, .. } = heard else { return Err(format!("the etcd itself: {heard:?}")) };
            for event in events {
                if event.pair.modified > *revision {
                    return Err(format!("a header older than its events: {heard:?}"));
                }
                truth.0.entry(event.pair.modified).or_default().push(event.clone());
            }
        }
        Ok(truth)
    }

    pub fn last(&self) -> i64 {
        self.0.keys().next_back().copied().unwrap_or(1)
    }

    pub fn commits(&self) -> usize {
        self.0.len()
    }

    /// The events after one revision until another one.
    pub fn between(&self, after: i64, until: i64) -> Vec<Event> {
        self.0.range(after + 1..=until.max(after)).flat_map(|(_, events)| events.clone()).collect()
    }

    pub fn at(&self, revision: i64) -> &[Event] {
        self.0.get(&revision).map_or(&[], Vec::as_slice)
    }

    /// The state at a revision.
    pub fn state(&self, revision: i64) -> State {
        let mut state = State::new();
        apply(&mut state, &self.between(0, revision));
        state
    }

    /// Every revision with the state at it, from the empty one on, until a visitor does not want more.
    pub fn replay(&self, mut visit: impl FnMut(i64, i64, &State) -> Result<(), String>) -> Result<(), String> {
        let mut state = State::new();
        let mut before = 0;
        for (revision, events) in &self.0 {
            // The state until the next event.
            visit(before, revision - 1, &state)?;
            apply(&mut state, events);
            before = *revision;
        }
        visit(before, i64::MAX, &state)
    }
}

pub fn apply(state: &mut State, events: &[Event]) {
    for event in events {
        if event.deleted {
            state.remove(&event.pair.key);
        } else {
            state.insert(event.pair.key.clone(), event.pair.clone());
        }
    }
}
