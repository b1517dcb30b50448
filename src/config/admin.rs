//! Settings of the admin port.

use std::io;
use std::path::{Path, PathBuf};

/// Shortest token in bytes: one that cannot be guessed.
pub const MIN_TOKEN: usize = 32;

/// Who may do more than look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminAccess {
    /// File with the token that must be shown. Default none: then only a port on a loopback address takes changes.
    pub token_file: Option<PathBuf>,
    /// Whether streams, interests and the view are shown, to those who may do more than look. Default no.
    pub debug: bool,
}

/// The token in a file.
pub fn token(path: &Path) -> io::Result<Vec<u8>> {
    Ok(std::fs::read(path)?.trim_ascii().to_vec())
}
