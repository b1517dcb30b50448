//! `mvccpb.Event`, as an element of `WatchResponse.events`.
//!
//! A pair is field 2 both of `RangeResponse` and of `Event`, so that the bytes cached for a Range serve here too.

use super::json::Object;
use super::proto::{put_message_head, put_uint64};

/// Field number of `WatchResponse.events`.
const EVENTS: u32 = 11;
/// Field number of `Event.prev_kv`.
const PREV_KV: u32 = 3;

/// Appends one event with the tag and length of `WatchResponse.events`.
///
/// `kv` is the pair already encoded as field 2; `prev_kv` the bare message of the previous pair.
pub fn put_proto(buf: &mut Vec<u8>, delete: bool, kv: &[u8], prev_kv: Option<&[u8]>) {
    let prev_len = prev_kv.map_or(0, |prev| super::proto::message_len(PREV_KV, prev.len()));
    let type_len = if delete { 2 } else { 0 };
    put_message_head(buf, EVENTS, type_len + kv.len() + prev_len);
    put_uint64(buf, 1, u64::from(delete));
    buf.extend_from_slice(kv);
    if let Some(prev) = prev_kv {
        super::proto::put_message(buf, PREV_KV, prev);
    }
}

/// Appends one event as a JSON object; `kv` and `prev_kv` are the JSON of the pairs.
pub fn put_json(buf: &mut Vec<u8>, delete: bool, kv: &[u8], prev_kv: Option<&[u8]>) {
    let mut object = Object::open(buf);
    if delete {
        object.plain("type", "DELETE");
    }
    object.raw("kv", kv);
    if let Some(prev) = prev_kv {
        object.raw("prev_kv", prev);
    }
    object.close();
}
