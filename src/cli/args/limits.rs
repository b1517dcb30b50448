//! Flags about limits.

use clap::Args;

/// Limits on what clients may hold.
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
    /// Watchers on one watch stream [default: 10000]
    #[arg(long, env = "CONFCAST_MAX_WATCHERS_PER_STREAM", value_name = "COUNT")]
    pub(in crate::cli) max_watchers_per_stream: Option<usize>,
    /// Leases [default: 100000]
    #[arg(long, env = "CONFCAST_MAX_LEASES", value_name = "COUNT")]
    pub(in crate::cli) max_leases: Option<usize>,
    /// Memory in MiB for keys, history, requests and answers; history is cut, and requests are refused, before there is
    /// more of them; 64 or more [default: 0]
    #[arg(long, env = "CONFCAST_MEMORY_BUDGET_MIB", value_name = "MIB")]
    pub(in crate::cli) memory_budget_mib: Option<usize>,
    /// Failed log-ins of one user from one address, in a minute; five times as many from one address with any names
    /// [default: 10]
    #[arg(long, env = "CONFCAST_MAX_FAILED_LOGINS", value_name = "COUNT")]
    pub(in crate::cli) max_failed_logins: Option<usize>,
}
