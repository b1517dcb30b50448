//! The data directory: what must survive a restart, in one transactional file.
//!
//! Every change is in the file, and the file is synced, before the change is visible to anybody (`INV-2`), so that a
//! revision that a client saw is never used again for something else, whenever the process dies. History is not kept,
//! only the state, the last revision, and when deleted keys were deleted, which is enough to tell a returning watcher
//! whether it lost anything.

mod file;
mod tables;

use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::{Database, DatabaseError};
use tokio::time::Instant;

use crate::store::journal::Entry;
use crate::store::{Journal, JournalError, Restored, Revision};
use crate::wire::Identity;
use tables::{APPENDS, FORMAT};

/// Name of the file in the directory.
const FILE: &str = "confcast.redb";

/// Pause after an error before the file is tried again, as that reads all of it.
const RETRY: Duration = Duration::from_secs(1);

/// An open data directory.
#[derive(Debug)]
pub struct DataDir {
    file: PathBuf,
    /// None after an error, as the library uses a file no more that it could not write.
    database: Option<Database>,
    /// Number of the last append that was written.
    appends: i64,
    failure: Option<Failure>,
}

/// Why nothing is written at the moment.
#[derive(Debug)]
struct Failure {
    error: JournalError,
    /// When it is tried again; none for never.
    again: Option<Instant>,
}

/// What a data directory held when it was opened.
#[derive(Debug)]
pub struct Opened {
    /// The directory, to be given to the store as its journal.
    pub dir: DataDir,
    /// What the store continues from.
    pub restored: Restored,
    /// The identity that the server keeps over restarts.
    pub identity: Identity,
    /// A secret of the directory's own, for signing tokens that are good after a restart.
    pub token_secret: Vec<u8>,
    /// Whether there was anything in it.
    pub is_new: bool,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or read.
    #[error("data directory {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("data directory {0} is in use by another process; every server needs one of its own")]
    InUse(PathBuf),
    /// The file is damaged, or not one of ours.
    #[error("data file {path}: {source}; move it away to start without the last known state")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
    /// A later version of confcast wrote it.
    #[error("data file {path} has format {found}, this version reads format {FORMAT}; use the version that wrote it")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// It has other keys than are to be served, so that some would be missing.
    #[error(
        "data file {0} is of a mirror with another --upstream-prefix; move it away, and what the etcd has is read anew"
    )]
    OtherKeys(PathBuf),
    /// It has none of our tables.
    #[error("data file {0} is not one of confcast's; move it away, or choose another directory")]
    Unknown(PathBuf),
}

impl OpenError {
    fn of(file: &Path, error: DatabaseError) -> Self {
        use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        let of_content = |kind| matches!(kind, InvalidData | InvalidInput | UnexpectedEof);
        match redb::Error::from(error) {
            redb::Error::DatabaseAlreadyOpen => Self::InUse(file.parent().unwrap_or(file).into()),
            redb::Error::Io(source) if !of_content(source.kind()) => Self::Directory { path: file.into(), source },
            other => Self::Damaged { path: file.into(), source: Box::new(other) },
        }
    }
}

impl DataDir {
    /// Opens the directory, making it if there is none. A new one starts after `first` with `fresh` as its identity.
    pub fn open(path: &Path, first: Revision, fresh: Identity) -> Result<Opened, OpenError> {
        std::fs::create_dir_all(path).map_err(|source| OpenError::Directory { path: path.into(), source })?;
        let file = path.join(FILE);
        let failed = |error| OpenError::of(&file, error);
        let damaged = |source: redb::Error| OpenError::Damaged { path: file.clone(), source: Box::new(source) };
        let is_new = !file.exists();
        let database = if is_new {
            file::create(&file, |database| tables::create(database, first, fresh))?
        } else {
            file::open(&file).map_err(failed)?
        };
        match tables::meta(&database, "format").map_err(damaged)? {
            Some(FORMAT) => {}
            Some(found) => return Err(OpenError::Format { path: file, found }),
            None => return Err(OpenError::Unknown(file)),
        }
        let (restored, identity) = tables::load(&database, fresh).map_err(damaged)?;
        let token_secret = tables::token_secret(&database).map_err(damaged)?;
        let appends = tables::meta(&database, APPENDS).map_err(damaged)?.unwrap_or(0);
        let dir = Self { file, database: Some(database), appends, failure: None };
        Ok(Opened { dir, restored, identity, token_secret, is_new })
    }

    /// Refuses a file that was written for other keys than those that this number stands for.
    pub fn must_be_of(&self, keys: i64) -> Result<(), OpenError> {
        let Some(database) = &self.database else { return Ok(()) };
        let damaged = |source: redb::Error| OpenError::Damaged { path: self.file.clone(), source: Box::new(source) };
        match tables::meta(database, tables::KEYS).map_err(damaged)?.unwrap_or(0) {
            known if known == keys => Ok(()),
            // Nothing is in it yet.
            _ if self.appends == 0 => tables::set_meta(database, tables::KEYS, keys).map_err(damaged),
            _ => Err(OpenError::OtherKeys(self.file.clone())),
        }
    }

    fn write(&mut self, entries: &[Entry]) -> Result<(), AppendError> {
        let database = if let Some(database) = self.database.take() {
            database
        } else {
            let database = file::reopen(&self.file).map_err(redb::Error::from)?;
            // What failed may be in the file after all. It was told not to have happened, and its revision was not
            // shown to anybody, so that only a server that starts from the file can go on.
            if tables::meta(&database, APPENDS)?.unwrap_or(0) != self.appends {
                return Err(AppendError::Ahead);
            }
            database
        };
        let number = self.appends + 1;
        // After an error the file is closed.
        tables::write(&database, entries, number)?;
        (self.database, self.appends) = (Some(database), number);
        Ok(())
    }
}

/// Why entries were not written.
#[derive(Debug, thiserror::Error)]
enum AppendError {
    #[error(transparent)]
    File(#[from] redb::Error),
    #[error(
        "the last change that failed has reached the file nevertheless; restart the server, which then knows of it"
    )]
    Ahead,
}

impl From<&AppendError> for JournalError {
    fn from(error: &AppendError) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error {
            AppendError::File(redb::Error::Io(source))
                if matches!(source.kind(), FileTooLarge | QuotaExceeded | StorageFull) =>
            {
                Self::Full
            }
            other => Self::Failed(other.to_string()),
        }
    }
}

impl Journal for DataDir {
    fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        self.try_append(entries).inspect_err(|_| {
            metrics::counter!(crate::telemetry::store::NOT_WRITTEN).increment(entries.len() as u64);
        })
    }
}

impl DataDir {
    fn try_append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        if let Some(failure) = &self.failure
            && failure.again.is_none_or(|again| Instant::now() < again)
        {
            return Err(failure.error.clone());
        }
        let Err(error) = self.write(entries) else {
            if self.failure.take().is_some() {
                tracing::info!(file = %self.file.display(), "changes are written again");
            }
            return Ok(());
        };
        if self.failure.is_none() || matches!(error, AppendError::Ahead) {
            tracing::error!(
                %error, file = %self.file.display(),
                "changes cannot be written, so that none is taken; reads and watches go on. Writing is tried again \
                 with a change once a second: make room for the file, or mend what the error says"
            );
        }
        let again = (!matches!(error, AppendError::Ahead)).then(|| Instant::now() + RETRY);
        let error = JournalError::from(&error);
        self.failure = Some(Failure { error: error.clone(), again });
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{KeyRange, LeaseId, Origin, Retention, Store};

    const IDENTITY: Identity = Identity { cluster_id: 11, member_id: 12, raft_term: 2 };

    fn open(path: &Path) -> Opened {
        let other = Identity { cluster_id: u64::MAX, ..IDENTITY };
        let fresh = if path.join(FILE).exists() { other } else { IDENTITY };
        DataDir::open(path, Revision(100), fresh).expect("opens")
    }

    #[tokio::test]
    async fn a_restart_continues_where_the_server_stopped() {
        let path = tempfile::tempdir().expect("a directory");
        let opened = open(path.path());
        assert!(opened.is_new);
        let secret = opened.token_secret.clone();
        let store = Store::open(opened.restored, Retention::default(), Box::new(opened.dir)).expect("a thread");
        store
            .submit(|writer| {
                writer.lease_grant(LeaseId(7), 60, LeaseId::NONE).expect("granted");
                for value in ["1", "2"] {
                    let mut transaction = writer.begin();
                    transaction.put("a".into(), value.into(), LeaseId(7), Origin::Client);
                    transaction.put("b".into(), value.into(), LeaseId::NONE, Origin::Source);
                    writer.commit(transaction);
                }
                let mut transaction = writer.begin();
                transaction.delete(b"b");
                writer.commit(transaction);
                writer.keep_auth("users".into());
            })
            .await
            .expect("durable");
        assert!(matches!(DataDir::open(path.path(), Revision(1), IDENTITY), Err(OpenError::InUse(_))));
        drop(store);

        let opened = reopen(path.path()).await;
        assert!(!opened.is_new);
        assert_eq!(opened.identity, IDENTITY, "the identity is kept");
        assert_eq!((opened.token_secret, opened.restored.auth.as_deref()), (secret, Some(b"users".as_ref())));
        let store = Store::open(opened.restored, Retention::default(), Box::new(opened.dir)).expect("a thread");
        let snapshot = store.snapshot();
        assert_eq!(snapshot.revision(), Revision(103));
        let record = snapshot.get(b"a").expect("kept");
        assert_eq!((record.create_revision.0, record.mod_revision.0, record.version), (101, 102, 2));
        assert!(snapshot.has_history(&KeyRange::single("a".into()), Revision(103)));
        assert!(!snapshot.has_history(&KeyRange::single("a".into()), Revision(102)));
        assert!(!snapshot.has_history(&KeyRange::single("b".into()), Revision(103)), "the deletion is remembered");
        assert!(snapshot.has_history(&KeyRange::single("c".into()), Revision(101)), "nothing happened there");
        let last = |writer: &mut crate::store::Writer| {
            writer.keep_cluster(u64::MAX);
            writer.lease_revoke(LeaseId(7))
        };
        assert!(store.submit(last).await.expect("durable").is_ok() && store.snapshot().is_empty());
        drop(store);
        let expected = Identity { cluster_id: u64::MAX, ..IDENTITY };
        assert_eq!(reopen(path.path()).await.identity, expected, "another history is of another cluster");
    }

    /// The sequencer closes the file a moment after the last handle on the store is gone.
    async fn reopen(path: &Path) -> Opened {
        loop {
            match DataDir::open(path, Revision(1), Identity { cluster_id: 1, member_id: 1, raft_term: 2 }) {
                Ok(opened) => return opened,
                Err(OpenError::InUse(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_file_of_something_else_is_refused_and_left_alone() {
        let path = tempfile::tempdir().expect("a directory");
        std::fs::write(path.path().join(FILE), "not a database").expect("written");
        let error = DataDir::open(path.path(), Revision(1), IDENTITY).expect_err("refused");
        assert!(matches!(error, OpenError::Damaged { .. } | OpenError::Directory { .. }), "{error}");
        assert_eq!(std::fs::read(path.path().join(FILE)).expect("there"), b"not a database");
    }
}
