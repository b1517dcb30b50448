//! The file with settings.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{SettingsError, wrong};
use crate::cli::args::times::Span;
use crate::cli::args::upstream::WhenUpstreamAway;

/// The file. Its names are those of the flags, with `_` for `-`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct File {
    pub(super) log: Option<String>,
    pub(super) listen: Option<String>,
    pub(super) admin_listen: Option<String>,
    pub(super) admin_token_file: Option<PathBuf>,
    pub(super) admin_tls_cert: Option<PathBuf>,
    pub(super) admin_tls_key: Option<PathBuf>,
    pub(super) admin_client_ca: Option<PathBuf>,
    #[serde(default)]
    pub(super) admin_debug: bool,
    pub(super) client_url: Option<String>,
    pub(super) source: Option<String>,
    #[serde(default)]
    pub(super) xds_server: Vec<String>,
    #[serde(default)]
    pub(super) xds_file: Vec<PathBuf>,
    pub(super) xds_protocol: Option<String>,
    pub(super) xds_node_id: Option<String>,
    pub(super) xds_node_cluster: Option<String>,
    pub(super) xds_node_metadata: Option<toml::Table>,
    pub(super) xds_ca: Option<PathBuf>,
    pub(super) xds_cert: Option<PathBuf>,
    pub(super) xds_key: Option<PathBuf>,
    pub(super) xds_server_name: Option<String>,
    pub(super) xds_token_file: Option<PathBuf>,
    pub(super) xds_token_scheme: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) auth_token_key_file: Option<PathBuf>,
    pub(super) auth_token_seconds: Option<u64>,
    pub(super) users_file: Option<PathBuf>,
    pub(super) gateway_keepalive_seconds: Option<u64>,
    pub(super) drain_seconds: Option<u64>,
    pub(super) drain_spread_seconds: Option<u64>,
    pub(super) listener_ports: Option<String>,
    pub(super) apisix: Option<String>,
    pub(super) jwt: Option<String>,
    pub(super) ext_authz: Option<String>,
    pub(super) apisix_yaml: Option<PathBuf>,
    pub(super) removal_guard_percent: Option<u8>,
    pub(super) removal_guard_seconds: Option<u64>,
    pub(super) otlp_endpoint: Option<String>,
    pub(super) otlp_ca: Option<PathBuf>,
    pub(super) otlp_sample: Option<f64>,
    pub(super) otlp_service_name: Option<String>,
    pub(super) publish: Option<bool>,
    #[serde(default)]
    pub(super) upstream: Vec<String>,
    pub(super) upstream_ca: Option<PathBuf>,
    pub(super) upstream_cert: Option<PathBuf>,
    pub(super) upstream_key: Option<PathBuf>,
    pub(super) upstream_user: Option<String>,
    pub(super) upstream_password_file: Option<PathBuf>,
    pub(super) publish_name: Option<String>,
    pub(super) publish_lease_seconds: Option<u64>,
    pub(super) publish_standby: Option<String>,
    pub(super) publish_foreign: Option<String>,
    pub(super) publish_max_operations: Option<usize>,
    pub(super) publish_max_bytes: Option<usize>,
    #[serde(default)]
    pub(super) tls_cert: Vec<PathBuf>,
    #[serde(default)]
    pub(super) tls_key: Vec<PathBuf>,
    #[serde(default)]
    pub(super) tls_optional: bool,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) client_cert: Option<String>,
    pub(super) client_cert_name: Option<String>,
    #[serde(default)]
    pub(super) upstream_prefix: Vec<String>,
    pub(super) upstream_history: Option<u32>,
    pub(super) when_upstream_away: Option<WhenUpstreamAway>,
    pub(super) upstream_open_reads: Option<bool>,
    pub(super) max_connections: Option<usize>,
    pub(super) max_connections_per_address: Option<usize>,
    pub(super) max_watch_streams_per_connection: Option<usize>,
    pub(super) max_concurrent_streams: Option<usize>,
    pub(super) max_watchers_per_stream: Option<usize>,
    pub(super) max_leases: Option<usize>,
    pub(super) max_request_bytes: Option<usize>,
    pub(super) max_txn_ops: Option<usize>,
    pub(super) max_answer_mib: Option<usize>,
    pub(super) max_header_bytes: Option<usize>,
    pub(super) max_header_fields: Option<usize>,
    pub(super) max_json_depth: Option<usize>,
    pub(super) max_failed_logins: Option<usize>,
    pub(super) memory_budget_mib: Option<usize>,
    pub(super) handshake_seconds: Option<u64>,
    pub(super) next_request_seconds: Option<u64>,
    pub(super) grpc_keepalive_interval: Option<Span>,
    pub(super) grpc_keepalive_timeout: Option<Span>,
}

/// Names of the settings that change while the server runs.
pub(in crate::cli) const LIVE: [&str; 26] = [
    "log",
    "admin_token_file",
    "admin_debug",
    "auth_token_seconds",
    "gateway_keepalive_seconds",
    "drain_seconds",
    "drain_spread_seconds",
    "removal_guard_percent",
    "removal_guard_seconds",
    "max_connections",
    "max_connections_per_address",
    "max_watch_streams_per_connection",
    "max_watchers_per_stream",
    "max_leases",
    "max_concurrent_streams",
    "max_request_bytes",
    "max_txn_ops",
    "max_answer_mib",
    "max_header_bytes",
    "max_header_fields",
    "max_json_depth",
    "max_failed_logins",
    "handshake_seconds",
    "next_request_seconds",
    "grpc_keepalive_interval",
    "grpc_keepalive_timeout",
];

/// The text of the file.
pub(in crate::cli) fn text(path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|error| wrong(&setting(path), error))
}

/// What the file at `path` says.
pub(super) fn parse(path: &Path, text: &str) -> Result<File, SettingsError> {
    // The error has the line, and the names that are known.
    toml::from_str(text).map_err(|error| wrong(&setting(path), error))
}

fn setting(path: &Path) -> String {
    format!("--config {}", path.display())
}
