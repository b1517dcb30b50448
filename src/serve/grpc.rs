//! gRPC framing, for the calls whose bytes are made by hand.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use tonic::Code;

use super::body::AppBody;
use super::rope::Rope;
use crate::rpc::status::EtcdError;

/// Length of the prefix of a message: a compression flag and a 32-bit length.
pub const PREFIX: usize = 5;

/// Takes messages out of the bytes of a request.
#[derive(Debug)]
pub struct Messages {
    buffer: BytesMut,
    limit: usize,
}

impl Messages {
    /// For messages of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit }
    }

    /// Adds bytes as they came.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one.
    pub fn take(&mut self) -> Result<Option<Bytes>, EtcdError> {
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

/// The prefix of a message of `length` bytes.
pub fn prefix(length: usize) -> [u8; PREFIX] {
    let [a, b, c, d] = u32::try_from(length).expect("a message is below 4 GiB").to_be_bytes();
    [0, a, b, c, d]
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
            wire.extend(prefix(message.len()));
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
        messages.feed(&prefix(6));
        let refused = messages.take().expect_err("too large");
        assert_eq!(refused.text(), "grpc: received message larger than max (6 vs. 5)");
    }
}
