//! Metrics of the served port.

subject! {
    /// 1 when a complete configuration is served and the server is not stopping
    Gauge READY = "confcast_ready";
    /// Connections accepted on the served port
    Counter CONNECTIONS = "confcast_connections_total";
    /// Handshakes of TLS that failed
    Counter TLS_FAILED = "confcast_tls_handshakes_failed_total";
    /// When the certificate that clients are shown ends, in seconds since the epoch; 0 without TLS
    Gauge TLS_EXPIRY = "confcast_tls_certificate_expiry_seconds";
}
