//! Metrics of the connection to an etcd that is mirrored or written to.

subject! {
    /// 1 when the upstream etcd is connected
    Gauge CONNECTED = "confcast_upstream_connected";
    /// Connections to the upstream etcd that ended
    Counter RECONNECTS = "confcast_upstream_reconnects_total";
    /// When the upstream etcd last sent something, in seconds since 1970; 0 for never
    Gauge LAST_RESPONSE = "confcast_upstream_last_response_timestamp_seconds";
}
