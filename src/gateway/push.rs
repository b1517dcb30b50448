//! A watch stream that has its connection for itself: chunks that all streams share, written as they are.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Interval, MissedTickBehavior};

use super::answer;
use crate::rpc::ending::Ending;
use crate::rpc::{EtcdError, Node};
use crate::serve::body::AppBody;
use crate::serve::rope::Rope;
use crate::serve::socket::Socket;
use crate::serve::traffic::Version;
use crate::telemetry::calls::Call;
use crate::watch::Session;
use crate::wire::Identity;
use crate::wire::chunk::Chunk;

/// Bytes that are written at once to a client that is behind. One that is not gets each event when it happens.
const PACK: usize = 64 << 10;

/// Parts of one vectored write.
const PARTS: usize = 64;

/// Bytes that a client may send after its request. They are read, so that the client's leaving is noticed, and say
/// nothing: it waits for an answer that has no end. Whoever sends more is no client of a watch.
const HEARD: usize = 64 << 10;

/// What ends a body in chunks.
const LAST: &[u8] = b"0\r\n\r\n";

/// A chunk that says nothing. A space stands before any JSON, while a line's end would be an empty message to APISIX.
const SPACE: &[u8] = b"1\r\n \r\n";

/// The state of a watch stream apart from its socket.
#[derive(Debug)]
pub(super) struct Push {
    session: Session,
    counted: Option<Call>,
    identity: Identity,
    ending: Ending,
    keepalive: Option<Box<Interval>>,
    /// What the socket has not taken yet.
    pending: Rope,
    /// Whether nothing comes after what is pending.
    ended: bool,
    /// Bytes that the client has sent after its request.
    heard: usize,
}

impl Push {
    /// A stream that begins with the head of the response.
    pub(super) fn new(session: Session, counted: Option<Call>, node: &Node) -> Self {
        let mut pending = Rope::default();
        pending.push_shared(head().into());
        Self {
            session,
            counted,
            identity: node.identity(),
            ending: node.stopping.ending(),
            keepalive: node.live.get().gateway_keepalive.map(every).map(Box::new),
            pending,
            ended: false,
            heard: 0,
        }
    }

    /// Writes until the client leaves or the server stops.
    pub(super) async fn run(mut self, mut socket: Socket) {
        // An error of the socket is an end like any other.
        let _ = std::future::poll_fn(|cx| self.poll(&mut socket, cx)).await;
    }

    fn poll(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.pending.is_empty() {
                if let Poll::Ready(written) = self.poll_write(socket, cx) {
                    written?;
                    continue;
                }
                return self.poll_left(socket, cx);
            }
            if let Poll::Ready(sent) = Pin::new(&mut *socket).poll_flush(cx) {
                sent?;
            } else {
                // Nothing is made for a client that does not read.
                return self.poll_left(socket, cx);
            }
            if self.ended {
                return Pin::new(socket).poll_shutdown(cx);
            }
            if self.ending.poll(cx).is_ready() {
                self.ended = true;
                let error = EtcdError::stopping();
                if let Some(counted) = &mut self.counted {
                    counted.note(error.code());
                }
                let line = answer::stream_error(&error);
                self.pending.push_shared(Chunk::new(0, |buf| buf.extend_from_slice(&line)).framed().clone());
                self.pending.push_copy(LAST);
                continue;
            }
            self.fill(cx);
            if self.pending.is_empty() {
                return self.poll_left(socket, cx);
            }
        }
    }

    /// Takes what there is to say.
    fn fill(&mut self, cx: &mut Context<'_>) {
        let mut parts = 0;
        while parts < PARTS && self.pending.len() < PACK {
            let Poll::Ready(message) = self.session.poll_next(cx) else { break };
            self.pending.push_shared(message.json_chunk(&self.identity).framed().clone());
            parts += 1;
        }
        if parts > 0 {
            self.session.sent(self.pending.len());
        }
        if let Some(keepalive) = &mut self.keepalive {
            if !self.pending.is_empty() {
                keepalive.reset();
            } else if keepalive.poll_tick(cx).is_ready() {
                self.pending.push_copy(SPACE);
            }
        }
    }

    fn poll_write(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = Pin::new(socket);
        let count = if self.pending.chunk().len() == self.pending.len() {
            ready!(socket.poll_write(cx, self.pending.chunk()))?
        } else {
            let mut slices = [io::IoSlice::new(&[]); PARTS];
            let filled = self.pending.chunks_vectored(&mut slices);
            ready!(socket.poll_write_vectored(cx, &slices[..filled]))?
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.pending.advance(count);
        Version::Http1.sent(count);
        Poll::Ready(Ok(()))
    }

    /// Ready when the client has left, or has said too much.
    fn poll_left(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.heard <= HEARD {
            let mut bytes = [MaybeUninit::uninit(); 1024];
            let mut read = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut *socket).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                break;
            }
            self.heard += read.filled().len();
            Version::Http1.received(read.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval.reset();
    interval
}

/// The head of the response, with the headers that every answer to a call has.
fn head() -> Vec<u8> {
    let (head, _) = answer::call(AppBody::Empty).into_parts();
    let mut text = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in &head.headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    text.extend_from_slice(format!("transfer-encoding: chunked\r\ndate: {date}\r\n\r\n").as_bytes());
    text
}
