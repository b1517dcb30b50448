//! Just as much of the protocols as a load needs: cheap to read, so that the load generator is not what is measured.

pub(crate) mod chunks;
pub(crate) mod grpc;
pub(crate) mod h2;

use crate::content::Event;

/// What a watch stream said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The watcher exists.
    Created,
    /// An event.
    Event(Event),
    /// The watcher has ended, as what it wanted is gone up to this revision; zero for another reason.
    Canceled(i64),
    /// The connection has ended, which is told only where it may.
    Gone,
    /// Anything else, which is a fault of the server here.
    Other,
}
