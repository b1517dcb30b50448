//! Many watch streams, read by one thread.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::chunks::{Chunks, Said};
use crate::http;

/// Streams that are opened before any of them is waited for, which keeps below the backlog of any server.
const AT_ONCE: usize = 100;

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// The streams of a load.
#[derive(Debug)]
pub(crate) struct Streams {
    poll: Poll,
    events: Events,
    streams: Vec<Stream>,
    buffer: Vec<u8>,
    said: Vec<Said>,
}

#[derive(Debug)]
struct Stream {
    socket: TcpStream,
    chunks: Chunks,
    created: bool,
    /// The revision of the last event.
    last: i64,
}

impl Streams {
    /// Opens streams and waits until each has its watcher.
    pub(crate) fn open(address: SocketAddr, count: usize, opened: impl Fn(usize)) -> Result<Self> {
        let (poll, events) = (Poll::new()?, Events::with_capacity(1024));
        let mut streams = Self { poll, events, streams: Vec::new(), buffer: vec![0; 64 << 10], said: Vec::new() };
        let request = http::watch();
        while streams.streams.len() < count {
            let more = AT_ONCE.min(count - streams.streams.len());
            for _ in 0..more {
                // Connected before it is handed over, so that the request can be written at once.
                let mut socket = std::net::TcpStream::connect(address).context("cannot connect a watch stream")?;
                socket.set_nodelay(true)?;
                socket.write_all(&request)?;
                socket.set_nonblocking(true)?;
                let mut socket = TcpStream::from_std(socket);
                let token = Token(streams.streams.len());
                streams.poll.registry().register(&mut socket, token, Interest::READABLE)?;
                streams.streams.push(Stream { socket, chunks: Chunks::default(), created: false, last: 0 });
            }
            let wanted = streams.streams.len();
            let mut created = wanted - more;
            while created < wanted {
                streams.read(|_, said, stream| {
                    match said {
                        Said::Created if !stream.created => stream.created = true,
                        other => bail!("{other:?} instead of a watcher"),
                    }
                    created += 1;
                    Ok(())
                })?;
            }
            opened(created);
        }
        Ok(streams)
    }

    /// Waits until every stream has the event of `revision`, which must be the next of each. `arrived` is told of each.
    pub(crate) fn wait_for(&mut self, revision: i64, mut arrived: impl FnMut()) -> Result<()> {
        let mut missing = self.streams.len();
        while missing > 0 {
            self.read(|number, said, stream| {
                let Said::Event(got) = said else { bail!("stream {number} was told {said:?} instead of {revision}") };
                ensure!(
                    got == revision && stream.last < revision,
                    "stream {number} got revision {got} after {}, where {revision} was next",
                    stream.last
                );
                stream.last = got;
                missing -= 1;
                arrived();
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Whether nobody says anything more.
    pub(crate) fn stay_silent(&mut self) -> Result<()> {
        self.poll.poll(&mut self.events, Some(Duration::from_millis(100)))?;
        ensure!(self.events.is_empty(), "more events than there were changes");
        Ok(())
    }

    fn read(&mut self, mut each: impl FnMut(usize, Said, &mut Stream) -> Result<()>) -> Result<()> {
        let waited = Instant::now();
        self.poll.poll(&mut self.events, Some(PATIENCE))?;
        ensure!(!self.events.is_empty() || waited.elapsed() < PATIENCE, "nothing came for {} s", PATIENCE.as_secs());
        for event in &self.events {
            let number = event.token().0;
            let stream = &mut self.streams[number];
            loop {
                match stream.socket.read(&mut self.buffer) {
                    Ok(0) => bail!("stream {number} was closed by the server"),
                    Ok(length) => {
                        let answer = stream.chunks.read(&self.buffer[..length], &mut self.said);
                        answer.with_context(|| {
                            let text = String::from_utf8_lossy(&self.buffer[..length.min(300)]).into_owned();
                            format!("stream {number} got no watch stream: {text}")
                        })?;
                        for said in self.said.drain(..) {
                            each(number, said, stream)?;
                        }
                        if length < self.buffer.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error).with_context(|| format!("stream {number}")),
                }
            }
        }
        Ok(())
    }
}
