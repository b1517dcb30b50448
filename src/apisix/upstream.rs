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
    /// `http`, `https`, `grpc` or `grpcs`; for stream routes `tcp` or `tls`.
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
    /// How backends are found to be healthy or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<Checks>,
    /// What is presented to backends that ask for a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientCertificate>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// Seconds without a request after which a connection is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<f64>,
}

/// The certificate that is presented to backends, by the id of an `ssls` object of the type `client`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientCertificate {
    /// The id.
    pub client_cert_id: String,
}

/// How backends are found to be healthy or not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checks {
    /// Probes, without which APISIX takes no other check.
    pub active: ActiveCheck,
    /// What requests tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive: Option<PassiveCheck>,
}

/// Probes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ActiveCheck {
    /// `http`, `https` or `tcp`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Seconds for an answer.
    pub timeout: f64,
    /// Host header of a probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Port of probes, if it is not the backend's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// Path of a probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_path: Option<String>,
    /// Method of a probe, if it is not GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_method: Option<&'static str>,
    /// Headers of a probe, as `name: value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub req_headers: Vec<String>,
    /// Whether the backend's certificate is verified; only with `https`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https_verify_certificate: Option<bool>,
    /// What makes a backend healthy.
    pub healthy: Healthy,
    /// What makes it unhealthy.
    pub unhealthy: Unhealthy,
}

/// What makes a backend healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Healthy {
    /// Seconds between probes of a healthy backend.
    pub interval: u32,
    /// Statuses of a good answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_statuses: Vec<u32>,
    /// Good answers in a row that it takes, 1 to 254.
    pub successes: u32,
}

/// What makes a backend unhealthy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unhealthy {
    /// Seconds between probes of an unhealthy backend; none for what requests tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u32>,
    /// Statuses of a bad answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_statuses: Vec<u32>,
    /// Bad answers in a row that it takes, 1 to 254.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_failures: Option<u32>,
    /// Failed connections in a row that it takes, 1 to 254.
    pub tcp_failures: u32,
    /// Missing answers in a row that it takes, 1 to 254.
    pub timeouts: u32,
}

/// What requests tell of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassiveCheck {
    /// `http` or `tcp`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What makes it unhealthy, until a probe finds it healthy again.
    pub unhealthy: Unhealthy,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(value: &i32) -> bool {
    *value == 0
}
