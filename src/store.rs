//! The revisioned store: an etcd-like key space whose readers never wait.
//!
//! One thread, the *sequencer*, makes all changes. A change is a *commit*: one revision and all of its events. The
//! current state, the retained log of commits and the floor below which history is gone are one immutable
//! [`Snapshot`], published by swapping a pointer; a reader loads it once and sees a single point in time for as long
//! as it wants (`INV-1`). Nothing is published before the journal has it (`INV-2`), so a revision that any client saw
//! survives a crash.
//!
//! The store does no I/O of its own and knows nothing of its readers: whoever wants to follow it waits on
//! [`Store::changes`] and reads the log.

pub mod commit;
pub mod index;
pub mod journal;
pub mod key_range;
pub mod lease;
pub mod ops;
pub mod quota;
pub mod record;
pub mod retention;
pub mod revision;
pub mod sequencer;
pub mod snapshot;
pub mod tombstones;
pub mod transaction;
pub mod writer;

pub use commit::{Commit, Event};
pub use journal::{Journal, JournalError, MemoryOnly};
pub use key_range::KeyRange;
pub use lease::LeaseId;
pub use ops::OpError;
pub use quota::Quota;
pub use record::{Origin, Record};
pub use retention::Retention;
pub use revision::Revision;
pub use sequencer::{Store, SubmitError};
pub use snapshot::{ReadError, Restored, Snapshot, View};
pub use writer::Writer;
