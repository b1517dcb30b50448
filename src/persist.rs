//! The data directory: what must survive a restart, in one transactional file.
//!
//! Every change is in the file, and the file is synced, before the change is visible to anybody (`INV-2`), so that a
//! revision that a client saw is never used again for something else, whenever the process dies. History is not kept,
//! only the state, the last revision, and when deleted keys were deleted, which is enough to tell a returning watcher
//! whether it lost anything.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};

use crate::store::journal::Entry;
use crate::store::{Event, Journal, JournalError, LeaseId, Origin, Record, Restored, Revision};
use crate::wire::Identity;

/// Name of the file in the directory.
const FILE: &str = "confcast.redb";

/// Version of what the tables hold.
const FORMAT: i64 = 1;

/// Deletions remembered; beyond it they are all forgotten, and watchers from before are told to reload.
const TOMBSTONES: u64 = 100_000;

/// Owner, lease, create revision, mod revision, version, value.
type Row<'a> = (u8, i64, i64, i64, i64, &'a [u8]);

const META: TableDefinition<'_, &str, i64> = TableDefinition::new("meta");
const RECORDS: TableDefinition<'_, &[u8], Row<'_>> = TableDefinition::new("records");
const DELETED: TableDefinition<'_, &[u8], i64> = TableDefinition::new("deleted");
/// Under `state` what the keeper of the users keeps, under `key` the secret that signs tokens.
const AUTH: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("auth");
const LEASES: TableDefinition<'_, i64, i64> = TableDefinition::new("leases");

/// An open data directory.
#[derive(Debug)]
pub struct DataDir {
    database: Database,
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
}

impl DataDir {
    /// Opens the directory, making it if there is none. A new one starts after `first` with `fresh` as its identity.
    pub fn open(path: &Path, first: Revision, fresh: Identity) -> Result<Opened, OpenError> {
        std::fs::create_dir_all(path).map_err(|source| OpenError::Directory { path: path.into(), source })?;
        let file = path.join(FILE);
        let database = Database::create(&file).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path.into()),
            DatabaseError::Storage(redb::StorageError::Io(source)) => {
                OpenError::Directory { path: file.clone(), source }
            }
            other => OpenError::Damaged { path: file.clone(), source: Box::new(other.into()) },
        })?;
        let damaged = |source: redb::Error| OpenError::Damaged { path: file.clone(), source: Box::new(source) };
        let mut dir = Self { database };
        let (restored, identity, is_new) = match dir.meta("format").map_err(damaged)? {
            None => {
                dir.create(first, fresh).map_err(damaged)?;
                (Restored::empty_at(first), fresh, true)
            }
            Some(FORMAT) => {
                let (restored, identity) = dir.load(fresh).map_err(damaged)?;
                (restored, identity, false)
            }
            Some(found) => return Err(OpenError::Format { path: file, found }),
        };
        let token_secret = dir.token_secret().map_err(damaged)?;
        Ok(Opened { dir, restored, identity, token_secret, is_new })
    }

    fn meta(&self, name: &str) -> Result<Option<i64>, redb::Error> {
        match self.database.begin_read()?.open_table(META) {
            Ok(table) => Ok(table.get(name)?.map(|value| value.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn create(&mut self, first: Revision, identity: Identity) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("revision", first.0)?;
            meta.insert("deleted_unknown_through", first.0)?;
            meta.insert("cluster_id", identity.cluster_id.cast_signed())?;
            meta.insert("member_id", identity.member_id.cast_signed())?;
            write.open_table(RECORDS)?;
            write.open_table(DELETED)?;
            write.open_table(LEASES)?;
        }
        write.commit()?;
        Ok(())
    }

    /// The secret, made when it is first asked for.
    fn token_secret(&self) -> Result<Vec<u8>, redb::Error> {
        let write = self.database.begin_write()?;
        let secret = {
            let mut auth = write.open_table(AUTH)?;
            let kept = auth.get("key")?.map(|secret| secret.value().to_vec());
            if let Some(secret) = kept {
                secret
            } else {
                let secret: [u8; 32] = rand::random();
                auth.insert("key", secret.as_slice())?;
                secret.to_vec()
            }
        };
        write.commit()?;
        Ok(secret)
    }

    fn load(&self, fresh: Identity) -> Result<(Restored, Identity), redb::Error> {
        let read = self.database.begin_read()?;
        let meta = read.open_table(META)?;
        let number = |name: &str| -> Result<i64, redb::Error> { Ok(meta.get(name)?.map_or(0, |value| value.value())) };
        let identity = Identity {
            cluster_id: number("cluster_id")?.cast_unsigned(),
            member_id: number("member_id")?.cast_unsigned(),
            ..fresh
        };
        let mut restored = Restored {
            compacted: meta.get("compacted")?.map_or(Revision::NEVER, |value| Revision(value.value())),
            deleted_unknown_through: Revision(number("deleted_unknown_through")?),
            ..Restored::empty_at(Revision(number("revision")?))
        };
        for row in read.open_table(RECORDS)?.iter()? {
            let (key, row) = row?;
            let (origin, lease, create, modified, version, value) = row.value();
            let origin = if origin == 0 { Origin::Client } else { Origin::Source };
            let numbers = (Revision(create), Revision(modified), version);
            let (key, value) = (Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value));
            restored.records.push(Record::new(key, value, numbers, LeaseId(lease), origin));
        }
        for row in read.open_table(DELETED)?.iter()? {
            let (key, revision) = row?;
            restored.tombstones.push((Bytes::copy_from_slice(key.value()), Revision(revision.value())));
        }
        for row in read.open_table(LEASES)?.iter()? {
            let (id, ttl) = row?;
            restored.leases.push((LeaseId(id.value()), ttl.value()));
        }
        restored.auth = match read.open_table(AUTH) {
            Ok(table) => table.get("state")?.map(|state| Bytes::copy_from_slice(state.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        };
        Ok((restored, identity))
    }

    fn write(&self, entries: &[Entry]) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        for entry in entries {
            apply(&write, entry)?;
        }
        write.commit()?;
        Ok(())
    }
}

fn row(record: &Record) -> Row<'_> {
    let origin = u8::from(record.origin == Origin::Source);
    let (create, modified) = (record.create_revision.0, record.mod_revision.0);
    (origin, record.lease.0, create, modified, record.version, record.value.as_ref())
}

fn apply(write: &WriteTransaction, entry: &Entry) -> Result<(), redb::Error> {
    match entry {
        Entry::Commit(commit) => {
            let mut records = write.open_table(RECORDS)?;
            let mut deleted = write.open_table(DELETED)?;
            let mut meta = write.open_table(META)?;
            for Event { record, .. } in commit.events() {
                let key = record.key.as_ref();
                if record.version == 0 {
                    records.remove(key)?;
                    deleted.insert(key, record.mod_revision.0)?;
                } else {
                    records.insert(key, row(record))?;
                    deleted.remove(key)?;
                }
            }
            if commit.is_repair() || deleted.len()? > TOMBSTONES {
                deleted.retain(|_, _| false)?;
                meta.insert("deleted_unknown_through", commit.revision().0)?;
            }
            meta.insert("revision", commit.revision().0)?;
        }
        Entry::Compacted(revision) => {
            write.open_table(META)?.insert("compacted", revision.0)?;
        }
        Entry::Replaced(revision, all) => {
            let mut records = write.open_table(RECORDS)?;
            records.retain(|_, _| false)?;
            for record in all.iter() {
                records.insert(record.key.as_ref(), row(record))?;
            }
            write.open_table(DELETED)?.retain(|_, _| false)?;
            let mut meta = write.open_table(META)?;
            for name in ["revision", "deleted_unknown_through"] {
                meta.insert(name, revision.0)?;
            }
            meta.remove("compacted")?;
        }
        Entry::LeaseGranted(id, ttl) => {
            write.open_table(LEASES)?.insert(id.0, ttl)?;
        }
        Entry::Auth(state) => {
            write.open_table(AUTH)?.insert("state", state.as_ref())?;
        }
        Entry::LeaseRemoved(id) => {
            write.open_table(LEASES)?.remove(id.0)?;
        }
        Entry::Cluster(id) => {
            write.open_table(META)?.insert("cluster_id", id.cast_signed())?;
        }
    }
    Ok(())
}

impl Journal for DataDir {
    fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        self.write(entries).map_err(|error| JournalError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{KeyRange, Retention, Store};

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
