//! The answer to one request of HTTP/2, as it is sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderValue, Response};
use http_body::Body;

use super::body::AppBody;
use super::rope::Rope;

/// Sends a body, piece by piece as the client has room for them. Ends when all is sent or nobody wants it any more.
#[must_use]
pub(super) struct Exchange {
    stream: SendStream<Rope>,
    body: AppBody,
}

/// Sends the head of a response. Returns what sends the rest; none if there is no rest, or the client has left.
pub(super) fn begin(response: Response<AppBody>, respond: &mut SendResponse<Rope>) -> Option<Exchange> {
    let (mut head, body) = response.into_parts();
    head.headers.entry(DATE).or_insert_with(|| {
        let date = httpdate::fmt_http_date(SystemTime::now());
        HeaderValue::from_str(&date).expect("a date is a header's value")
    });
    if let Some(length) = body.size_hint().exact().filter(|_| !is_grpc(&head)) {
        head.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    let ended = body.is_end_stream();
    let stream = respond.send_response(Response::from_parts(head, ()), ended).ok()?;
    (!ended).then_some(Exchange { stream, body })
}

/// Trailers follow a gRPC answer, whose length says nothing.
fn is_grpc(head: &http::response::Parts) -> bool {
    head.headers.get(http::header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

impl Exchange {
    /// Sends what can be sent. None if the stream has ended.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(None);
        }
        // One byte of room is asked for, so that nothing is made for a client that does not read.
        self.stream.reserve_capacity(1);
        while self.stream.capacity() == 0 {
            let Some(Ok(_)) = ready!(self.stream.poll_capacity(cx)) else { return Poll::Ready(None) };
        }
        let sent = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => {
                let _ = self.stream.send_data(Rope::default(), true);
                return Poll::Ready(None);
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "an answer has ended early");
                self.stream.send_reset(Reason::INTERNAL_ERROR);
                return Poll::Ready(None);
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let ended = self.body.is_end_stream();
                    let sent = self.stream.send_data(data, ended);
                    sent.ok().filter(|()| !ended)
                }
                Err(frame) => {
                    let _ = self.stream.send_trailers(frame.into_trailers().unwrap_or_default());
                    None
                }
            },
        };
        Poll::Ready(sent)
    }
}

impl Future for Exchange {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while ready!(self.poll_send(cx)).is_some() {}
        Poll::Ready(())
    }
}
