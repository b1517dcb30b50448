//! A connection of HTTP/2.
//!
//! Answers that go on, which are watch streams, are sent by the connection's own task: a commit then wakes it once,
//! however many of its streams want the event, and their frames leave in one write. Every other call is a task of its
//! own, so that none waits for another.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, RecvStream};
use http::Request;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::coalesce::{Coalesce, Flush, coalesce};
use super::connection::{Client, Reply, Times};
use super::drain::Drain;
use super::exchange::{self, Exchange};
use super::request::RequestBody;
use super::rope::Rope;
use super::socket::Socket;
use crate::config::limits::Limits;
use crate::telemetry::serve::{self as limits, refused};

/// Streams on one connection that has no limit for them.
const MAX_STREAMS: u32 = 1 << 20;

/// Bytes that a client may send before it is read, on a stream and on a connection.
const WINDOW: u32 = 1 << 20;

/// Serves a connection within limits until the client leaves, or, once `stop` is cancelled, until its
/// requests are answered.
pub(super) async fn run(
    socket: Socket,
    client: Client,
    (times, most): (Times, &Limits),
    stop: CancellationToken,
    tasks: TaskTracker,
) -> io::Result<()> {
    let streams = u32::try_from(most.streams());
    let (io, flush) = coalesce(socket);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(streams.unwrap_or(MAX_STREAMS).min(MAX_STREAMS))
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(u32::try_from(most.header_bytes).unwrap_or(u32::MAX));
    let mut handshake = Box::pin(builder.handshake::<_, Rope>(io));
    let handshake = poll_fn(|cx| {
        let shaken = handshake.as_mut().poll(cx);
        let _ = flush.poll(cx);
        shaken
    });
    // The preface has come, but it may be that nothing can be written.
    let Ok(connection) = tokio::time::timeout(times.first_bytes, handshake).await else {
        refused(limits::OF_HANDSHAKE);
        return Ok(());
    };
    let mut connection = connection.map_err(io::Error::other)?;
    let ping = connection.ping_pong().map(|pings| KeepAlive::new(pings, times));
    let mut driver = Driver { connection, flush, client, tasks, watches: Drain::default(), ping };
    let mut stopped = std::pin::pin!(stop.cancelled());
    let mut stopping = false;
    poll_fn(|cx| {
        if !stopping && stopped.as_mut().poll(cx).is_ready() {
            stopping = true;
            driver.connection.graceful_shutdown();
        }
        driver.poll(cx)
    })
    .await
}

struct Driver {
    connection: Connection<Coalesce, Rope>,
    flush: Flush,
    client: Client,
    tasks: TaskTracker,
    /// What is sent by this task.
    watches: Drain<Exchange>,
    ping: Option<KeepAlive>,
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(ping) = &mut self.ping
            && ping.poll_lost(&self.flush, cx).is_ready()
        {
            refused(limits::OF_KEEPALIVE);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        loop {
            // First what there is to say, then the connection, which takes it up; then the socket.
            self.watches.poll_all(cx);
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.start(request, respond),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        ready!(self.flush.poll(cx))?;
        Poll::Pending
    }

    fn start(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Rope>) {
        let (head, body) = request.into_parts();
        let body = RequestBody::http2(body, &head.headers);
        match self.client.start(Request::from_parts(head, body)) {
            Reply::Now(response) => self.watches.extend(exchange::begin(response, &mut respond)),
            Reply::Later(response) => {
                self.tasks.spawn(async move {
                    // A call that nobody waits for any more is dropped, which ends what it waits for itself.
                    let response = tokio::select! {
                        response = response => response,
                        _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
                    };
                    if let Some(rest) = exchange::begin(response, &mut respond) {
                        rest.await;
                    }
                });
            }
        }
    }
}

/// Finds out whether the client is still there.
///
/// The answer to a ping may take long while the client lives: the ping comes after all that the client has not read
/// yet. So whatever shows life gives it more time.
struct KeepAlive {
    pings: PingPong,
    times: Times,
    next: Pin<Box<Sleep>>,
    waiting: bool,
    /// The signs of life when the clock was set.
    seen: u64,
}

impl KeepAlive {
    fn new(pings: PingPong, times: Times) -> Self {
        // The first comes early: of a client that has sent nothing but its preface it is not known whether it is one.
        let first = times.ping.min(times.first_bytes);
        Self { pings, times, next: Box::pin(tokio::time::sleep(first)), waiting: false, seen: 0 }
    }

    /// Ready when the client neither answers nor lives.
    fn poll_lost(&mut self, flush: &Flush, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.waiting && self.pings.poll_pong(cx).is_ready() {
                self.waiting = false;
                self.next.as_mut().reset(Instant::now() + self.times.ping);
            }
            ready!(self.next.as_mut().poll(cx));
            let signs = flush.signs_of_life();
            if self.waiting && signs == self.seen {
                return Poll::Ready(());
            }
            if !self.waiting && self.pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready(());
            }
            // Asked once more for the answer, so that it wakes this task.
            self.waiting = true;
            self.seen = signs;
            self.next.as_mut().reset(Instant::now() + self.times.pong);
        }
    }
}
