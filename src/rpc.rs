//! The API: what each request of etcd's services does here, and the gRPC side of it.
//!
//! [`Node`] holds what every call needs. Each file adds the calls of one service to it, in terms of the generated
//! messages; the gRPC services and the JSON gateway both call these and add nothing but their encoding. Range and
//! Watch are answered from bytes that are made once and shared, see [`range`] and [`watch`].
#![allow(clippy::unused_async, reason = "all calls have one shape, whether they wait or not")]

pub mod auth;
pub mod cluster;
pub mod election;
pub mod ending;
mod hash;
pub mod kv;
pub mod lease;
pub mod lock;
pub mod maintenance;
pub mod node;
mod operations;
mod permissions;
mod queue;
pub mod range;
pub mod range_cache;
pub mod router;
mod sizes;
pub mod status;
pub mod watch;

pub use node::Node;
pub use status::EtcdError;
