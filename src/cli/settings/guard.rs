//! Settings for what happens when a source takes most of its configuration away, checked.

use std::time::Duration;

use super::{SettingsError, wrong};
use crate::view::Guard;

/// The guard.
pub(super) fn resolve(percent: Option<u8>, seconds: Option<u64>) -> Result<Guard, SettingsError> {
    let mut guard = Guard::default();
    if let Some(percent) = percent {
        if percent > 100 {
            return Err(wrong("--removal-guard-percent", "use 0 to 100; 100 is no guard"));
        }
        guard.percent = percent;
    }
    guard.wait = seconds.map_or(guard.wait, Duration::from_secs);
    Ok(guard)
}
