//! What is logged, as it can be changed while the program runs.

use std::fmt::Debug;

/// Decides what is logged. The program that installs a subscriber for `tracing` knows how.
pub trait LogFilter: Debug + Send + Sync {
    /// The levels: one, or levels by module.
    fn levels(&self) -> String;

    /// Changes them at once; nothing is changed if they are refused, with the reason.
    fn set(&self, levels: &str) -> Result<(), String>;
}
