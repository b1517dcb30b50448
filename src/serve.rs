//! The port: one listener for gRPC over HTTP/2 and the JSON gateway over HTTP/1.1.
//!
//! hyper does HTTP/1.1 and h2 does HTTP/2; what is here decides which one a connection speaks, puts shared bytes into
//! responses without copying, writes the streams of a connection together, lets a watch over HTTP/1.1 have its socket
//! for itself, and ends connections in an order that starts no storm.

pub mod body;
mod coalesce;
pub mod connection;
mod drain;
mod exchange;
mod gate;
pub mod grpc;
mod http1;
mod http2;
pub mod listener;
pub mod memory;
pub mod request;
pub mod rope;
pub mod sniff;
pub mod socket;
pub mod streams;
pub mod takeover;
pub mod tls;
pub mod traffic;
mod unflushed;

pub use connection::{Port, Service, Times};
pub use listener::{Stop, bind, serve};
