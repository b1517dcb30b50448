//! Metrics of the served port.

/// Connections of HTTP/1.1.
pub const HTTP1: &str = "http1";
/// Connections of HTTP/2, which are those of gRPC, nearly all.
pub const HTTP2: &str = "http2";

/// The limit on connections in total.
pub const OF_CONNECTIONS: &str = "connections";
/// The limit on connections from one address.
pub const OF_ADDRESS: &str = "connections_per_address";
/// The limit on watch streams of one connection.
pub const OF_STREAMS: &str = "watch_streams";
/// The limit on watchers of one stream.
pub const OF_WATCHERS: &str = "watchers";
/// The limit on the memory of requests and answers.
pub const OF_MEMORY: &str = "memory";
/// The limit on leases.
pub const OF_LEASES: &str = "leases";
/// The limit on failed log-ins of one user from one address.
pub const OF_LOGINS: &str = "failed_logins";
/// The limit on failed log-ins from one address.
pub const OF_LOGINS_OF_ADDRESS: &str = "failed_logins_per_address";
/// The limit on failed log-ins of one user.
pub const OF_LOGINS_OF_USER: &str = "failed_logins_per_user";
/// All limits.
pub const LIMITS: &[&str] = &[
    OF_CONNECTIONS,
    OF_ADDRESS,
    OF_STREAMS,
    OF_WATCHERS,
    OF_LEASES,
    OF_MEMORY,
    OF_LOGINS,
    OF_LOGINS_OF_ADDRESS,
    OF_LOGINS_OF_USER,
];

/// The port for clients.
pub const CLIENTS: &str = "clients";
/// The port for operators.
pub const ADMIN: &str = "admin";
/// Both ports.
pub const PORTS: &[&str] = &[CLIENTS, ADMIN];

subject! {
    /// 1 when a complete configuration is served and the server is not stopping
    Gauge READY = "confcast_ready";
    /// Connections accepted on the served port
    Counter CONNECTIONS = "confcast_connections_total";
    /// Open connections on the served port
    Gauge OPEN = "confcast_connections";
    /// Bytes that were given to the sockets of clients, before TLS
    Counter SENT = "confcast_sent_bytes_total", "protocol" in &[HTTP1, HTTP2];
    /// Bytes that came from clients
    Counter RECEIVED = "confcast_received_bytes_total", "protocol" in &[HTTP1, HTTP2];
    /// What was refused because there is too much of it
    Counter REFUSED = "confcast_refused_total", "limit" in LIMITS;
    /// Memory of requests that are being read and answers that are being sent, in bytes, as far as it is counted
    Gauge MEMORY = "confcast_requests_memory_bytes";
    /// Memory of ranges that are kept as they are written, in bytes
    Gauge RANGES = "confcast_ranges_memory_bytes";
    /// The budget of memory, in bytes; 0 for none
    Gauge BUDGET = "confcast_memory_budget_bytes";
    /// Times that the file of users was looked at and could not be used, while the users from before are kept
    Counter USERS_FAILED = "confcast_users_file_failed_total";
    /// Handshakes of TLS that failed
    Counter TLS_FAILED = "confcast_tls_handshakes_failed_total";
    /// When the certificate that is shown ends, in seconds since the epoch; 0 without TLS
    Gauge TLS_EXPIRY = "confcast_tls_certificate_expiry_seconds", "port" in PORTS;
}
