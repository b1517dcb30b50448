//! How large requests and answers may be.

use prost::Message;
use tonic::{Response, Status};

use super::node::Node;
use super::range::Form;
use super::range_cache::Key;
use super::status::EtcdError;
use crate::serve::memory::Hold;
use crate::store::Record;
use crate::store::ops::{OpError, RangeResult};
use crate::telemetry::serve as limits;

impl Node {
    /// Refuses a request that writes if it is too large.
    pub(super) fn must_be_small(&self, request: &impl Message) -> Result<(), EtcdError> {
        let fits = request.encoded_len() <= self.live.get().limits.request_bytes;
        if fits { Ok(()) } else { Err(EtcdError::too_large()) }
    }

    /// Whether answers are to be looked at at all.
    pub(super) fn bounds_answers(&self) -> bool {
        self.live.get().limits.answer_bytes < usize::MAX
    }

    /// Refuses an answer of so many bytes if it is too large.
    pub(super) fn must_fit(&self, bytes: usize) -> Result<(), EtcdError> {
        let most = self.live.get().limits.answer_bytes;
        if bytes <= most {
            return Ok(());
        }
        limits::refused(limits::OF_ANSWER);
        Err(EtcdError::answer_above(most))
    }

    /// The same for all of a range, before anything is made of it. Costs nothing without a limit, and little where the
    /// range is kept.
    pub(super) fn range_must_fit(&self, key: &Key) -> Result<(), EtcdError> {
        let most = self.live.get().limits.answer_bytes;
        if most == usize::MAX || self.ranges.last_size(key).is_some_and(|bytes| bytes <= most) {
            return Ok(());
        }
        let snapshot = self.store.snapshot();
        let mut bytes = 0;
        for record in snapshot.range(&key.range) {
            bytes += key.length_of(record);
            if bytes > most {
                break;
            }
        }
        self.must_fit(bytes)
    }
}

/// The answer with these records.
pub(super) fn of_result(result: &RangeResult, form: Form) -> usize {
    form.length(result.records.iter().map(|record| size(record, result.keys_only)).sum())
}

/// Bytes of a pair, with its value or without.
pub(super) fn size(record: &Record, keys_only: bool) -> usize {
    if keys_only { record.key.len() } else { record.size() }
}

/// An answer that may be large, if there is memory for it.
pub(super) fn held<T: Message>(hold: Option<Hold>, answer: T) -> Result<Response<T>, Status> {
    if let Some(hold) = hold {
        hold.grow(answer.encoded_len())?;
    }
    Ok(Response::new(answer))
}

/// What is said of a transaction with too many operations.
pub(super) fn too_many_ops() -> OpError {
    limits::refused(limits::OF_TXN);
    OpError::TooManyOps
}
