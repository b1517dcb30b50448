//! `/stream_routes/<id>`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// A rule by which connections are passed on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StreamRoute {
    /// The id, as in the key.
    pub id: String,
    /// The port that the client connected to, which APISIX must listen on.
    pub server_port: u32,
    /// The name in the handshake, where APISIX ends TLS: exact, or behind `*.`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Where connections go.
    pub upstream_id: String,
    /// Plugins by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub plugins: BTreeMap<&'static str, Value>,
}
