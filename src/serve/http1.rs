//! A connection of HTTP/1.1.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::Poll;

use http::{Request, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

use super::connection::{Client, Times};
use super::request::RequestBody;
use super::socket::Socket;
use super::takeover::{Takeover, Task};
use super::unflushed::Unflushed;
use crate::config::limits::Limits;
use crate::telemetry::serve::{self as limits, refused};

/// Most fields of headers that there is room for, as the parser makes room for all that there may be.
const MOST_FIELDS: usize = 4096;

/// Serves a connection until it ends, or until a handler takes it over: then returns what goes on with it.
pub(super) async fn run(
    socket: Socket,
    client: Client,
    (times, most): (Times, &Limits),
    stop: CancellationToken,
) -> Option<Task> {
    let takeover = Takeover::default();
    let offered = takeover.clone();
    let respond = service_fn(move |mut request: Request<Incoming>| {
        // An older client cannot read chunks, in which everything is written that is taken over.
        if request.version() == Version::HTTP_11 {
            request.extensions_mut().insert(offered.clone());
        }
        client.clone().call(request.map(RequestBody::http1))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(times.next_request)
        .max_headers(most.header_fields.min(MOST_FIELDS))
        .max_header_size(most.header_bytes);
    let (socket, behind) = Unflushed::new(socket);
    let mut connection = http.serve_connection(TokioIo::new(socket), respond);
    let mut stopped = std::pin::pin!(stop.cancelled());
    let mut stopping = false;
    let make = poll_fn(|cx| {
        if !stopping && stopped.as_mut().poll(cx).is_ready() {
            stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let ended = Pin::new(&mut connection).poll(cx);
        // An answer that was not read yet is written first, which wakes this.
        if !behind.load(Ordering::Relaxed)
            && let Some(make) = takeover.taken()
        {
            return Poll::Ready(Some(make));
        }
        ended.map(|ended| {
            if let Err(error) = ended {
                if error.is_parse_too_large() {
                    refused(limits::OF_HEADERS);
                } else if error.is_timeout() {
                    refused(limits::OF_NEXT_REQUEST);
                }
                tracing::debug!(%error, "connection ended");
            }
            None
        })
    })
    .await?;
    // What the client has sent beyond its request is not for anyone: the answer to it never ends.
    Some(make(connection.into_parts().io.into_inner().into_inner()))
}
