//! The one type of response body on the port.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use tonic::Code;

use super::grpc;
use super::memory::Hold;
use super::rope::Rope;
use crate::telemetry::calls::Call;

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
    /// A body of a call that ends with it.
    Counted(Box<(AppBody, Call)>),
    /// A body of an answer whose request holds memory.
    Held(Box<(AppBody, Hold)>),
}

impl std::fmt::Debug for AppBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Whole(..) => "Whole",
            Self::Stream(_) => "Stream",
            Self::Other(_) => "Other",
            Self::Counted(_) => "Counted",
            Self::Held(_) => "Held",
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

/// Counts what became of a call: at once if it has one answer, or when the answers end.
pub fn count(mut response: Response<AppBody>, call: Call) -> Response<AppBody> {
    let at_once = grpc::code(response.headers()).or_else(|| match response.body() {
        AppBody::Whole(_, trailers) => trailers.as_ref().and_then(grpc::code),
        AppBody::Empty | AppBody::Stream(_) | AppBody::Other(_) | AppBody::Counted(_) | AppBody::Held(_) => None,
    });
    if let Some(code) = at_once.or(call.is_unary().then_some(Code::Ok)) {
        call.end(code);
    } else {
        let body = std::mem::take(response.body_mut());
        *response.body_mut() = AppBody::Counted(Box::new((body, call)));
    }
    response
}

/// Has a response give back what its request holds when it has been sent.
pub fn hold(response: Response<AppBody>, hold: Hold) -> Response<AppBody> {
    response.map(|body| AppBody::Held(Box::new((body, hold))))
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
            Self::Counted(counted) => {
                let (body, call) = &mut **counted;
                let frame = ready!(Pin::new(body).poll_frame(cx));
                match &frame {
                    Some(Ok(frame)) => {
                        if let Some(trailers) = frame.trailers_ref() {
                            call.note(grpc::code(trailers).unwrap_or(Code::Ok));
                        }
                    }
                    Some(Err(_)) => call.note(Code::Internal),
                    None => call.note(Code::Ok),
                }
                Poll::Ready(frame)
            }
            Self::Held(held) => {
                let (body, hold) = &mut **held;
                let frame = ready!(Pin::new(body).poll_frame(cx));
                let kept = |mut rope: Rope| {
                    rope.keep(hold.clone());
                    rope
                };
                Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(kept))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Whole(None, None) => true,
            Self::Whole(..) | Self::Stream(_) => false,
            Self::Other(body) => body.is_end_stream(),
            Self::Counted(counted) => counted.0.is_end_stream(),
            Self::Held(held) => held.0.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(content, _) => SizeHint::with_exact(content.as_ref().map_or(0, Rope::len) as u64),
            Self::Stream(_) => SizeHint::default(),
            Self::Other(body) => body.size_hint(),
            Self::Counted(counted) => counted.0.size_hint(),
            Self::Held(held) => held.0.size_hint(),
        }
    }
}
