//! The floor's gRPC. Windows are not looked at, as a load gives as much room as there can be.

use std::collections::BTreeMap;

use confcast::pb::etcdserverpb::{PutRequest, PutResponse, RangeResponse, ResponseHeader, WatchResponse};
use confcast::pb::mvccpb::{Event, KeyValue};
use prost::Message;

use super::Ask;
use crate::wire::grpc::framed;
use crate::wire::h2::{put_data_head, put_frame};

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Bytes of a frame, which is what any client takes.
const FRAME: usize = 16 << 10;

/// `:status` 200 by its place in HPACK's table, and the content type in full.
const HEAD: &[u8] = b"\x88\x00\x0ccontent-type\x10application/grpc";
const TRAILERS: &[u8] = b"\x00\x0bgrpc-status\x010";

/// What a connection is used for.
#[derive(Debug, Default)]
pub(super) struct Streams {
    greeted: bool,
    watches: Vec<u32>,
    /// Calls whose data has not come yet.
    open: BTreeMap<u32, Call>,
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Watch,
    Put,
    Range,
}

fn header(revision: i64) -> ResponseHeader {
    ResponseHeader { cluster_id: 1, member_id: 2, revision, raft_term: 2 }
}

fn pair(key: &[u8], value: &[u8], revision: i64) -> KeyValue {
    let (key, value) = (key.to_vec().into(), value.to_vec().into());
    KeyValue { key, value, create_revision: revision, mod_revision: revision, version: 1, lease: 0 }
}

pub(super) fn event(key: &[u8], value: &[u8], revision: i64) -> Vec<u8> {
    let event = Event { kv: Some(pair(key, value, revision)), ..Event::default() };
    framed(&WatchResponse { header: Some(header(revision)), events: vec![event], ..WatchResponse::default() })
}

pub(super) fn put_answer(stream: u32, revision: i64) -> Vec<u8> {
    frames_of(stream, &framed(&PutResponse { header: Some(header(revision)), prev_kv: None }))
}

pub(super) fn range(pairs: &BTreeMap<Vec<u8>, (i64, Vec<u8>)>, revision: i64) -> Vec<u8> {
    let kvs: Vec<_> = pairs.iter().map(|(key, (at, value))| pair(key, value, *at)).collect();
    let count = i64::try_from(kvs.len()).unwrap_or(0);
    framed(&RangeResponse { header: Some(header(revision)), kvs, more: false, count })
}

/// A whole answer.
pub(super) fn frames_of(stream: u32, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 1000 + 100);
    put_frame(&mut out, HEADERS, END_HEADERS, stream, HEAD);
    for piece in message.chunks(FRAME) {
        put_data_head(&mut out, stream, piece.len());
        out.extend_from_slice(piece);
    }
    put_frame(&mut out, HEADERS, END_HEADERS | END_STREAM, stream, TRAILERS);
    out
}

impl Streams {
    pub(super) fn watch(&mut self, stream: u32, revision: i64) -> Vec<u8> {
        self.watches.push(stream);
        let created =
            framed(&WatchResponse { header: Some(header(revision)), created: true, ..WatchResponse::default() });
        let mut out = Vec::new();
        put_frame(&mut out, HEADERS, END_HEADERS, stream, HEAD);
        put_data_head(&mut out, stream, created.len());
        out.extend(created);
        out
    }

    /// The message for every watch.
    pub(super) fn frames(&self, message: &[u8]) -> Vec<Vec<u8>> {
        let frame = |stream: &u32| {
            let mut out = Vec::with_capacity(message.len() + 9);
            put_data_head(&mut out, *stream, message.len());
            out.extend_from_slice(message);
            out
        };
        self.watches.iter().map(frame).collect()
    }

    /// The next thing that is asked for.
    pub(super) fn take(&mut self, request: &mut Vec<u8>, out: &mut Vec<u8>) -> Option<Ask> {
        if !self.greeted {
            request.get(..24)?;
            request.drain(..24);
            self.greeted = true;
            put_frame(out, SETTINGS, 0, 0, &[]);
        }
        let (head, body) = request.split_first_chunk::<9>()?;
        let (kind, flags) = (head[3], head[4]);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let payload = body.get(..length)?.to_vec();
        request.drain(..9 + length);
        Some(match kind {
            HEADERS => {
                let names = |path: &[u8]| memchr::memmem::find(&payload, path).is_some();
                let call = if names(b"Watch/Watch") {
                    Call::Watch
                } else if names(b"KV/Put") {
                    Call::Put
                } else {
                    Call::Range
                };
                self.open.insert(stream, call);
                Ask::Nothing
            }
            0 => match self.open.remove(&stream) {
                Some(Call::Watch) => Ask::Watch(stream),
                Some(Call::Range) => Ask::Range(stream),
                Some(Call::Put) => match PutRequest::decode(payload.get(5..).unwrap_or_default()) {
                    Ok(put) => Ask::Put(stream, put.key.to_vec(), put.value.to_vec()),
                    Err(_) => Ask::Nothing,
                },
                None => Ask::Nothing,
            },
            SETTINGS if flags & 1 == 0 => {
                put_frame(out, SETTINGS, 1, 0, &[]);
                Ask::Nothing
            }
            _ => Ask::Nothing,
        })
    }
}
