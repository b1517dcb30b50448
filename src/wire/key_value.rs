//! `mvccpb.KeyValue`.

use super::json::Object;
use super::proto::{bytes_len, int64_len, put_bytes, put_int64};

/// A key-value pair as it is written, borrowed from wherever it lives.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyValue<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Revision at which the key was created.
    pub create_revision: i64,
    /// Revision of the last change.
    pub mod_revision: i64,
    /// Number of changes since creation.
    pub version: i64,
    /// The value.
    pub value: &'a [u8],
    /// The lease that the key is attached to, 0 for none.
    pub lease: i64,
}

impl KeyValue<'_> {
    /// Length of the protobuf message.
    pub fn proto_len(&self) -> usize {
        bytes_len(1, self.key)
            + int64_len(2, self.create_revision)
            + int64_len(3, self.mod_revision)
            + int64_len(4, self.version)
            + bytes_len(5, self.value)
            + int64_len(6, self.lease)
    }

    /// Appends the protobuf message.
    pub fn put_proto(&self, buf: &mut Vec<u8>) {
        put_bytes(buf, 1, self.key);
        put_int64(buf, 2, self.create_revision);
        put_int64(buf, 3, self.mod_revision);
        put_int64(buf, 4, self.version);
        put_bytes(buf, 5, self.value);
        put_int64(buf, 6, self.lease);
    }

    /// Appends the JSON object.
    pub fn put_json(&self, buf: &mut Vec<u8>) {
        let mut object = Object::open(buf);
        object.bytes("key", self.key);
        object.int64("create_revision", self.create_revision);
        object.int64("mod_revision", self.mod_revision);
        object.int64("version", self.version);
        object.bytes("value", self.value);
        object.int64("lease", self.lease);
        object.close();
    }
}
