//! Flags for what happens when a source takes most of its configuration away.

use clap::Args;

/// The guard.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct GuardArgs {
    /// Percent of the objects that a change of the source may take away at once; one that takes more, and more than 20
    /// objects, is held back for a while, as it is often a mistake; 100 for no guard [default: 50]
    #[arg(long, env = "CONFCAST_REMOVAL_GUARD_PERCENT", value_name = "PERCENT")]
    pub(in crate::cli) removal_guard_percent: Option<u8>,
    /// Seconds for which it is held back, while the last good configuration is served [default: 30]
    #[arg(long, env = "CONFCAST_REMOVAL_GUARD_SECONDS", value_name = "SECONDS")]
    pub(in crate::cli) removal_guard_seconds: Option<u64>,
}
