//! The one type of request body on the port.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::body::BodyError;
use super::memory::Hold;
use crate::rpc::status::Refused;

/// A request body, of either protocol.
#[derive(Debug)]
pub struct RequestBody {
    source: Source,
    /// Where what is read is counted.
    hold: Option<Hold>,
}

/// Where a body comes from.
#[derive(Debug)]
enum Source {
    Http1(Incoming),
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
        Self { source: Source::Http1(body), hold: None }
    }

    /// The body of a request of HTTP/2 with these headers.
    pub(super) fn http2(stream: RecvStream, headers: &HeaderMap) -> Self {
        let length = headers.get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Self { source: Source::Http2 { stream, length, ended: false }, hold: None }
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
}

/// What is read is there once more when it has been decoded.
const COPIES: usize = 2;

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(self.source.poll_frame(cx));
        if let Some(hold) = &self.hold
            && let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(refused) = hold.grow(data.len() * COPIES)
        {
            return Poll::Ready(Some(Err(Refused::from(refused).into())));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Http1(body) => body.is_end_stream(),
            Source::Http2 { stream, .. } => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http1(body) => body.size_hint(),
            Source::Http2 { length: Some(length), .. } => SizeHint::with_exact(*length),
            Source::Http2 { .. } => SizeHint::default(),
        }
    }
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (stream, length, ended) = match self {
            Self::Http1(body) => return Pin::new(body).poll_frame(cx).map_err(Into::into),
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
