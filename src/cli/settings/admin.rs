//! The admin port.

use std::path::PathBuf;

use super::{SettingsError, wrong};
use crate::config::admin::{AdminAccess, MIN_TOKEN, token};

/// Checks the settings and the file that they name.
pub(super) fn resolve(token_file: Option<PathBuf>, debug: bool) -> Result<AdminAccess, SettingsError> {
    if let Some(path) = &token_file {
        let setting = format!("--admin-token-file {}", path.display());
        if token(path).map_err(|error| wrong(&setting, error))?.len() < MIN_TOKEN {
            let reason = format!("needs {MIN_TOKEN} characters; make them with: head -c 32 /dev/urandom | base64");
            return Err(wrong(&setting, reason));
        }
    }
    Ok(AdminAccess { token_file, debug })
}
