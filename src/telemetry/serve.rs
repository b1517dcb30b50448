//! Metrics of the served port.

subject! {
    /// 1 when a complete configuration is served and the server is not stopping
    Gauge READY = "confcast_ready";
    /// Connections accepted on the served port
    Counter CONNECTIONS = "confcast_connections_total";
}
