//! What is to be written so that etcd holds what is wanted, in make-before-break order, and in pieces that etcd takes.
//!
//! Objects come before those that refer to them, and go after everything is written that no longer does. So whatever
//! part of a plan has been carried out, no reference in etcd leads nowhere, and the rest can be thrown away for a
//! fresh plan at any time.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::held::Held;
use super::keys::Keys;
use super::wanted::{Fingerprint, Value, Wanted};
use crate::apisix::{Kind, ObjectKey, placeholders, references};
use crate::store::Revision;

/// What one transaction may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most operations: etcd's `--max-txn-ops`, default 128.
    pub operations: usize,
    /// Most bytes of a request: etcd's `--max-request-bytes`, default 1.5 MiB.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { operations: 128, bytes: 1_572_864 }
    }
}

/// What happens to an object that somebody else wrote where an object of the source belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foreign {
    /// It stays, and is reported.
    #[default]
    Keep,
    /// It is overwritten, and the publisher's from then on.
    Take,
}

/// A change of one key, and of its mark with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The key of the object.
    pub key: Bytes,
    /// Revision that the key must have for the step to be right; zero if there must be none.
    pub expected: Revision,
    /// What is done.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Writes an object and its mark.
    Put(Value),
    /// Deletes an object and its mark.
    Delete,
    /// Writes a directory's placeholder, which belongs to nobody.
    Placeholder,
    /// Writes the mark of an object that is as it should be.
    Mark(Fingerprint),
    /// Deletes a mark of an object that is gone, or no longer the publisher's.
    Unmark,
}

/// What every transaction holds beside its steps: the fence, which is two comparisons and an operation, and what etcd
/// adds. Comparisons are counted as operations are, and a step has one.
const FENCE_OPERATIONS: usize = 2;
const FENCE_BYTES: usize = 4096;

/// What the encoding of one key in a request takes beside the key.
const PER_KEY: usize = 48;

impl Step {
    /// Number of operations in a transaction.
    pub fn operations(&self) -> usize {
        match self.action {
            Action::Put(_) | Action::Delete => 2,
            Action::Placeholder | Action::Mark(_) | Action::Unmark => 1,
        }
    }

    /// Bytes in a transaction, no fewer than it really takes.
    pub fn bytes(&self) -> usize {
        let value = match &self.action {
            Action::Put(value) => value.bytes.len(),
            Action::Delete | Action::Placeholder | Action::Mark(_) | Action::Unmark => 0,
        };
        3 * (self.key.len() + PER_KEY) + value
    }
}

/// What is to be done, and what cannot be.
#[derive(Debug, Default)]
pub struct Plan {
    steps: VecDeque<Step>,
    /// Wanted objects at whose place somebody else's are.
    pub conflicts: Vec<ObjectKey>,
    /// Wanted objects that no request can hold. What was there before stays.
    pub too_large: Vec<ObjectKey>,
    /// Wanted objects that wait for one that is too large, as they refer to it.
    pub waiting: Vec<ObjectKey>,
}

impl Plan {
    /// The way from what etcd holds to what is wanted.
    pub fn new(keys: &Keys, wanted: &Wanted, held: &Held, foreign: Foreign, limits: Limits) -> Self {
        let mut plan = Self::default();
        for key in placeholders::keys(keys.prefix()).filter(|key| held.object(key).is_none()) {
            plan.steps.push_back(Step { key, expected: Revision::ZERO, action: Action::Placeholder });
        }
        plan.put(keys, wanted, held, foreign, limits);
        plan.delete(keys, wanted, held);
        plan
    }

    /// Whether nothing is left to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Takes the next steps, as many as fit into a transaction.
    pub fn batch(&mut self, limits: Limits) -> Vec<Step> {
        let (mut operations, mut bytes) = (FENCE_OPERATIONS, FENCE_BYTES);
        let mut batch = Vec::new();
        while let Some(step) = self.steps.front() {
            operations += step.operations();
            bytes += step.bytes();
            let fits = operations <= limits.operations && bytes <= limits.bytes;
            // One step always fits: what does not is not planned.
            if !fits && !batch.is_empty() {
                break;
            }
            batch.extend(self.steps.pop_front());
        }
        batch
    }

    fn put(&mut self, keys: &Keys, wanted: &Wanted, held: &Held, foreign: Foreign, limits: Limits) {
        // Objects that are referred to and will not be there.
        let mut missing = BTreeSet::new();
        for (object, value) in wanted.iter() {
            let key = object.etcd_key(keys.prefix());
            let there = held.object(&key);
            let same = there.is_some_and(|entry| entry.fingerprint == value.fingerprint);
            let owned = held.owns(&key);
            if same && (owned || foreign == Foreign::Keep) {
                continue;
            }
            if there.is_some() && !owned && foreign == Foreign::Keep {
                self.conflicts.push(object.clone());
                continue;
            }
            let expected = there.map_or(Revision::ZERO, |entry| entry.revision);
            let action = if same { Action::Mark(value.fingerprint) } else { Action::Put(value.clone()) };
            let step = Step { key, expected, action };
            let too_large = FENCE_BYTES + step.bytes() > limits.bytes;
            let waits = || references(&value.bytes).iter().any(|other| missing.contains(other));
            if !too_large && (missing.is_empty() || !waits()) {
                self.steps.push_back(step);
                continue;
            }
            if there.is_none() {
                missing.insert(object.clone());
            }
            if too_large {
                self.too_large.push(object.clone());
            } else {
                self.waiting.push(object.clone());
            }
        }
    }

    fn delete(&mut self, keys: &Keys, wanted: &Wanted, held: &Held) {
        // An object that stays as it was may refer to anything that was there.
        let complete = self.too_large.is_empty() && self.waiting.is_empty();
        let mut stale: Vec<_> = held
            .marked()
            .map(|key| (keys.object(key), key))
            .filter(|(object, _)| !object.as_ref().is_some_and(|object| wanted.contains(object)))
            .filter(|(object, _)| complete || object.as_ref().is_some_and(|object| is_referred_to_by_none(object.kind)))
            .collect();
        // In the opposite of make-before-break order.
        stale.sort_unstable_by(|a, b| b.cmp(a));
        for (_, key) in stale {
            let there = held.object(key);
            let action = if held.owns(key) { Action::Delete } else { Action::Unmark };
            let expected = there.map_or(Revision::ZERO, |entry| entry.revision);
            self.steps.push_back(Step { key: key.clone(), expected, action });
        }
    }
}

fn is_referred_to_by_none(kind: Kind) -> bool {
    matches!(kind, Kind::Consumer | Kind::GlobalRule | Kind::StreamRoute | Kind::Route)
}
