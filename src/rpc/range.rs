//! The answer to a Range, put together from bytes that were made before.
//!
//! A thousand clients that load the same keys at the same time cost one encoding, and no copy.

use bytes::Bytes;

use super::range_cache::Kept;
use super::status::EtcdError;
use crate::serve::grpc;
use crate::serve::rope::Rope;
use crate::store::Revision;
use crate::store::ops::RangeResult;
use crate::wire::Identity;
use crate::wire::proto::{put_bool, put_int64, put_message};

/// How pairs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// As protobuf, for gRPC.
    Proto,
    /// As JSON, for the gateway.
    Json,
}

impl Form {
    /// Bytes of an answer with so many bytes of keys and values, about.
    pub fn length(self, bytes: usize) -> usize {
        match self {
            Self::Proto => bytes,
            Self::Json => bytes.saturating_mul(4) / 3,
        }
    }
}

/// What an answer says apart from who answers.
#[derive(Debug)]
pub struct Content {
    /// The pairs: one or several in each piece, which in JSON have commas between them.
    pieces: Vec<Bytes>,
    more: bool,
    count: usize,
    revision: Revision,
}

impl Content {
    /// The content of a result.
    pub fn of(result: &RangeResult, form: Form, revision: Revision) -> Self {
        let pieces = result.records.iter().map(|record| match (form, result.keys_only) {
            (Form::Proto, false) => record.proto().clone(),
            (Form::Proto, true) => record.proto_without_value(),
            (Form::Json, false) => record.json().clone(),
            (Form::Json, true) => record.json_without_value(),
        });
        Self { pieces: pieces.collect(), more: result.more, count: result.count, revision }
    }
}

impl From<Kept> for Content {
    fn from(kept: Kept) -> Self {
        Self { pieces: kept.pieces, more: false, count: kept.count, revision: kept.revision }
    }
}

/// The answer: for gRPC with the prefix of a message, which cannot be larger than gRPC allows.
pub fn message(identity: &Identity, content: &Content, form: Form) -> Result<Rope, EtcdError> {
    match form {
        Form::Proto => proto(identity, content),
        Form::Json => Ok(json(identity, content)),
    }
}

fn proto(identity: &Identity, content: &Content) -> Result<Rope, EtcdError> {
    let mut header = Vec::with_capacity(40);
    identity.put_proto(&mut header, content.revision.0);
    let mut head = Vec::with_capacity(64);
    put_message(&mut head, 1, &header);
    put_bool(&mut head, 3, content.more);
    put_int64(&mut head, 4, i64::try_from(content.count).unwrap_or(i64::MAX));
    let length = head.len() + content.pieces.iter().map(Bytes::len).sum::<usize>();
    let mut rope = Rope::default();
    rope.push_copy(&grpc::prefix(length)?);
    rope.push_copy(&head);
    for piece in &content.pieces {
        rope.push_shared(piece.clone());
    }
    Ok(rope)
}

fn json(identity: &Identity, content: &Content) -> Rope {
    let mut head = Vec::with_capacity(160);
    head.extend_from_slice(b"{\"header\":");
    identity.put_json(&mut head, content.revision.0);
    let mut rope = Rope::default();
    for (position, piece) in content.pieces.iter().enumerate() {
        if position == 0 {
            head.extend_from_slice(b",\"kvs\":[");
            rope.push_copy(&head);
            head.clear();
        } else {
            rope.push_copy(b",");
        }
        rope.push_shared(piece.clone());
    }
    // With no pairs the head is still to be written.
    let mut tail = head;
    if !content.pieces.is_empty() {
        tail.push(b']');
    }
    if content.more {
        tail.extend_from_slice(b",\"more\":true");
    }
    if content.count > 0 {
        tail.extend_from_slice(format!(",\"count\":\"{}\"", content.count).as_bytes());
    }
    tail.push(b'}');
    rope.push_copy(&tail);
    rope
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Buf;
    use prost::Message;

    use super::*;
    use crate::pb::etcdserverpb::RangeResponse;
    use crate::store::{LeaseId, Origin, Record};

    const IDENTITY: Identity = Identity { cluster_id: u64::MAX, member_id: 7, raft_term: 2 };

    fn record(key: &'static str, value: &'static str, lease: i64) -> Arc<Record> {
        let numbers = (Revision(3), Revision(5), 2);
        Arc::new(Record::new(key.into(), value.into(), numbers, LeaseId(lease), Origin::Client))
    }

    /// What is put together here is what the generated code makes of the same message.
    fn check(result: &RangeResult) {
        let of = |form| Content::of(result, form, Revision(99));
        let mut rope = super::message(&IDENTITY, &of(Form::Proto), Form::Proto).expect("small");
        let bytes = rope.copy_to_bytes(rope.len());
        assert_eq!(bytes[..grpc::PREFIX], grpc::prefix(bytes.len() - grpc::PREFIX).expect("small"));
        let message = RangeResponse::decode(&bytes[grpc::PREFIX..]).expect("decodes");
        assert_eq!(message.kvs.len(), result.records.len());
        let header = message.header.expect("a header");
        assert_eq!((header.cluster_id, header.member_id, header.revision, header.raft_term), (u64::MAX, 7, 99, 2));
        let mut rope = super::message(&IDENTITY, &of(Form::Json), Form::Json).expect("small");
        let text = rope.copy_to_bytes(rope.len());
        assert_eq!(text, serde_json::to_vec(&message).expect("encodes"), "{text:?}");
    }

    #[test]
    fn both_forms_are_those_of_the_generated_code() {
        let records = vec![record("a", "1", 0), record("b", "", 0), record("c", "\u{fe}value", 9)];
        check(&RangeResult::default());
        check(&RangeResult { count: 5, ..RangeResult::default() });
        check(&RangeResult { records: records.clone(), more: true, count: 5, keys_only: false });
        check(&RangeResult { records: records.clone(), more: false, count: 3, keys_only: true });
        check(&RangeResult { records: records[..1].to_vec(), more: false, count: 1, keys_only: false });
    }

    /// Pieces that share their bytes, of 2 GiB together.
    #[test]
    fn an_answer_that_grpc_cannot_carry_is_an_error() {
        let pieces = vec![Bytes::from(vec![b'x'; 1 << 20]); 2048];
        let content = Content { pieces, more: false, count: 2048, revision: Revision(9) };
        let refused = super::message(&IDENTITY, &content, Form::Proto).expect_err("too large");
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert!(super::message(&IDENTITY, &content, Form::Json).is_ok(), "HTTP has no such bound");
    }
}
