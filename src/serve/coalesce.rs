//! Fewer, larger writes.
//!
//! The streams of an HTTP/2 connection are written one frame at a time, and each write of its own costs ten times what
//! copying the frame does. So frames are gathered, and written when the connection has nothing more to say or the
//! buffer is full.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use crossbeam::queue::ArrayQueue;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::Socket;
use super::traffic::Version;

/// Bytes that are gathered.
const SIZE: usize = 64 << 10;

/// Buffers that are kept for whoever writes next. A connection has one only while there is something in it, as most
/// are idle most of the time.
static SPARE: LazyLock<ArrayQueue<Vec<u8>>> = LazyLock::new(|| ArrayQueue::new(64));

/// A socket whose writes are gathered until [`Flush::poll`].
#[derive(Debug)]
pub(super) struct Coalesce(Shared);

/// The other end of a [`Coalesce`].
#[derive(Debug)]
pub(super) struct Flush(Shared);

/// Only ever locked by the connection's own task.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Gathering>>);

#[derive(Debug)]
struct Gathering {
    socket: Socket,
    bytes: Vec<u8>,
    /// How much of them is written.
    written: usize,
    /// Whether there was no room when something was last written.
    full: bool,
    signs: u64,
}

/// Both ends.
pub(super) fn coalesce(socket: Socket) -> (Coalesce, Flush) {
    let shared = Shared(Arc::new(Mutex::new(Gathering::new(socket))));
    (Coalesce(shared.clone()), Flush(shared))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Gathering> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flush {
    /// Writes what was gathered. Ready when all of it is sent; otherwise `cx` is woken when there is room.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.0.lock();
        ready!(gathering.poll_write_out(cx))?;
        let sent = Pin::new(&mut gathering.socket).poll_flush(cx);
        gathering.note_room(sent.is_ready());
        sent
    }

    /// Signs of life of the client so far: something came from it, or there is room again where there was none, so
    /// that it has read something. A write alone is no sign, as the system takes it for a client that is gone, too.
    pub(super) fn signs_of_life(&self) -> u64 {
        self.0.lock().signs
    }
}

impl Gathering {
    fn new(socket: Socket) -> Self {
        Self { socket, bytes: Vec::new(), written: 0, full: false, signs: 0 }
    }

    fn note_room(&mut self, is_room: bool) {
        self.signs += u64::from(self.full && is_room);
        self.full = !is_room;
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let written = Pin::new(&mut self.socket).poll_write(cx, &self.bytes[self.written..]);
            self.note_room(written.is_ready());
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.written += count;
                    Version::Http2.sent(count);
                }
            }
        }
        self.written = 0;
        let mut buffer = std::mem::take(&mut self.bytes);
        if buffer.capacity() > 0 {
            buffer.clear();
            // If there are enough of them, this one is freed.
            let _ = SPARE.push(buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Coalesce {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathering = self.0.lock();
        if gathering.bytes.len() >= SIZE {
            ready!(gathering.poll_write_out(cx))?;
        }
        if gathering.bytes.capacity() == 0 {
            gathering.bytes = SPARE.pop().unwrap_or_else(|| Vec::with_capacity(SIZE));
        }
        let mut count = 0;
        for slice in slices {
            let room = SIZE - gathering.bytes.len();
            let taken = &slice[..slice.len().min(room)];
            gathering.bytes.extend_from_slice(taken);
            count += taken.len();
            if taken.len() < slice.len() {
                break;
            }
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing, as HTTP/2 flushes after every frame.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.0.lock();
        ready!(gathering.poll_write_out(cx))?;
        // A connection that the client has closed is closed.
        Pin::new(&mut gathering.socket).poll_shutdown(cx).map(|_| Ok(()))
    }
}

impl AsyncRead for Coalesce {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let mut gathering = self.0.lock();
        let read = Pin::new(&mut gathering.socket).poll_read(cx, buf);
        let more = buf.filled().len() - before;
        if more > 0 {
            gathering.signs += 1;
            Version::Http2.received(more);
        }
        read
    }
}
