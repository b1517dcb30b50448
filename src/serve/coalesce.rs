//! Fewer, larger writes.
//!
//! The streams of an HTTP/2 connection are written one frame at a time, and each write of its own costs ten times what
//! copying the frame does. So frames are gathered, and written when the connection has nothing more to say or the
//! buffer is full.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use crossbeam::queue::ArrayQueue;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that are gathered.
const SIZE: usize = 64 << 10;

/// Buffers that are kept for whoever writes next. A connection has one only while there is something in it, as most
/// are idle most of the time.
static SPARE: LazyLock<ArrayQueue<Vec<u8>>> = LazyLock::new(|| ArrayQueue::new(64));

/// A socket whose writes are gathered until [`Flush::poll`].
#[derive(Debug)]
pub(super) struct Coalesce(Arc<Shared>);

/// The other end of a [`Coalesce`].
#[derive(Debug)]
pub(super) struct Flush(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    /// Only ever locked by the connection's own task.
    gathered: Mutex<Gathered>,
}

#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    /// How much of them is written.
    written: usize,
}

/// Both ends.
pub(super) fn coalesce(stream: TcpStream) -> (Coalesce, Flush) {
    let shared = Arc::new(Shared { stream, gathered: Mutex::default() });
    (Coalesce(shared.clone()), Flush(shared))
}

impl Flush {
    /// Writes what was gathered. Ready when all of it is written; otherwise `cx` is woken when there is room.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_write_out(&mut self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner), cx)
    }
}

impl Shared {
    fn poll_write_out(&self, gathered: &mut Gathered, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while gathered.written < gathered.bytes.len() {
            match self.stream.try_write(&gathered.bytes[gathered.written..]) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => gathered.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.stream.poll_write_ready(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let mut buffer = std::mem::take(gathered).bytes;
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
        let mut gathered = self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        if gathered.bytes.len() >= SIZE {
            ready!(self.0.poll_write_out(&mut gathered, cx))?;
        }
        if gathered.bytes.capacity() == 0 {
            gathered.bytes = SPARE.pop().unwrap_or_else(|| Vec::with_capacity(SIZE));
        }
        let mut count = 0;
        for slice in slices {
            let room = SIZE - gathered.bytes.len();
            let taken = &slice[..slice.len().min(room)];
            gathered.bytes.extend_from_slice(taken);
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
        ready!(self.0.poll_write_out(&mut self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner), cx))?;
        // A connection that the client has closed is closed.
        let _ = SockRef::from(&self.0.stream).shutdown(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Coalesce {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.stream.poll_read_ready(cx))?;
            match self.0.stream.try_read(buf.initialize_unfilled()) {
                Ok(count) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}
