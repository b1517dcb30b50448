//! How much history is kept.

use std::time::Duration;

/// Bounds on the log. A commit leaves it when it is beyond any of them; the newest commit always stays.
///
/// History serves watchers that reconnect and reads at old revisions. One that asks for more than there is gets the
/// "compacted" answer and reads the current state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Most commits. Default 100,000.
    pub commits: usize,
    /// Most bytes of keys and values in events. Default 256 MiB.
    pub bytes: usize,
    /// Greatest age. Default one hour.
    pub age: Duration,
    /// Most bytes of memory for keys and history together, by an estimate. Default [`usize::MAX`], which is for none.
    pub memory: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { commits: 100_000, bytes: 256 << 20, age: Duration::from_hours(1), memory: usize::MAX }
    }
}
