//! `/routes/<id>`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::upstream::Timeout;

/// A rule by which requests are matched, and what is done with them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Route {
    /// The id, as in the key.
    pub id: String,
    /// For people; at most 100 characters.
    pub name: String,
    /// Lead back to the source.
    pub labels: BTreeMap<&'static str, String>,
    /// Exact names, or suffixes after one leading star; none means any host that no other route names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Exact paths, or prefixes before one trailing star.
    pub uris: Vec<String>,
    /// Methods; none means any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Conditions, see [`Expr`](super::Expr).
    #[serde(skip_serializing_if = "is_empty_list")]
    pub vars: Value,
    /// Higher is tried first, among routes of the same host with the same path.
    pub priority: i64,
    /// Where requests go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_id: Option<String>,
    /// Plugins by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub plugins: BTreeMap<&'static str, Value>,
    /// Times, instead of those of the upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// Whether a connection may become a websocket.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enable_websocket: bool,
}

fn is_empty_list(value: &Value) -> bool {
    value.as_array().is_none_or(Vec::is_empty)
}
