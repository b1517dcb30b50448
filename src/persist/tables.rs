//! What is in the tables, and how entries of the journal change it.

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use crate::store::journal::Entry;
use crate::store::{Event, LeaseId, Origin, Record, Restored, Revision};
use crate::wire::Identity;

/// Version of what the tables hold.
pub(super) const FORMAT: i64 = 1;

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

/// A number that is kept beside the records.
pub(super) fn meta(database: &Database, name: &str) -> Result<Option<i64>, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(table) => Ok(table.get(name)?.map(|value| value.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Name of the number that stands for the keys that are kept; none for all keys.
pub(super) const KEYS: &str = "keys";

/// Keeps a number beside the records.
pub(super) fn set_meta(database: &Database, name: &str, value: i64) -> Result<(), redb::Error> {
    let write = begin(database)?;
    write.open_table(META)?.insert(name, value)?;
    write.commit()?;
    Ok(())
}

/// Begins to write. What is committed is known to be whole: the library would take a damaged commit of one phase for
/// one that a crash has cut off, and go back to the one before it, whose next revision then had two contents.
fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut write = database.begin_write()?;
    write.set_two_phase_commit(true);
    Ok(write)
}

/// Fills an empty file.
pub(super) fn create(database: &Database, first: Revision, identity: Identity) -> Result<(), redb::Error> {
    let write = begin(database)?;
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
        let secret: [u8; 32] = rand::random();
        write.open_table(AUTH)?.insert("key", secret.as_slice())?;
    }
    write.commit()?;
    Ok(())
}

/// The secret that signs tokens, made here for a file that is older than it.
pub(super) fn token_secret(database: &Database) -> Result<Vec<u8>, redb::Error> {
    let read = database.begin_read()?;
    let kept = match read.open_table(AUTH) {
        Ok(table) => table.get("key")?.map(|secret| secret.value().to_vec()),
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(secret) = kept {
        return Ok(secret);
    }
    let secret: [u8; 32] = rand::random();
    let write = begin(database)?;
    write.open_table(AUTH)?.insert("key", secret.as_slice())?;
    write.commit()?;
    Ok(secret.to_vec())
}

/// What the tables hold.
pub(super) fn load(database: &Database, fresh: Identity) -> Result<(Restored, Identity), redb::Error> {
    let read = database.begin_read()?;
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

/// Writes entries, all of them or none, as the append with this number. It is written with them, so that it tells
/// whether they are in the file after an error that leaves it open.
pub(super) fn write(database: &Database, entries: &[Entry], number: i64) -> Result<(), redb::Error> {
    let write = begin(database)?;
    for entry in entries {
        apply(&write, entry)?;
    }
    write.open_table(META)?.insert(APPENDS, number)?;
    write.commit()?;
    Ok(())
}

/// Name of the number of the last append.
pub(super) const APPENDS: &str = "appends";

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
        Entry::Cluster(id) => {
            write.open_table(META)?.insert("cluster_id", id.cast_signed())?;
        }
        Entry::LeaseRemoved(id, _) => {
            write.open_table(LEASES)?.remove(id.0)?;
        }
    }
    Ok(())
}
