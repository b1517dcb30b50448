//! confcast takes API-gateway configuration from a source, keeps it in a revisioned in-memory store and serves it
//! through the etcd v3 API to any number of Apache APISIX instances and etcd clients.
//!
//! `ARCHITECTURE.md` in the repository root is the map of this crate.

pub mod admin;
pub mod apisix;
pub mod app;
pub mod auth;
pub mod backoff;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod envoy;
pub mod gateway;
pub mod pb;
pub mod persist;
pub mod publish;
pub mod readiness;
pub mod rpc;
pub mod serve;
pub mod standalone;
pub mod store;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod traces;
pub mod translate;
pub mod upstream;
pub mod view;
pub mod watch;
pub mod wire;
pub mod xds;

pub use app::Server;
pub use config::{Config, Source};
