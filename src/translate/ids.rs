//! Ids of objects: stable, without collisions, and within APISIX's syntax.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3;

/// The id of what these parts identify: 32 hexadecimal digits. Depends on nothing else, so that it stays the same
/// whatever comes, goes or moves around it; 128 bits leave no room for collisions.
pub fn id<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Xxh3::new();
    for part in parts {
        // With its length, so that no two lists of parts run together.
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    format!("{:032x}", hash.digest128())
}

/// The id of the upstream that a cluster becomes.
pub fn upstream(cluster: &str) -> String {
    id([b"upstream".as_ref(), cluster.as_bytes()])
}

/// Longest name that every version of APISIX takes.
const NAME: usize = 100;

/// A name for people, cut to what APISIX takes.
pub(super) fn name(text: &str) -> String {
    if text.chars().count() <= NAME {
        return text.to_owned();
    }
    text.chars().take(NAME - 1).chain(['…']).collect()
}

/// Longest label that every version of APISIX takes.
const LABEL: usize = 64;

/// Labels that lead back to the source, without those that APISIX would not take.
pub(super) fn labels<const N: usize>(labels: [(&'static str, &str); N]) -> BTreeMap<&'static str, String> {
    let fits = |text: &str| !text.is_empty() && text.len() <= LABEL && !text.contains(char::is_whitespace);
    labels.into_iter().filter(|(_, text)| fits(text)).map(|(key, text)| (key, text.to_owned())).collect()
}
