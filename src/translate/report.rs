//! What could not be expressed exactly.

use serde::Serialize;

use crate::envoy::ResourceType;

/// All that is not expressed exactly, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The entries, each once.
    pub entries: Vec<Entry>,
}

/// One thing that is not expressed exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Entry {
    /// The resource that holds it.
    pub resource: (ResourceType, String),
    /// The field in it.
    pub field: String,
    /// How far the result is from the meaning.
    pub fidelity: Fidelity,
    /// Why it cannot be expressed.
    pub reason: String,
    /// What is done instead.
    pub effect: String,
}

/// How far a result is from the meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fidelity {
    /// Close, with the difference that is stated.
    Approximate,
    /// Not at all.
    NotExpressible,
}

/// Collects the entries of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notes {
    resource: (ResourceType, String),
    entries: Vec<Entry>,
}

impl Notes {
    pub(super) fn of(kind: ResourceType, name: &str) -> Self {
        Self { resource: (kind, name.to_owned()), entries: Vec::new() }
    }

    /// Notes that `field` is expressed approximately.
    pub(super) fn approximate(&mut self, field: &str, reason: &str, effect: &str) {
        self.add(field, Fidelity::Approximate, reason, effect);
    }

    /// Notes that `field` is not expressed.
    pub(super) fn not_expressible(&mut self, field: &str, reason: &str, effect: &str) {
        self.add(field, Fidelity::NotExpressible, reason, effect);
    }

    fn add(&mut self, field: &str, fidelity: Fidelity, reason: &str, effect: &str) {
        let (field, reason, effect) = (field.to_owned(), reason.to_owned(), effect.to_owned());
        let entry = Entry { resource: self.resource.clone(), field, fidelity, reason, effect };
        // One entry stands for all routes of a resource that have the same.
        if !self.entries.contains(&entry) {
            self.entries.push(entry);
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}
