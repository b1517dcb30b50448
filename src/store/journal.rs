//! What the store asks of durable storage.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::commit::Commit;
use super::lease::LeaseId;
use super::record::Record;
use super::revision::Revision;

/// One thing that must not be forgotten.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A commit.
    Commit(Arc<Commit>),
    /// A Compact request raised the floor.
    Compacted(Revision),
    /// Another history has taken the place of this one: its revision, and all of its keys.
    Replaced(Revision, Arc<[Arc<Record>]>),
    /// A lease was granted, with its time to live in seconds.
    LeaseGranted(LeaseId, i64),
    /// A lease ended, with the time to live that it had.
    LeaseRemoved(LeaseId, i64),
    /// The users changed: all of them, in their keeper's own form.
    Auth(Bytes),
    /// The history is known to be that of this cluster.
    Cluster(u64),
}

/// Durable storage of the store's changes. Called by the sequencer alone.
pub trait Journal: fmt::Debug + Send {
    /// Makes all of `entries` durable, or none of them. Nothing in them is shown to anybody before this returns.
    fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError>;
}

/// The change could not be made durable and did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// There is no room.
    #[error("database space exceeded")]
    Full,
    /// Anything else.
    #[error("the change could not be written to the data directory: {0}")]
    Failed(String),
}

/// Keeps nothing: for servers without a data directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryOnly;

impl Journal for MemoryOnly {
    fn append(&mut self, _: &[Entry]) -> Result<(), JournalError> {
        Ok(())
    }
}
