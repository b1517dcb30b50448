//! confcast takes API-gateway configuration from a source, keeps it in a revisioned in-memory store and serves it
//! through the etcd v3 API to any number of Apache APISIX instances and etcd clients.
//!
//! `ARCHITECTURE.md` in the repository root is the map of this crate.

pub mod apisix;
pub mod envoy;
pub mod persist;
pub mod store;
pub mod watch;
pub mod wire;
