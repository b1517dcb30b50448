//! Settings of limits.

use crate::cli::args::limits::LimitArgs;
use crate::config::limits::Limits;

/// The limits that `flags` set, or else `file`.
pub(super) fn resolve(flags: &LimitArgs, file: &LimitArgs) -> Limits {
    let default = Limits::default();
    let of = |get: fn(&LimitArgs) -> Option<usize>, default| match get(flags).or(get(file)) {
        None => default,
        Some(0) => usize::MAX,
        Some(count) => count,
    };
    Limits {
        connections: of(|args| args.max_connections, default.connections),
        connections_per_address: of(|args| args.max_connections_per_address, default.connections_per_address),
        watch_streams: of(|args| args.max_watch_streams_per_connection, default.watch_streams),
        watchers: of(|args| args.max_watchers_per_stream, default.watchers),
        leases: of(|args| args.max_leases, default.leases),
        failed_logins: of(|args| args.max_failed_logins, default.failed_logins),
    }
}
