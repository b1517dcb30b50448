//! Protobuf primitives: tags, varints and length-delimited fields.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// Appends a 64-bit integer field, left out when it is zero as proto3 does.
pub fn put_int64(buf: &mut Vec<u8>, field: u32, value: i64) {
    put_uint64(buf, field, value.cast_unsigned());
}

/// Appends an unsigned 64-bit integer field, left out when it is zero.
pub fn put_uint64(buf: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        encode_key(field, WireType::Varint, buf);
        encode_varint(value, buf);
    }
}

/// Appends a boolean field, left out when it is false.
pub fn put_bool(buf: &mut Vec<u8>, field: u32, value: bool) {
    put_uint64(buf, field, u64::from(value));
}

/// Appends a bytes or string field, left out when it is empty.
pub fn put_bytes(buf: &mut Vec<u8>, field: u32, value: &[u8]) {
    if !value.is_empty() {
        put_message(buf, field, value);
    }
}

/// Appends an embedded message, present even when it is empty.
pub fn put_message(buf: &mut Vec<u8>, field: u32, message: &[u8]) {
    put_message_head(buf, field, message.len());
    buf.extend_from_slice(message);
}

/// Appends the tag and the length of an embedded message whose `len` bytes follow.
pub fn put_message_head(buf: &mut Vec<u8>, field: u32, len: usize) {
    encode_key(field, WireType::LengthDelimited, buf);
    encode_varint(len as u64, buf);
}

/// Size of a 64-bit integer field.
pub fn int64_len(field: u32, value: i64) -> usize {
    if value == 0 { 0 } else { key_len(field) + encoded_len_varint(value.cast_unsigned()) }
}

/// Size of a bytes field.
pub fn bytes_len(field: u32, value: &[u8]) -> usize {
    if value.is_empty() { 0 } else { message_len(field, value.len()) }
}

/// Size of an embedded message of `len` bytes with its tag and length.
pub fn message_len(field: u32, len: usize) -> usize {
    key_len(field) + encoded_len_varint(len as u64) + len
}
