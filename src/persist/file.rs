//! The file itself: it is there as a whole or not at all, and what was altered from outside is found out.

use std::fs;
use std::io;
use std::path::Path;

use redb::{Builder, Database, DatabaseError};

use super::OpenError;

/// Opens a file that there is. All of it is read and compared with its checksums, whether it was closed well or not.
pub(super) fn open(path: &Path) -> Result<Database, DatabaseError> {
    Builder::new().set_check_integrity_on_open(true).open(path)
}

/// Opens a file again that this process has closed after an error.
pub(super) fn reopen(path: &Path) -> Result<Database, DatabaseError> {
    Builder::new().open(path)
}

/// Makes a file that has what `fill` puts into it. It gets its name when it is complete, so that a file with the name
/// that cannot be read is always one that was damaged.
pub(super) fn create(path: &Path, fill: impl Fn(&Database) -> Result<(), redb::Error>) -> Result<Database, OpenError> {
    let directory = |source| OpenError::Directory { path: path.into(), source };
    let new = path.with_extension("new");
    let database = match Database::create(&new) {
        Err(DatabaseError::DatabaseAlreadyOpen) => return Err(OpenError::of(path, DatabaseError::DatabaseAlreadyOpen)),
        Ok(database) => database,
        // Left by a server that was killed while it made it.
        Err(_) => {
            fs::remove_file(&new).map_err(directory)?;
            Database::create(&new).map_err(|error| OpenError::of(&new, error))?
        }
    };
    fill(&database).map_err(|source| OpenError::Damaged { path: new.clone(), source: Box::new(source) })?;
    // Another process may have been as fast, whose file is not replaced.
    match fs::hard_link(&new, path) {
        Ok(()) => fs::remove_file(&new).map_err(directory)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(OpenError::of(path, DatabaseError::DatabaseAlreadyOpen));
        }
        // Not every file system has links.
        Err(_) => fs::rename(&new, path).map_err(directory)?,
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    // So that the name is durable, too. A system that cannot sync a directory does so by itself.
    let _ = fs::File::open(parent).and_then(|parent| parent.sync_all());
    Ok(database)
}
