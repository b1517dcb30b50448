//! JSON primitives in the gateway's dialect.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Writes the fields of one JSON object, each left out when it has its default value.
#[derive(Debug)]
pub struct Object<'a> {
    buf: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens the object.
    pub fn open(buf: &'a mut Vec<u8>) -> Self {
        buf.push(b'{');
        Self { buf, empty: true }
    }

    /// A signed 64-bit integer, written as a string.
    pub fn int64(&mut self, name: &str, value: i64) {
        if value != 0 {
            self.quoted(name, &value.to_string());
        }
    }

    /// An unsigned 64-bit integer, written as a string.
    pub fn uint64(&mut self, name: &str, value: u64) {
        if value != 0 {
            self.quoted(name, &value.to_string());
        }
    }

    /// Bytes, written as base64.
    pub fn bytes(&mut self, name: &str, value: &[u8]) {
        if value.is_empty() {
            return;
        }
        self.name(name);
        self.buf.push(b'"');
        let start = self.buf.len();
        self.buf.resize(start + value.len().div_ceil(3) * 4, 0);
        let written = STANDARD.encode_slice(value, &mut self.buf[start..]).expect("the slice has the encoded length");
        self.buf.truncate(start + written);
        self.buf.push(b'"');
    }

    /// A boolean.
    pub fn bool(&mut self, name: &str, value: bool) {
        if value {
            self.raw(name, b"true");
        }
    }

    /// An enum's name or another string that needs no escaping.
    pub fn plain(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.quoted(name, value);
        }
    }

    /// Text of any content.
    pub fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.name(name);
            serde_json::to_writer(&mut *self.buf, value).expect("writing a string to memory cannot fail");
        }
    }

    /// A value that is JSON already.
    pub fn raw(&mut self, name: &str, json: &[u8]) {
        self.name(name);
        self.buf.extend_from_slice(json);
    }

    /// Starts a field whose value the caller appends to the returned buffer.
    pub fn value(&mut self, name: &str) -> &mut Vec<u8> {
        self.name(name);
        self.buf
    }

    /// Closes the object.
    pub fn close(self) {
        self.buf.push(b'}');
    }

    fn name(&mut self, name: &str) {
        if !self.empty {
            self.buf.push(b',');
        }
        self.empty = false;
        self.buf.push(b'"');
        self.buf.extend_from_slice(name.as_bytes());
        self.buf.extend_from_slice(b"\":");
    }

    fn quoted(&mut self, name: &str, text: &str) {
        self.name(name);
        self.buf.push(b'"');
        self.buf.extend_from_slice(text.as_bytes());
        self.buf.push(b'"');
    }
}
