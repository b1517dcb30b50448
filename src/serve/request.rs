//! The one type of request body on the port.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::body::BodyError;

/// A request body, of either protocol.
#[derive(Debug)]
pub enum RequestBody {
    /// Of HTTP/1.1.
    Http1(Incoming),
    /// Of HTTP/2.
    Http2 {
        /// Where it comes from.
        stream: RecvStream,
        /// How much is still to come, if the client has told.
        length: Option<u64>,
        /// Whether only trailers can follow.
        ended: bool,
    },
}

impl RequestBody {
    /// The body of a request of HTTP/2 with these headers.
    pub(super) fn http2(stream: RecvStream, headers: &HeaderMap) -> Self {
        let length = headers.get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Self::Http2 { stream, length, ended: false }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (stream, length, ended) = match &mut *self {
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

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2 { stream, .. } => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2 { length: Some(length), .. } => SizeHint::with_exact(*length),
            Self::Http2 { .. } => SizeHint::default(),
        }
    }
}
