//! Envoy's resources as both the xDS client and the translator see them: the five types, decoding, the names that a
//! resource refers to, and proto3 JSON for files.
//!
//! Does no I/O and knows nothing of APISIX.

pub mod any;
pub mod decode;
pub mod json;
pub mod references;
pub mod resource;

pub use decode::{DecodeError, decode};
pub use references::references;
pub use resource::{Resource, ResourceChange, ResourceType};
