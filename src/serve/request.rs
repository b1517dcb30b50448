//! The one type of request body on the port.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::body::BodyError;
use super::grpc::PREFIX;
use super::memory::Hold;
use crate::rpc::status::{EtcdError, Refused};

/// A request body, of either protocol.
#[derive(Debug)]
pub struct RequestBody {
    source: Source,
    /// Where what is read is counted.
    hold: Option<Hold>,
    /// How long messages of gRPC may be that are in it.
    messages: Option<Lengths>,
}

/// Where a body comes from.
#[derive(Debug)]
enum Source {
    Http1(Incoming),
    /// One that was read already.
    Whole(Option<Bytes>),
    Http2 {
        stream: RecvStream,
        /// How much is still to come, if the client has told.
        length: Option<u64>,
        /// Whether only trailers can follow.
        ended: bool,
    },
}

impl RequestBody {
    /// The body of a request of HTTP/1.1.
    pub(super) fn http1(body: Incoming) -> Self {
        Self { source: Source::Http1(body), hold: None, messages: None }
    }

    /// The body of a request of HTTP/2 with these headers.
    pub(super) fn http2(stream: RecvStream, headers: &HeaderMap) -> Self {
        let length = headers.get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Self { source: Source::Http2 { stream, length, ended: false }, hold: None, messages: None }
    }

    /// A body that was read already, and counted as it was.
    pub fn whole(bytes: Bytes) -> Self {
        Self { source: Source::Whole(Some(bytes)), hold: None, messages: None }
    }

    /// Counts what is read.
    pub(super) fn count(&mut self, hold: Hold) {
        self.hold = Some(hold);
    }

    /// Leaves it to whoever reads to count what is kept: the body of a call that goes on.
    #[must_use]
    pub fn uncounted(self) -> Self {
        Self { hold: None, ..self }
    }

    /// Refuses messages of gRPC of more than so many bytes, once they have said how long they are.
    #[must_use]
    pub fn with_messages_of(self, most: usize) -> Self {
        Self { messages: Some(Lengths { most, head: [0; PREFIX], seen: 0, left: 0 }), ..self }
    }
}

/// What is read is there once more when it has been decoded.
const COPIES: usize = 2;

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(self.source.poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let counted = self.hold.as_ref().map_or(Ok(()), |hold| hold.grow(data.len() * COPIES));
            let seen = counted.and_then(|()| self.messages.as_mut().map_or(Ok(()), |messages| messages.see(data)));
            if let Err(refused) = seen {
                return Poll::Ready(Some(Err(Refused::from(refused).into())));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Http1(body) => body.is_end_stream(),
            Source::Whole(bytes) => bytes.is_none(),
            Source::Http2 { stream, .. } => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http1(body) => body.size_hint(),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Source::Http2 { length: Some(length), .. } => SizeHint::with_exact(*length),
            Source::Http2 { .. } => SizeHint::default(),
        }
    }
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (stream, length, ended) = match self {
            Self::Http1(body) => return Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Http2 { stream, length, ended } => (stream, length, ended),
        };
        if !*ended {
            match std::task::ready!(stream.poll_data(cx)) {
                Some(Ok(bytes)) => {
                    // Room for as much again: whoever reads decides how much is kept.
                    let _ = stream.flow_control().release_capacity(bytes.len());
                    if let Some(length) = length {
                        *length = length.saturating_sub(bytes.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => *ended = true,
            }
        }
        stream.poll_trailers(cx).map(|trailers| match trailers {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => Some(Err(error.into())),
        })
    }
}

/// Looks at how long the messages of gRPC in a body say that they are.
#[derive(Debug)]
struct Lengths {
    most: usize,
    /// The prefix of the next one, as far as it has come.
    head: [u8; PREFIX],
    seen: usize,
    /// Bytes of the present one that are still to come.
    left: usize,
}

impl Lengths {
    fn see(&mut self, mut data: &[u8]) -> Result<(), EtcdError> {
        loop {
            let (_, rest) = data.split_at(self.left.min(data.len()));
            self.left -= data.len() - rest.len();
            data = rest;
            let Some((first, rest)) = data.split_first() else { return Ok(()) };
            self.head[self.seen] = *first;
            self.seen += 1;
            data = rest;
            if self.seen == PREFIX {
                let [_, length @ ..] = self.head;
                let length = u32::from_be_bytes(length) as usize;
                if length > self.most {
                    return Err(EtcdError::message_too_large(length, self.most));
                }
                (self.seen, self.left) = (0, length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_are_too_long_are_found_whatever_the_pieces() {
        let mut wire = Vec::new();
        for length in [3_u8, 0, 5, 6] {
            wire.extend([0, 0, 0, 0, length]);
            wire.extend(vec![9; usize::from(length)]);
        }
        for size in 1..wire.len() {
            let mut lengths = Lengths { most: 5, head: [0; PREFIX], seen: 0, left: 0 };
            // The last one is refused once its length is there.
            let (fine, last) = wire.split_at(wire.len() - 6);
            let (fine, length) = fine.split_at(fine.len() - 1);
            assert!(fine.chunks(size).all(|piece| lengths.see(piece).is_ok()), "{size}");
            let refused = lengths.see(&[length, last].concat()).expect_err("too long");
            assert_eq!(refused.text(), "grpc: received message larger than max (6 vs. 5)");
        }
    }
}
