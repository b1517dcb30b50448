//! The directory placeholders that `apisix init_etcd` writes and that every era of APISIX reads.
//!
//! Before 3.8 APISIX loads nothing from a directory without one; later ones load each directory by a read of its own.

use bytes::Bytes;

/// What a placeholder holds. Not JSON, which is how APISIX tells it from an object.
pub const VALUE: &[u8] = b"init_dir";

/// The directories of every era, in both spellings where the name changed with 3.0.
const DIRECTORIES: [&str; 15] = [
    "consumer_groups",
    "consumers",
    "global_rules",
    "plugin_configs",
    "plugin_metadata",
    "plugins",
    "proto",
    "protos",
    "routes",
    "secrets",
    "services",
    "ssl",
    "ssls",
    "stream_routes",
    "upstreams",
];

/// The keys of the placeholders below `prefix`.
pub fn keys(prefix: &str) -> impl Iterator<Item = Bytes> {
    DIRECTORIES.into_iter().map(move |directory| Bytes::from(format!("{prefix}/{directory}/")))
}
