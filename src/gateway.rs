//! The JSON gateway: etcd's v3 API over HTTP/1.1, as APISIX uses it.
//!
//! Answers in the dialect of etcd 3.4 and 3.5, whose error bodies APISIX and others read: `error` beside `message`,
//! and `http_code` and `http_status` inside a stream. Accepts what either dialect accepts.

pub mod answer;
mod ends;
pub mod json;
pub mod path;
pub mod probes;
mod push;
mod requests;
pub mod routes;
mod streams;
mod watch;

pub use probes::Metrics;
pub use routes::Gateway;
