//! Flags about limits.

use clap::Args;

/// Limits on what clients may hold, and on what they may ask for.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Limits (0 for none)")]
pub(in crate::cli) struct LimitArgs {
    /// Connections on the port for clients; the system's limit of open files holds as well [default: 250000]
    #[arg(long, env = "CONFCAST_MAX_CONNECTIONS", value_name = "COUNT")]
    pub(in crate::cli) max_connections: Option<usize>,
    /// Connections from one address; for IPv6 from one /64 [default: 0]
    #[arg(long, env = "CONFCAST_MAX_CONNECTIONS_PER_ADDRESS", value_name = "COUNT")]
    pub(in crate::cli) max_connections_per_address: Option<usize>,
    /// Watch streams on one connection [default: 10000]
    #[arg(long, env = "CONFCAST_MAX_WATCH_STREAMS_PER_CONNECTION", value_name = "COUNT")]
    pub(in crate::cli) max_watch_streams_per_connection: Option<usize>,
    /// Requests at the same time on one connection of HTTP/2, watch streams among them [default: 4096 more than
    /// --max-watch-streams-per-connection]
    #[arg(long, env = "CONFCAST_MAX_CONCURRENT_STREAMS", value_name = "COUNT")]
    pub(in crate::cli) max_concurrent_streams: Option<usize>,
    /// Watchers on one watch stream [default: 10000]
    #[arg(long, env = "CONFCAST_MAX_WATCHERS_PER_STREAM", value_name = "COUNT")]
    pub(in crate::cli) max_watchers_per_stream: Option<usize>,
    /// Leases [default: 100000]
    #[arg(long, env = "CONFCAST_MAX_LEASES", value_name = "COUNT")]
    pub(in crate::cli) max_leases: Option<usize>,
    /// Bytes of a request that writes; a message of any call may have 512 KiB more, and a body in JSON a third more than
    /// that [default: 1572864]
    #[arg(long, env = "CONFCAST_MAX_REQUEST_BYTES", value_name = "BYTES")]
    pub(in crate::cli) max_request_bytes: Option<usize>,
    /// Operations on each side of a transaction, those of inner ones among them, and comparisons [default: 128]
    #[arg(long, env = "CONFCAST_MAX_TXN_OPS", value_name = "COUNT")]
    pub(in crate::cli) max_txn_ops: Option<usize>,
    /// MiB of keys and values in the answer to a range or to a transaction that only reads. Who asks for more is refused,
    /// and has to ask page by page, with a limit; APISIX does not do that [default: 0]
    #[arg(long, env = "CONFCAST_MAX_ANSWER_MIB", value_name = "MIB")]
    pub(in crate::cli) max_answer_mib: Option<usize>,
    /// Bytes of a request's headers; over HTTP/1.1 never more than 400 KiB [default: 16384]
    #[arg(long, env = "CONFCAST_MAX_HEADER_BYTES", value_name = "BYTES")]
    pub(in crate::cli) max_header_bytes: Option<usize>,
    /// Fields in a request's headers; over HTTP/1.1 never more than 4096 [default: 100]
    #[arg(long, env = "CONFCAST_MAX_HEADER_FIELDS", value_name = "COUNT")]
    pub(in crate::cli) max_header_fields: Option<usize>,
    /// Levels of objects and lists inside of each other at which JSON is refused; never more than 128 [default: 128]
    #[arg(long, env = "CONFCAST_MAX_JSON_DEPTH", value_name = "COUNT")]
    pub(in crate::cli) max_json_depth: Option<usize>,
    /// Memory in MiB for keys, history, requests and answers; history is cut, and requests are refused, before there is
    /// more of them; 64 or more [default: 0]
    #[arg(long, env = "CONFCAST_MEMORY_BUDGET_MIB", value_name = "MIB")]
    pub(in crate::cli) memory_budget_mib: Option<usize>,
    /// Failed log-ins of one user from one address, in a minute; five times as many from one address with any names
    /// [default: 10]
    #[arg(long, env = "CONFCAST_MAX_FAILED_LOGINS", value_name = "COUNT")]
    pub(in crate::cli) max_failed_logins: Option<usize>,
}
