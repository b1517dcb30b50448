//! Watching: how a commit reaches thousands of streams at the cost of writing the bytes.
//!
//! The store's log is the only queue. A *watcher* is a cursor into it (the next revision it wants) and an
//! [`Interest`] (which keys, which events, with or without the previous pair). Watchers with the same interest share
//! it, and with it the [`Frame`]s: the events of a stretch of the log, encoded once per wire format. What differs from
//! stream to stream is a header of some 50 bytes.
//!
//! A commit wakes only the streams whose interest it hits; [`Hub::run`] does it, so that whoever commits does not
//! wait for watchers. A stream that is not read costs its cursor and nothing more: it is not even looked at until
//! its connection has room again. When the log has moved past a cursor and events of its interest are lost, the
//! watcher is told "compacted", as etcd does; a watcher that lost nothing never is (`INV-6`).

pub mod delivery;
pub mod frame;
pub mod hub;
pub mod interest;
mod intervals;
pub mod lag;
pub mod message;
mod registry;
pub mod session;
pub mod stream;

pub use delivery::{Delivery, Progress};
pub use frame::{Frame, Part};
pub use hub::Hub;
pub use interest::{Interest, Scope};
pub use lag::Lag;
pub use message::{Cancel, DENIED, Message, REPLACED};
pub use session::{Create, Permit, Session, WatchId};
pub use stream::{Cursor, Protocol, Stream};
