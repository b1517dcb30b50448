//! A mirror of an etcd, or of another confcast: the same keys at the same revisions.
//!
//! One watch brings everything that changes; what was missed is read as a whole and compared. Reads are answered from
//! the store, after the etcd has said how far it is, once for all who ask at that moment. Writes go to the etcd.

pub mod client;
pub mod engine;
pub mod forward;
mod history;
pub mod link;
pub mod mirror;
mod pages;
pub mod prefixes;
mod read_index;
mod within;

/// Metadata of the requests of mirrors and publishers. A confcast answers their reads only while it knows that
/// they are linearizable, and their watches only with what it knows revision by revision. An etcd does not look at it.
pub const MIRROR: &str = "confcast-mirror";

pub use client::{Client, ClientError};
pub use link::{Cluster, Upstream};
pub use prefixes::Prefixes;
