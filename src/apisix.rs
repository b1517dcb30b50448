//! APISIX's configuration objects: their kinds, where they live in etcd, and the rules they must satisfy.
//!
//! Knows nothing of Envoy, of the store or of any I/O.

pub mod object;

pub use object::{Kind, Object, ObjectKey};
