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
/// The quota of keys, beyond which clients may not write.
pub const OF_SPACE: &str = "space";
/// The limit on bytes of requests, messages and bodies.
pub const OF_REQUEST: &str = "request_bytes";
/// The limit on operations of a transaction.
pub const OF_TXN: &str = "txn_ops";
/// The limit on bytes of an answer.
pub const OF_ANSWER: &str = "answer_bytes";
/// The limits on bytes and fields of headers.
pub const OF_HEADERS: &str = "headers";
/// The limit on levels of JSON.
pub const OF_JSON: &str = "json_depth";
/// The time from a connection to its first bytes.
pub const OF_HANDSHAKE: &str = "handshake";
/// The time until the next request over HTTP/1.1, which connections that are not used any more reach as well.
pub const OF_NEXT_REQUEST: &str = "next_request";
/// The time for the answer to a ping.
pub const OF_KEEPALIVE: &str = "keepalive";
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
    OF_SPACE,
    OF_REQUEST,
    OF_TXN,
    OF_ANSWER,
    OF_HEADERS,
    OF_JSON,
    OF_HANDSHAKE,
    OF_NEXT_REQUEST,
    OF_KEEPALIVE,
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
    /// What was refused because there is too much of it, and connections that were closed because they took too long
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

/// Counts what a limit has refused.
pub fn refused(limit: &'static str) {
    metrics::counter!(REFUSED, "limit" => limit).increment(1);
}
