//! The port: one listener for gRPC over HTTP/2 and the JSON gateway over HTTP/1.1.
//!
//! hyper does the protocols; what is here decides which one a connection speaks, puts shared bytes into responses
//! without copying, and ends connections in an order that starts no storm.

pub mod body;
pub mod connection;
pub mod grpc;
pub mod listener;
pub mod rope;
pub mod sniff;

pub use connection::{Service, Times};
pub use listener::{Stop, bind, serve};
