//! etcd's operations on the store: Range, Put, `DeleteRange`, Txn, Compact and leases, with etcd's checks and outcomes.
//!
//! Reads work on any [`View`](super::View); changes are methods of [`Writer`](super::Writer) and run on the
//! sequencer. None of it knows a wire format.

pub mod lease;
pub mod range;
pub mod txn;
pub mod write;

use super::snapshot::ReadError;

pub use range::{Range, RangeResult, Sort, SortTarget};
pub use txn::{Compare, Op, OpResult, Txn, TxnResult};
pub use write::{DeleteRange, Put};

/// Why an operation was refused. The edge maps each to etcd's code and text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// A request without a key.
    #[error("key is not provided")]
    EmptyKey,
    /// `ignore_value` or `ignore_lease` for a key that does not exist, or an operation without content.
    #[error("key not found")]
    KeyNotFound,
    /// `ignore_value` together with a value.
    #[error("value is provided")]
    ValueProvided,
    /// `ignore_lease` together with a lease.
    #[error("lease is provided")]
    LeaseProvided,
    /// More comparisons or operations than a transaction may have.
    #[error("too many operations in txn request")]
    TooManyOps,
    /// A transaction that puts a key twice, or puts what it deletes.
    #[error("duplicate key given in txn request")]
    DuplicateKey,
    /// A revision that cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No such lease.
    #[error("requested lease not found")]
    LeaseNotFound,
    /// A lease with this id exists.
    #[error("lease already exists")]
    LeaseExists,
    /// A time to live above [`MAX_TTL`](super::lease::MAX_TTL).
    #[error("too large lease TTL")]
    LeaseTtlTooLarge,
    /// There are as many leases as there may be.
    #[error("too many leases")]
    TooManyLeases,
    /// There is no room for what clients write.
    #[error("mvcc: database space exceeded")]
    NoSpace,
    /// The key belongs to the configuration source, so that clients may only read it.
    #[error("{0} is managed by the configuration source and is read-only here")]
    OwnedBySource(String),
}
