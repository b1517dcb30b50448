//! The floor's HTTP/1.1.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use serde_json::{Value, json};

use super::Ask;

fn header(revision: i64) -> Value {
    json!({"cluster_id": "1", "member_id": "2", "revision": revision.to_string(), "raft_term": "2"})
}

fn pair(key: &[u8], value: &[u8], revision: i64) -> Value {
    json!({
        "key": STANDARD.encode(key),
        "create_revision": revision.to_string(),
        "mod_revision": revision.to_string(),
        "version": "1",
        "value": STANDARD.encode(value),
    })
}

fn chunk(message: &Value) -> Vec<u8> {
    let line = format!("{}\n", json!({"result": message}));
    format!("{:x}\r\n{line}\r\n", line.len()).into_bytes()
}

fn whole(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub(super) fn created(revision: i64) -> Vec<u8> {
    let mut head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    head.extend(chunk(&json!({"header": header(revision), "created": true})));
    head
}

pub(super) fn event(key: &[u8], value: &[u8], revision: i64) -> Vec<u8> {
    chunk(&json!({"header": header(revision), "events": [{"kv": pair(key, value, revision)}]}))
}

pub(super) fn put_answer(revision: i64) -> Vec<u8> {
    whole(&json!({"header": header(revision)}).to_string())
}

pub(super) fn range(pairs: &BTreeMap<Vec<u8>, (i64, Vec<u8>)>, revision: i64) -> Vec<u8> {
    let kvs: Vec<_> = pairs.iter().map(|(key, (at, value))| pair(key, value, *at)).collect();
    whole(&json!({"header": header(revision), "kvs": kvs, "count": pairs.len().to_string()}).to_string())
}

/// The next whole request.
pub(super) fn take(request: &mut Vec<u8>) -> Option<Ask> {
    let head = memmem::find(request, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&request[..head]).into_owned();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.unwrap_or(0);
    let body: Value = serde_json::from_slice(request.get(head..head + length)?).unwrap_or_default();
    request.drain(..head + length);
    let bytes = |name: &str| body[name].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    Some(match text.split_whitespace().nth(1) {
        Some("/v3/watch") => Ask::Watch(0),
        Some("/v3/kv/put") => Ask::Put(0, bytes("key"), bytes("value")),
        _ => Ask::Range(0),
    })
}
