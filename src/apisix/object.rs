//! An APISIX object as it is published: a kind, an id and its JSON text.

use std::fmt;

use bytes::Bytes;

/// The resource directories of APISIX, in make-before-break order: an object only refers to kinds before its own, so
/// writing in this order and deleting in the opposite one never leaves a reference to something that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `/secrets/<manager>/<id>`.
    Secret,
    /// `/ssls/<id>`: certificates that APISIX presents, or trusts for client authentication.
    Ssl,
    /// `/ssl/<id>`: the same for APISIX 2.x.
    LegacySsl,
    /// `/protos/<id>`: protobuf definitions for gRPC transcoding.
    Proto,
    /// `/plugin_metadata/<plugin>`.
    PluginMetadata,
    /// `/upstreams/<id>`.
    Upstream,
    /// `/services/<id>`.
    Service,
    /// `/plugin_configs/<id>`.
    PluginConfig,
    /// `/consumer_groups/<id>`.
    ConsumerGroup,
    /// `/consumers/<name>`.
    Consumer,
    /// `/global_rules/<id>`.
    GlobalRule,
    /// `/stream_routes/<id>`.
    StreamRoute,
    /// `/routes/<id>`.
    Route,
}

impl Kind {
    /// Every kind, in make-before-break order.
    pub const ALL: [Self; 13] = [
        Self::Secret,
        Self::Ssl,
        Self::LegacySsl,
        Self::Proto,
        Self::PluginMetadata,
        Self::Upstream,
        Self::Service,
        Self::PluginConfig,
        Self::ConsumerGroup,
        Self::Consumer,
        Self::GlobalRule,
        Self::StreamRoute,
        Self::Route,
    ];

    /// Name of the directory below the configured prefix, as APISIX 3.x spells it.
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::Ssl => "ssls",
            Self::LegacySsl => "ssl",
            Self::Proto => "protos",
            Self::PluginMetadata => "plugin_metadata",
            Self::Upstream => "upstreams",
            Self::Service => "services",
            Self::PluginConfig => "plugin_configs",
            Self::ConsumerGroup => "consumer_groups",
            Self::Consumer => "consumers",
            Self::GlobalRule => "global_rules",
            Self::StreamRoute => "stream_routes",
            Self::Route => "routes",
        }
    }
}

/// Identity of an object: its kind and its id within the kind. Orders in make-before-break order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Which directory the object lives in.
    pub kind: Kind,
    /// The id: 1 to 64 characters of `[A-Za-z0-9-_.]` (a `/` only for credentials and secrets).
    pub id: String,
}

impl ObjectKey {
    /// The key of object `id` of `kind`.
    pub fn new(kind: Kind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }

    /// The etcd key below `prefix` (which has no trailing slash), such as `/apisix/routes/1`.
    pub fn etcd_key(&self, prefix: &str) -> Bytes {
        Bytes::from(format!("{prefix}/{}/{}", self.kind.directory(), self.id))
    }
}

/// One object ready to be published.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    /// Which object this is.
    pub key: ObjectKey,
    /// Its JSON text, with object keys in a stable order so that equal objects have equal bytes.
    pub value: Bytes,
}

impl fmt::Debug for Object {
    /// Without the content of certificates, whose keys have no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = matches!(self.key.kind, Kind::Ssl | Kind::LegacySsl | Kind::Secret);
        let value: &dyn fmt::Debug = if secret { &"(secret)" } else { &self.value };
        f.debug_struct("Object").field("key", &self.key).field("value", value).finish()
    }
}
