//! Settings of limits.

use super::{File, SettingsError, wrong};
use crate::cli::args::limits::LimitArgs;
use crate::config::limits::{JSON_DEPTH, Limits};
use crate::config::memory::{Budget, LEAST};

/// What the file says about limits.
pub(super) fn of_file(file: &File) -> LimitArgs {
    LimitArgs {
        max_connections: file.max_connections,
        max_connections_per_address: file.max_connections_per_address,
        max_watch_streams_per_connection: file.max_watch_streams_per_connection,
        max_concurrent_streams: file.max_concurrent_streams,
        max_watchers_per_stream: file.max_watchers_per_stream,
        max_leases: file.max_leases,
        max_request_bytes: file.max_request_bytes,
        max_txn_ops: file.max_txn_ops,
        max_answer_mib: file.max_answer_mib,
        max_header_bytes: file.max_header_bytes,
        max_header_fields: file.max_header_fields,
        max_json_depth: file.max_json_depth,
        max_failed_logins: file.max_failed_logins,
        memory_budget_mib: file.memory_budget_mib,
    }
}

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
        concurrent_streams: of(|args| args.max_concurrent_streams, default.concurrent_streams),
        watchers: of(|args| args.max_watchers_per_stream, default.watchers),
        leases: of(|args| args.max_leases, default.leases),
        request_bytes: of(|args| args.max_request_bytes, default.request_bytes),
        txn_ops: of(|args| args.max_txn_ops, default.txn_ops),
        answer_bytes: of(|args| args.max_answer_mib.map(|mib| mib.saturating_mul(1 << 20)), default.answer_bytes),
        header_bytes: of(|args| args.max_header_bytes, default.header_bytes),
        header_fields: of(|args| args.max_header_fields, default.header_fields),
        json_depth: of(|args| args.max_json_depth, default.json_depth).min(JSON_DEPTH),
        failed_logins: of(|args| args.max_failed_logins, default.failed_logins),
    }
}

/// The budget of memory that `flags` set, or else `file`.
pub(super) fn memory(flags: &LimitArgs, file: &LimitArgs) -> Result<Option<Budget>, SettingsError> {
    let mib = flags.memory_budget_mib.or(file.memory_budget_mib).filter(|mib| *mib > 0);
    let budget = mib.map(|mib| Budget(mib.saturating_mul(1 << 20)));
    match budget {
        Some(Budget(bytes)) if bytes < LEAST => {
            Err(wrong("--memory-budget-mib", format!("use at least {}, or 0 for none", LEAST >> 20)))
        }
        budget => Ok(budget),
    }
}
