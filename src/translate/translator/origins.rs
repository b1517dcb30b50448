//! Which objects were made of which resource.

use super::{Source, Translator};
use crate::apisix::ObjectKey;

/// Keys that are listed in all.
const KEYS: usize = 100_000;

/// Which objects were made of which resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// How many resources there are of which something was made.
    pub resources: usize,
    /// Some of them, with what was made.
    pub listed: Vec<MadeOf>,
}

/// What was made of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeOf {
    /// What it is, and its name; of all listeners together as they share certificates and ports.
    pub resource: (&'static str, Option<String>),
    /// How many objects.
    pub count: usize,
    /// The objects, unless there are too many in all.
    pub objects: Vec<ObjectKey>,
    /// How many features of it are not expressed exactly.
    pub reported: usize,
}

impl Translator {
    /// What was made of so many resources.
    pub fn origins(&self, limit: usize) -> Origins {
        let mut room = KEYS;
        let listed = self.made.iter().take(limit).map(|(source, made)| {
            let resource = match source {
                Source::Cluster(name) => ("cluster", Some(name.clone())),
                Source::Routes(name) => ("route configuration", Some(name.clone())),
                Source::Listeners => ("listeners", None),
            };
            let objects: Vec<_> = made.objects.iter().take(room).cloned().collect();
            room -= objects.len();
            MadeOf { resource, count: made.objects.len(), objects, reported: made.entries.len() }
        });
        Origins { listed: listed.collect(), resources: self.made.len() }
    }
}
