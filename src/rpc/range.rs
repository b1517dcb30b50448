//! The answer to a Range, put together from the bytes that each record keeps of itself.
//!
//! A thousand clients that load the same keys at the same time cost one encoding of each, and no copy.

use crate::serve::grpc;
use crate::serve::rope::Rope;
use crate::store::Revision;
use crate::store::ops::RangeResult;
use crate::wire::Identity;
use crate::wire::proto::{put_bool, put_int64, put_message};

/// The gRPC message with its prefix.
pub fn proto(identity: &Identity, result: &RangeResult, revision: Revision) -> Rope {
    let mut header = Vec::with_capacity(40);
    identity.put_proto(&mut header, revision.0);
    let mut head = Vec::with_capacity(64);
    put_message(&mut head, 1, &header);
    put_bool(&mut head, 3, result.more);
    put_int64(&mut head, 4, count(result));
    let pairs: Vec<_> = result
        .records
        .iter()
        .map(|record| if result.keys_only { record.proto_without_value() } else { record.proto().clone() })
        .collect();
    let length = head.len() + pairs.iter().map(bytes::Bytes::len).sum::<usize>();
    let mut rope = Rope::default();
    rope.push_copy(&grpc::prefix(length));
    rope.push_copy(&head);
    for pair in pairs {
        rope.push_shared(pair);
    }
    rope
}

/// The JSON of the gateway.
pub fn json(identity: &Identity, result: &RangeResult, revision: Revision) -> Rope {
    let mut head = Vec::with_capacity(160);
    head.extend_from_slice(b"{\"header\":");
    identity.put_json(&mut head, revision.0);
    let mut rope = Rope::default();
    for (position, record) in result.records.iter().enumerate() {
        if position == 0 {
            head.extend_from_slice(b",\"kvs\":[");
            rope.push_copy(&head);
            head.clear();
        } else {
            rope.push_copy(b",");
        }
        rope.push_shared(if result.keys_only { record.json_without_value() } else { record.json().clone() });
    }
    // With no records the head is still to be written.
    let mut tail = head;
    if !result.records.is_empty() {
        tail.push(b']');
    }
    if result.more {
        tail.extend_from_slice(b",\"more\":true");
    }
    if result.count > 0 {
        tail.extend_from_slice(format!(",\"count\":\"{}\"", result.count).as_bytes());
    }
    tail.push(b'}');
    rope.push_copy(&tail);
    rope
}

fn count(result: &RangeResult) -> i64 {
    i64::try_from(result.count).unwrap_or(i64::MAX)
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
        let mut rope = proto(&IDENTITY, result, Revision(99));
        let bytes = rope.copy_to_bytes(rope.len());
        assert_eq!(bytes[..grpc::PREFIX], grpc::prefix(bytes.len() - grpc::PREFIX));
        let message = RangeResponse::decode(&bytes[grpc::PREFIX..]).expect("decodes");
        assert_eq!(message.kvs.len(), result.records.len());
        let header = message.header.expect("a header");
        assert_eq!((header.cluster_id, header.member_id, header.revision, header.raft_term), (u64::MAX, 7, 99, 2));
        let mut rope = json(&IDENTITY, result, Revision(99));
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
}
