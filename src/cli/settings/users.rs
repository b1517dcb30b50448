//! Users.

use super::{SettingsError, wrong};
use crate::config::Config;

/// Reads the file with the users, if there is one, so that what is wrong with it is said at once.
pub(super) fn check(config: &Config) -> Result<(), SettingsError> {
    let Some(file) = config.users() else { return Ok(()) };
    file.read().map(drop).map_err(|error| wrong("--users-file", error))
}
