//! Metrics of the connection to an etcd that is mirrored or written to.

subject! {
    /// 1 when the upstream etcd is connected
    Gauge CONNECTED = "confcast_upstream_connected";
    /// Connections to the upstream etcd that ended
    Counter RECONNECTS = "confcast_upstream_reconnects_total";
    /// Times that history was lost, and the whole state compared instead
    Counter REPAIRS = "confcast_upstream_repairs_total";
    /// Times that the upstream etcd had another history, so that watchers were told to reload
    Counter HISTORIES = "confcast_upstream_new_histories_total";
    /// When the upstream etcd last sent something, in seconds since 1970; 0 for never
    Gauge LAST_RESPONSE = "confcast_upstream_last_response_timestamp_seconds";
}
