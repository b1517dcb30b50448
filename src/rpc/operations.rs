//! How many operations a transaction has, before it is decoded.
//!
//! An operation that says nothing has two bytes on the wire and more than a hundred when it is decoded, so that a message
//! of the largest size would become hundreds of megabytes before anybody counts.

use bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

/// Fields of a transaction: comparisons, and the operations of both sides.
const LISTS: usize = 3;

/// The field of an operation that is a transaction.
const INNER: u32 = 4;

/// Transactions in each other; the decoder stops earlier.
const LEVELS: usize = 100;

/// Whether a transaction has at most `limit` comparisons and operations on each side, those of inner ones among them. What
/// is not well formed is left to the decoder.
pub(super) fn are_within(limit: usize, transaction: &[u8]) -> bool {
    within(limit, transaction, LEVELS)
}

fn within(limit: usize, transaction: &[u8], levels: usize) -> bool {
    let mut counts = [0; LISTS];
    for (field, _) in Fields(transaction) {
        if let Some(count) = counts.get_mut((field as usize).wrapping_sub(1)) {
            *count += 1;
        }
    }
    let longest = counts.into_iter().max().unwrap_or_default();
    let Some(rest) = limit.checked_sub(longest) else { return false };
    let Some(levels) = levels.checked_sub(1) else { return true };
    let ops = Fields(transaction).filter(|(field, _)| matches!(field, 2 | 3));
    let mut inner = ops.flat_map(|(_, op)| Fields(op)).filter(|(field, _)| *field == INNER);
    inner.all(|(_, inner)| within(rest, inner, levels))
}

/// The fields of a message that have a length, by their numbers.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (field, kind) = decode_key(&mut self.0).ok()?;
            let length = match kind {
                WireType::Varint => {
                    decode_varint(&mut self.0).ok()?;
                    continue;
                }
                WireType::SixtyFourBit => 8,
                WireType::ThirtyTwoBit => 4,
                WireType::LengthDelimited => usize::try_from(decode_varint(&mut self.0).ok()?).ok()?,
                WireType::StartGroup | WireType::EndGroup => return None,
            };
            let (content, _) = self.0.split_at_checked(length)?;
            self.0.advance(length);
            if kind == WireType::LengthDelimited {
                return Some((field, content));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::pb::etcdserverpb::request_op::Request as Op;
    use crate::pb::etcdserverpb::{Compare, PutRequest, RequestOp, TxnRequest};

    fn put() -> RequestOp {
        let put = PutRequest { key: "a".into(), lease: 7, prev_kv: true, ..PutRequest::default() };
        RequestOp { request: Some(Op::RequestPut(put)) }
    }

    fn inner(txn: TxnRequest) -> RequestOp {
        RequestOp { request: Some(Op::RequestTxn(txn)) }
    }

    #[test]
    fn all_lists_count_and_inner_ones_with_what_is_around_them() {
        let fits = |limit, txn: &TxnRequest| are_within(limit, &txn.encode_to_vec());
        let lists = [
            TxnRequest { compare: vec![Compare::default(); 5], ..TxnRequest::default() },
            TxnRequest { success: vec![put(); 5], ..TxnRequest::default() },
            TxnRequest { failure: vec![RequestOp::default(); 5], ..TxnRequest::default() },
        ];
        for list in lists {
            assert!(fits(5, &list) && !fits(4, &list), "{list:?}");
            let around = TxnRequest { failure: vec![put(), inner(list.clone())], ..TxnRequest::default() };
            assert!(fits(7, &around) && !fits(6, &around), "{list:?}");
            let around = TxnRequest { success: vec![inner(around), put(), put()], ..TxnRequest::default() };
            assert!(fits(10, &around) && !fits(9, &around), "{list:?}");
        }
        assert!(fits(0, &TxnRequest::default()));
    }

    #[test]
    fn what_is_not_well_formed_is_no_harm() {
        let mut deep = Vec::new();
        for _ in 0..300 {
            let length = u8::try_from(deep.len() % 100).expect("small");
            deep.splice(0..0, [0x12, length + 2, 0x22, length]);
        }
        for bytes in [&[0x12][..], &[0x12, 0xff], &[0xff; 20], &[0x0b, 0x12, 0], &[0x08, 1, 0x11, 1], &deep] {
            are_within(128, bytes);
        }
    }
}
