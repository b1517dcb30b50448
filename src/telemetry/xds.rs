//! Metrics of the connection to a control plane.

/// Types of resources, by the last part of their URL; `other` for what was not asked for.
pub const TYPES: &[&str] = &["Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration", "Secret", "other"];

subject! {
    /// 1 when the control plane is connected
    Gauge CONNECTED = "confcast_xds_connected";
    /// When the control plane last sent something, in seconds since 1970; 0 for never
    Gauge LAST_RESPONSE = "confcast_xds_last_response_timestamp_seconds";
    /// Streams to the control plane that ended
    Counter RECONNECTS = "confcast_xds_reconnects_total";
    /// Responses of the control plane
    Counter RESPONSES = "confcast_xds_responses_total", "type" in TYPES;
    /// Responses of the control plane that were refused in part or whole
    Counter NACKS = "confcast_xds_nacks_total", "type" in TYPES;
    /// Resources that came again with the same content
    Counter UNCHANGED = "confcast_xds_unchanged_total", "type" in TYPES;
}

/// The label for a type's URL.
pub fn label(type_url: &str) -> &'static str {
    let name = type_url.rsplit('.').next().unwrap_or_default();
    TYPES.iter().find(|known| **known == name).copied().unwrap_or("other")
}
