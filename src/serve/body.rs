//! The one type of response body on the port.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::rope::Rope;

/// An error of a body, which ends the connection or resets the stream.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body that is made as it is written: a watch stream.
pub trait Stream: Send {
    /// The next piece, when the connection has room for it.
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame<Rope>>>;
}

/// A response body.
#[derive(Default)]
pub enum AppBody {
    /// Nothing.
    #[default]
    Empty,
    /// Everything at once, with trailers for gRPC.
    Whole(Option<Rope>, Option<HeaderMap>),
    /// Something that goes on.
    Stream(Pin<Box<dyn Stream>>),
    /// A body of one of the libraries.
    Other(axum::body::Body),
}

impl std::fmt::Debug for AppBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Whole(..) => "Whole",
            Self::Stream(_) => "Stream",
            Self::Other(_) => "Other",
        })
    }
}

impl AppBody {
    /// A body of these bytes.
    pub fn whole(content: impl Into<Rope>) -> Self {
        Self::Whole(Some(content.into()), None)
    }

    /// A gRPC answer: a message, then trailers.
    pub fn with_trailers(content: Rope, trailers: HeaderMap) -> Self {
        Self::Whole(Some(content), Some(trailers))
    }

    /// A body that is made as it is written.
    pub fn stream(stream: impl Stream + 'static) -> Self {
        Self::Stream(Box::pin(stream))
    }
}

impl Body for AppBody {
    type Data = Rope;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Rope>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(content, trailers) => {
                let data = content.take().map(Frame::data);
                Poll::Ready(data.or_else(|| trailers.take().map(Frame::trailers)).map(Ok))
            }
            Self::Stream(stream) => stream.as_mut().poll_frame(cx).map(|frame| frame.map(Ok)),
            Self::Other(body) => Pin::new(body).poll_frame(cx).map(|frame| {
                frame.map(|frame| frame.map(|frame| frame.map_data(|bytes: Bytes| bytes.into())).map_err(Into::into))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Whole(None, None) => true,
            Self::Whole(..) | Self::Stream(_) => false,
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(content, _) => SizeHint::with_exact(content.as_ref().map_or(0, Rope::len) as u64),
            Self::Stream(_) => SizeHint::default(),
            Self::Other(body) => body.size_hint(),
        }
    }
}
