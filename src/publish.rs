//! Publishing into an etcd: of several replicas that follow the same source, one is elected, and writes what is
//! different into the etcd that all of them mirror.
//!
//! etcd is the only distributed part: it holds the election, and it refuses the writes of a leader that is none any
//! more, however late they come. There are no other promises to keep between replicas. Everything that is decided is
//! decided in the [`Engine`], which has no I/O and is simulated in the tests; the driver carries out what it says.

mod asking;
mod client;
mod driver;
mod election;
pub mod engine;
pub mod exchange;
mod failure;
mod follow;
pub mod held;
pub mod keys;
pub mod plan;
pub mod requests;
pub mod wanted;
mod writer;

pub use driver::{Desk, Publisher};
pub use engine::{Engine, Settings, Standby, Status};
pub use exchange::{Command, Event, Ticket};
pub use keys::Keys;
pub use plan::{Foreign, Limits};
pub use wanted::Wanted;
pub use writer::Published;
