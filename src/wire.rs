//! Hand-written encoders for the few shapes on the hot path: key-value pairs, watch events and response headers, as
//! protobuf and as gateway JSON.
//!
//! These bytes are made once per change and shared by every client, which a general serializer cannot do: it encodes
//! whole messages. Everything off the hot path goes through the generated code in `pb`. Tests hold the two together:
//! what is encoded here decodes there to the same message.
//!
//! Field numbers and JSON names are those of etcd's v3 API; JSON follows proto3 default omission, 64-bit integers are
//! strings, bytes are standard base64 with padding, and there is no white space.

pub mod chunk;
pub mod event;
pub mod header;
pub mod json;
pub mod key_value;
pub mod proto;

pub use header::Identity;
pub use key_value::KeyValue;
