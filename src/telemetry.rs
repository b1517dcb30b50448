//! Every metric, by name.

use metrics::{Unit, describe_counter, describe_gauge};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// Connections accepted on the served port.
pub const CONNECTIONS: &str = "confcast_connections_total";
/// The store's revision.
pub const REVISION: &str = "confcast_store_revision";
/// Keys in the store.
pub const KEYS: &str = "confcast_store_keys";
/// Commits in the retained log.
pub const LOG_COMMITS: &str = "confcast_store_log_commits";
/// Bytes of keys and values in the retained log.
pub const LOG_BYTES: &str = "confcast_store_log_bytes";
/// Open watch streams.
pub const WATCH_STREAMS: &str = "confcast_watch_streams";
/// Watchers on them.
pub const WATCHERS: &str = "confcast_watchers";
/// Different interests among the watchers.
pub const INTERESTS: &str = "confcast_watch_interests";
/// APISIX objects that the source's configuration became.
pub const OBJECTS: &str = "confcast_objects";
/// Features of the source's configuration that are not expressed exactly.
pub const REPORTED: &str = "confcast_translation_reported";
/// Whether a complete configuration is served.
pub const READY: &str = "confcast_ready";
/// Whether the control plane is connected.
pub const XDS_CONNECTED: &str = "confcast_xds_connected";
/// Streams to the control plane that ended.
pub const XDS_RECONNECTS: &str = "confcast_xds_reconnects_total";
/// Responses of the control plane, by type.
pub const XDS_RESPONSES: &str = "confcast_xds_responses_total";
/// Responses of the control plane that were refused, by type.
pub const XDS_NACKS: &str = "confcast_xds_nacks_total";
/// Resources that came again with the same content, by type.
pub const XDS_UNCHANGED: &str = "confcast_xds_unchanged_total";

/// Names and meanings of the gauges.
pub const GAUGES: [(&str, &str); 11] = [
    (REVISION, "Revision of the store"),
    (KEYS, "Keys in the store"),
    (LOG_COMMITS, "Commits in the retained log"),
    (LOG_BYTES, "Bytes of keys and values in the retained log"),
    (WATCH_STREAMS, "Open watch streams"),
    (WATCHERS, "Watchers on open watch streams"),
    (INTERESTS, "Different interests among the watchers"),
    (OBJECTS, "APISIX objects that the source's configuration became"),
    (REPORTED, "Features of the source's configuration that are not expressed exactly"),
    (READY, "1 when a complete configuration is served"),
    (XDS_CONNECTED, "1 when the control plane is connected"),
];

/// Names and meanings of the counters.
pub const COUNTERS: [(&str, &str); 5] = [
    (CONNECTIONS, "Connections accepted on the served port"),
    (XDS_RECONNECTS, "Streams to the control plane that ended"),
    (XDS_RESPONSES, "Responses of the control plane, by type"),
    (XDS_NACKS, "Responses of the control plane that were refused, by type"),
    (XDS_UNCHANGED, "Resources that came again with the same content, by type"),
];

/// Makes this process record metrics. Once per process, as a program that embeds the server may have its own recorder.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new().install_recorder()?;
    for (name, meaning) in GAUGES {
        describe_gauge!(name, Unit::Count, meaning);
    }
    for (name, meaning) in COUNTERS {
        describe_counter!(name, Unit::Count, meaning);
    }
    Ok(handle)
}
