//! What is held of one type, and what is known of the stream that it comes by.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

use super::{Output, is_wildcard};
use crate::envoy::{ResourceChange, ResourceType, decode, references};

/// A resource as it is remembered: not its content, which has been passed on.
#[derive(Debug)]
pub(super) struct Held {
    version: String,
    hash: u128,
    pub(super) references: Vec<(ResourceType, String)>,
}

/// The state of a type.
#[expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
#[derive(Debug, Default)]
pub(super) struct Kind {
    pub(super) held: BTreeMap<String, Held>,
    /// Names that are referred to, with how often.
    pub(super) wanted: BTreeMap<String, usize>,
    /// Names that are referred to and have not come, with when they are given up.
    pub(super) awaited: BTreeMap<String, Instant>,
    /// Whether there ever was an answer.
    pub(super) ever_answered: bool,
    /// The version that was last accepted, which means something to the server beyond the stream.
    pub(super) version: String,
    /// The rest is of the stream.
    pub(super) nonce: String,
    pub(super) subscribed: BTreeSet<String>,
    pub(super) started: bool,
    pub(super) answered_on_stream: bool,
    /// Names that the server was told to be held when the stream began.
    pub(super) offered: BTreeSet<String>,
    /// Whether it had given them no versions, so that it cannot know what of them has changed.
    pub(super) unversioned: bool,
    /// Names that are gone unless they come until then.
    pub(super) sweep: Option<(Instant, BTreeSet<String>)>,
}

/// What a response held.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Names of the resources.
    pub(super) names: BTreeSet<String>,
    /// References that came (true) and went (false).
    pub(super) references: Vec<(ResourceType, String, bool)>,
    /// Whether the server sent something at the version at which it is held.
    pub(super) repeated: bool,
}

impl Kind {
    /// Forgets what belonged to the stream before.
    pub(super) fn begin_stream(&mut self) {
        self.nonce.clear();
        self.subscribed.clear();
        self.started = false;
        self.answered_on_stream = false;
        self.offered = self.held.keys().cloned().collect();
        self.unversioned = self.held.values().any(|held| held.version.is_empty());
        self.sweep = None;
    }

    /// Versions of what is held.
    pub(super) fn versions(&self) -> BTreeMap<String, String> {
        self.held.iter().map(|(name, held)| (name.clone(), held.version.clone())).collect()
    }

    /// A reference to a name came or went. What has not come by `deadline` is given up.
    pub(super) fn refer(&mut self, name: &str, wanted: bool, deadline: Instant) {
        if wanted {
            let count = self.wanted.entry(name.to_owned()).or_default();
            *count += 1;
            if *count == 1 && !self.held.contains_key(name) {
                self.awaited.insert(name.to_owned(), deadline);
            }
        } else if let Some(count) = self.wanted.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.wanted.remove(name);
                self.awaited.remove(name);
            }
        }
    }

    /// The server has said what there is to say of a name.
    pub(super) fn answered(&mut self, name: &str) {
        self.awaited.remove(name);
    }

    /// Looks at resources as they came: name if the protocol has one, version, type and content.
    pub(super) fn take(
        &mut self,
        kind: ResourceType,
        resources: Vec<(Option<String>, String, String, Bytes)>,
        output: &mut Output,
    ) -> Taken {
        let mut taken = Taken::default();
        for (given, version, type_url, content) in resources {
            if type_url != kind.url() {
                output.rejected.push(format!("a {type_url} among resources of the type {}", kind.url()));
                continue;
            }
            let hash = xxh3_128(&content);
            if let Some(name) = &given
                && let Some(held) = self.held.get_mut(name)
            {
                taken.repeated |= self.offered.contains(name) && held.version == version;
                if held.hash == hash {
                    held.version = version;
                    output.unchanged += 1;
                    if !taken.names.insert(name.clone()) {
                        output.rejected.push(format!("{kind:?} {name} is there twice"));
                    }
                    continue;
                }
            }
            let resource = match decode(kind, &content) {
                Ok(resource) => resource,
                Err(error) => {
                    // It was answered, if badly; what was held of it stays, and is not said to be held anew.
                    taken.names.extend(given.clone());
                    given.iter().for_each(|name| self.answered(name));
                    output.rejected.push(error.to_string());
                    continue;
                }
            };
            let name = resource.name().to_owned();
            if given.as_ref().is_some_and(|given| *given != name) {
                output.rejected.push(format!("{kind:?} {name} is sent under the name {}", given.unwrap_or_default()));
                continue;
            }
            if !taken.names.insert(name.clone()) {
                output.rejected.push(format!("{kind:?} {name} is there twice"));
                continue;
            }
            // A server may send more than it was asked for.
            if !is_wildcard(kind) && !self.wanted.contains_key(&name) {
                continue;
            }
            self.answered(&name);
            let references = references(&resource);
            let old = self.held.get(&name);
            if let Some(old) = old.filter(|old| old.hash == hash) {
                taken.repeated |= self.offered.contains(&name) && old.version == version;
                output.unchanged += 1;
                continue;
            }
            // New ones first, so that what stays is not dropped in between.
            taken.references.extend(references.iter().map(|(kind, name)| (*kind, name.clone(), true)));
            let gone = old.into_iter().flat_map(|old| &old.references);
            taken.references.extend(gone.map(|(kind, name)| (*kind, name.clone(), false)));
            self.held.insert(name, Held { version, hash, references });
            output.changes.push(ResourceChange::Set(resource));
        }
        taken
    }
}
