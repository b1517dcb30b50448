//! gRPC framing, for the calls whose bytes are made by hand.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use tonic::Code;

use super::body::AppBody;
use super::memory::{Hold, Ledger};
use super::rope::Rope;
use crate::rpc::status::EtcdError;

/// Length of the prefix of a message: a compression flag and a 32-bit length.
pub const PREFIX: usize = 5;

/// Takes messages out of the bytes of a request.
#[derive(Debug)]
pub struct Messages {
    buffer: BytesMut,
    limit: usize,
    /// Where what is kept is counted, and how much it is.
    ledger: Ledger,
    hold: Option<Hold>,
}

impl Messages {
    /// For messages of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit, ledger: Ledger::default(), hold: None }
    }

    /// Counts what is kept until it is a whole message.
    #[must_use]
    pub fn counted(self, ledger: &Ledger) -> Self {
        Self { ledger: ledger.clone(), ..self }
    }

    /// Adds bytes as they came.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one.
    pub fn take(&mut self) -> Result<Option<Bytes>, EtcdError> {
        self.ledger.bound(&mut self.hold, self.buffer.len())?;
        let Some((prefix, _)) = self.buffer.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let [compressed, length @ ..] = *prefix;
        if compressed != 0 {
            return Err(EtcdError::unimplemented("a compressed message"));
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > self.limit {
            return Err(EtcdError::message_too_large(length, self.limit));
        }
        if self.buffer.len() < PREFIX + length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

/// Bytes of the largest message that is sent, as etcd's transport has it.
const MAX_SENT: usize = i32::MAX as usize;

/// The prefix of a message of `length` bytes; an error if a client could not take one that large.
pub fn prefix(length: usize) -> Result<[u8; PREFIX], EtcdError> {
    let fits = u32::try_from(length).ok().filter(|_| length <= MAX_SENT);
    let [a, b, c, d] = fits.ok_or_else(|| EtcdError::answer_too_large(length, MAX_SENT))?.to_be_bytes();
    Ok([0, a, b, c, d])
}

/// A successful unary answer; `message` includes its prefix.
pub fn unary(message: Rope) -> Response<AppBody> {
    answer(AppBody::with_trailers(message, trailers(None)))
}

/// An answer that is only an error.
pub fn error(error: &EtcdError) -> Response<AppBody> {
    let mut response = answer(AppBody::Empty);
    response.headers_mut().extend(trailers(Some(error)));
    response
}

/// An answer that goes on.
pub fn answer(body: AppBody) -> Response<AppBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The code that trailers tell, or the headers of an answer that is only an error.
pub fn code(map: &HeaderMap) -> Option<Code> {
    map.get(tonic::Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// The trailers of a call that ends with `error`, or well.
pub fn trailers(error: Option<&EtcdError>) -> HeaderMap {
    match error {
        None => {
            let mut map = HeaderMap::with_capacity(1);
            map.insert(tonic::Status::GRPC_STATUS, HeaderValue::from_static("0"));
            map
        }
        Some(error) => {
            let mut map = HeaderMap::new();
            let status = tonic::Status::from(error.clone());
            if status.add_header(&mut map).is_err() {
                map.insert(tonic::Status::GRPC_STATUS, HeaderValue::from(Code::Internal as i32));
            }
            map
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_whatever_the_pieces() {
        let mut wire = Vec::new();
        for message in [b"one".as_ref(), b"", b"three"] {
            wire.extend(prefix(message.len()).expect("small"));
            wire.extend(message);
        }
        for size in [1, 2, 5, 100] {
            let mut messages = Messages::new(5);
            let mut seen = Vec::new();
            for piece in wire.chunks(size) {
                messages.feed(piece);
                while let Some(message) = messages.take().expect("well formed") {
                    seen.push(message);
                }
            }
            assert_eq!(seen, [b"one".as_ref(), b"", b"three"]);
        }
    }

    #[test]
    fn a_large_message_is_refused_before_it_has_come() {
        let mut messages = Messages::new(5);
        messages.feed(&prefix(6).expect("small"));
        let refused = messages.take().expect_err("too large");
        assert_eq!(refused.text(), "grpc: received message larger than max (6 vs. 5)");
    }

    #[test]
    fn what_is_too_large_to_be_sent_is_an_error() {
        assert_eq!(prefix(MAX_SENT).expect("fits"), [0, 0x7f, 0xff, 0xff, 0xff]);
        for length in [MAX_SENT + 1, 4 << 30, usize::MAX] {
            let refused = prefix(length).expect_err("too large");
            assert_eq!(refused.code(), Code::ResourceExhausted);
            let text = format!("grpc: trying to send message larger than max ({length} vs. 2147483647)");
            assert_eq!(refused.text(), text);
        }
    }
}
