//! `/upstreams/<id>`.

use std::collections::BTreeMap;

use serde::Serialize;

/// A group of backends.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Upstream {
    /// The id, as in the key.
    pub id: String,
    /// For people; at most 100 characters.
    pub name: String,
    /// Lead back to the source.
    pub labels: BTreeMap<&'static str, String>,
    /// `roundrobin`, `least_conn` or `chash`. APISIX takes any text and fails when it is used.
    #[serde(rename = "type")]
    pub algorithm: &'static str,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The backends; none means that requests are answered 503.
    pub nodes: Vec<Node>,
    /// Further tries after a failed one.
    pub retries: u32,
    /// Seconds after which no further try begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_timeout: Option<f64>,
    /// With `chash`: the kind of what is hashed, `vars`, `header`, `cookie` or `vars_combinations`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_on: Option<&'static str>,
    /// With `chash`: what is hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Which host a backend is told: `pass` (the client's, the default), `node` or `rewrite`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_host: Option<&'static str>,
    /// With `rewrite`: the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_host: Option<String>,
    /// Times, all three of which must be given.
    pub timeout: Timeout,
    /// Connections that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_pool: Option<KeepalivePool>,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Node {
    /// Higher is preferred; lower ones are used when no higher one can be reached.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// Address or name.
    pub host: String,
    /// Port, 1 to 65535.
    pub port: u16,
    /// Share of the requests, at least 1: APISIX uses a lone backend of weight 0.
    pub weight: u32,
}

/// Times in seconds, above zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Timeout {
    /// To connect.
    pub connect: f64,
    /// Between two writes.
    pub send: f64,
    /// Between two reads.
    pub read: f64,
}

/// Connections that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KeepalivePool {
    /// Requests after which a connection is closed.
    pub requests: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(value: &i32) -> bool {
    *value == 0
}
