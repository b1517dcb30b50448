//! Settings of traces.

use std::path::PathBuf;

/// Where traces go.
#[derive(Clone, Debug, PartialEq)]
pub struct TracesConfig {
    /// URL of a collector that takes OTLP over gRPC, `http://` or `https://`.
    pub endpoint: String,
    /// File with the certificates that the collector's is signed by, for `https://`.
    pub ca: Option<PathBuf>,
    /// The part of the changes that is traced, from 0 to 1.
    pub sample: f64,
    /// What the server is called in them.
    pub service: String,
    /// What this one of several is called; none if the environment says it.
    pub instance: Option<String>,
}
