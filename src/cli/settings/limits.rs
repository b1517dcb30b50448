//! Settings of limits.

use super::{SettingsError, wrong};
use crate::cli::args::limits::LimitArgs;
use crate::config::limits::Limits;
use crate::config::memory::{Budget, LEAST};

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
