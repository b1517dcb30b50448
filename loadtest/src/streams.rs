//! Many watch streams, read by one thread, each checked to see every change once, in order and as it was put.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use confcast::pb::etcdserverpb::watch_request::RequestUnion;
use confcast::pb::etcdserverpb::{WatchCreateRequest, WatchRequest};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use serde_json::json;
use std::os::fd::AsRawFd;

use crate::client::{end, post};
use crate::content::{Change, Event, Reader};
use crate::meter::patience;
use crate::socket::Socket;
use crate::target::{Protocol, Target};
use crate::wire::chunks::Chunks;
use crate::wire::{Said, grpc, h2};

/// Connections that are opened before any of them is waited for, which keeps below the backlog of any server.
const AT_ONCE: usize = 100;

/// The streams of a load.
#[derive(Debug)]
pub(crate) struct Streams {
    poll: Poll,
    events: Events,
    connections: Vec<Option<Connection>>,
    pub(crate) watchers: Vec<Watcher>,
    buffer: Vec<u8>,
    said: Vec<(u32, Said)>,
    /// Of what comes.
    pub(crate) reader: Reader,
    /// Whether a connection may end.
    pub(crate) tolerant: bool,
}

/// What is watched.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) prefix: String,
    /// The first revision wanted; zero for the next.
    pub(crate) from: i64,
}

#[derive(Debug)]
struct Connection {
    socket: Socket,
    wire: Wire,
    /// Its first watcher; the others follow.
    first: usize,
    /// What the socket has not taken yet.
    pending: Vec<u8>,
}

#[derive(Debug)]
enum Wire {
    Gateway(Chunks),
    /// With the messages of each stream.
    Grpc(h2::Connection, Vec<grpc::Messages>),
}

/// What a stream has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watcher {
    pub(crate) created: bool,
    /// The revision of the last event.
    pub(crate) last: i64,
    /// Events so far.
    pub(crate) count: u64,
    /// Of their revisions and contents, in order.
    pub(crate) digest: u64,
}

impl Watcher {
    /// Takes an event, which must be newer than the last, and have what somebody has put.
    pub(crate) fn take(&mut self, number: usize, event: &Event) -> Result<()> {
        let revision = event.revision;
        ensure!(revision > self.last, "stream {number} got revision {revision} after {}", self.last);
        ensure!(event.content.is_sound, "stream {number} got something at revision {revision} that was not put so");
        self.last = revision;
        self.count += 1;
        self.digest = digest(self.digest, &Change { revision, identity: event.content.identity });
        Ok(())
    }
}

/// Of one more change.
pub(crate) fn digest(before: u64, change: &Change) -> u64 {
    [change.revision.cast_unsigned(), change.identity]
        .into_iter()
        .fold(before, |before, number| (before.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Of changes in order.
pub(crate) fn digest_of(changes: &[Change]) -> u64 {
    changes.iter().fold(0, digest)
}

impl Streams {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            connections: Vec::new(),
            watchers: Vec::new(),
            buffer: vec![0; 256 << 10],
            said: Vec::new(),
            reader: Reader::default(),
            tolerant: false,
        })
    }

    /// Opens streams, `each` on a connection, and waits until all have their watchers.
    pub(crate) fn open(
        &mut self,
        target: &Target,
        count: usize,
        each: usize,
        watch: &Watch,
        opened: impl Fn(usize),
    ) -> Result<()> {
        let wanted = self.watchers.len() + count;
        let start = self.watchers.len();
        while self.watchers.len() < wanted {
            let first = self.watchers.len();
            for _ in 0..AT_ONCE.div_ceil(each).min((wanted - first).div_ceil(each)) {
                let number = self.connections.len();
                self.connections.push(None);
                self.connect(target, number, each.min(wanted - self.watchers.len()), watch)?;
            }
            self.wait_until(
                |watchers| watchers[first..].iter().all(|watcher| watcher.created),
                |_, said, watcher| {
                    ensure!(said == Said::Created && !watcher.created, "{said:?} instead of a watcher");
                    watcher.created = true;
                    Ok(())
                },
            )?;
            opened(self.watchers.len() - start);
        }
        Ok(())
    }

    /// Opens a connection with `count` new watchers.
    fn connect(&mut self, target: &Target, number: usize, count: usize, watch: &Watch) -> Result<()> {
        let first = self.watchers.len();
        self.watchers.resize(first + count, Watcher::default());
        self.attach(target, number, first, count, watch)
    }

    /// Closes the connection of a watcher that has one for itself, and watches again from `watch` on.
    pub(crate) fn reopen(&mut self, target: &Target, watcher: usize, watch: &Watch) -> Result<()> {
        let found = self.connections.iter().position(|c| c.as_ref().is_some_and(|c| c.first == watcher));
        let number = found.unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.connections[number] = None;
        self.watchers[watcher].created = false;
        self.attach(target, number, watcher, 1, watch)
    }

    fn attach(&mut self, target: &Target, number: usize, first: usize, count: usize, watch: &Watch) -> Result<()> {
        let mut socket = Socket::open(target)?;
        let token = target.token.as_deref();
        let (wire, out) = match target.protocol {
            Protocol::Gateway => (Wire::Gateway(Chunks::default()), gateway_request(token, watch)),
            Protocol::Grpc => {
                let mut connection = h2::Connection::new();
                let request = grpc::framed(&grpc_request(watch));
                for stream in 0..count {
                    let stream = u32::try_from(stream * 2 + 1)?;
                    connection.request(stream, "/etcdserverpb.Watch/Watch", token, &request, false);
                }
                let out = std::mem::take(&mut connection.out);
                (Wire::Grpc(connection, (0..count).map(|_| grpc::Messages::default()).collect()), out)
            }
        };
        socket.write_all(&out)?;
        socket.stream().set_nonblocking(true)?;
        let fd = socket.stream().as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&fd), Token(number), Interest::READABLE | Interest::WRITABLE)?;
        self.connections[number] = Some(Connection { socket, wire, first, pending: Vec::new() });
        Ok(())
    }

    /// Reads until `done`, or fails when nothing comes for too long.
    pub(crate) fn wait_until(
        &mut self,
        done: impl Fn(&[Watcher]) -> bool,
        mut each: impl FnMut(usize, Said, &mut Watcher) -> Result<()>,
    ) -> Result<()> {
        let mut heard = Instant::now();
        while !done(&self.watchers) {
            if self.turn(Duration::from_secs(1), &mut each)? > 0 {
                heard = Instant::now();
            }
            ensure!(heard.elapsed() < patience(), "nothing came for {} s", patience().as_secs());
        }
        Ok(())
    }

    /// Waits until something is said, but no longer than `timeout`. Returns how much was, so zero stands for silence.
    pub(crate) fn turn(
        &mut self,
        timeout: Duration,
        mut each: impl FnMut(usize, Said, &mut Watcher) -> Result<()>,
    ) -> Result<usize> {
        let started = Instant::now();
        loop {
            // What has come may be but a part of a message, which says nothing yet.
            let left = timeout.saturating_sub(started.elapsed());
            let count = self.read(left, &mut each)?;
            if count > 0 || started.elapsed() >= timeout {
                return Ok(count);
            }
        }
    }

    /// Reads what there is, once there is anything. Returns how much was said.
    fn read(
        &mut self,
        timeout: Duration,
        each: &mut impl FnMut(usize, Said, &mut Watcher) -> Result<()>,
    ) -> Result<usize> {
        if let Err(error) = self.poll.poll(&mut self.events, Some(timeout)) {
            // Those of the last time are still there.
            return if error.kind() == ErrorKind::Interrupted { Ok(0) } else { Err(error.into()) };
        }
        let mut count = 0;
        for event in &self.events {
            let place = &mut self.connections[event.token().0];
            // The end may have come with the last bytes, and is told only once.
            let has_ended = event.is_read_closed();
            while let Some(connection) = place {
                let mut gone = false;
                let more = match connection.read(&mut self.buffer, &mut self.reader, &mut self.said) {
                    Err(_) if self.tolerant => {
                        gone = true;
                        self.said.push((0, Said::Gone));
                        false
                    }
                    read => read.with_context(|| format!("stream {}", connection.first))?,
                };
                count += self.said.len();
                for (offset, said) in self.said.drain(..) {
                    let number = connection.first + offset as usize;
                    each(number, said, &mut self.watchers[number])?;
                }
                if gone {
                    *place = None;
                }
                if !more && !has_ended {
                    break;
                }
            }
        }
        Ok(count)
    }

    /// Whether nobody says anything more.
    pub(crate) fn stay_silent(&mut self) -> Result<()> {
        let said =
            self.turn(Duration::from_millis(100), |number, said, _| bail!("stream {number} got {said:?} too much"))?;
        ensure!(said == 0, "more events than there were changes");
        Ok(())
    }

    /// Checks that every stream saw just these changes, in this order.
    pub(crate) fn check(&self, changes: &[Change]) -> Result<()> {
        let expected = digest_of(changes);
        for (number, watcher) in self.watchers.iter().enumerate() {
            ensure!(
                watcher.count == changes.len() as u64 && watcher.digest == expected,
                "stream {number} saw {} events up to revision {}, which are not the {} up to {} that there were",
                watcher.count,
                watcher.last,
                changes.len(),
                changes.last().map_or(0, |change| change.revision)
            );
        }
        Ok(())
    }
}

impl Connection {
    /// Reads once. False if there is nothing more to read for now.
    fn read(&mut self, buffer: &mut [u8], reader: &mut Reader, said: &mut Vec<(u32, Said)>) -> Result<bool> {
        self.send()?;
        let length = match self.socket.read(buffer) {
            Ok(0) => bail!("closed by the server"),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let bytes = &buffer[..length];
        match &mut self.wire {
            Wire::Gateway(chunks) => {
                let mut heard = Vec::new();
                let read = chunks.read(bytes, reader, &mut heard);
                said.extend(heard.into_iter().map(|heard| (0, heard)));
                read.with_context(|| {
                    format!("no watch stream but {}", String::from_utf8_lossy(&bytes[..length.min(300)]))
                })?;
            }
            Wire::Grpc(connection, streams) => {
                let (mut heard, mut ended) = (Vec::new(), None);
                connection.read(bytes, |frame| match frame {
                    h2::Frame::Data { stream, bytes, ended: false } => {
                        let offset = stream / 2;
                        if let Some(messages) = streams.get_mut(offset as usize) {
                            messages.read(bytes, |message| grpc::watch_response(message, reader, &mut heard));
                        }
                        said.extend(heard.drain(..).map(|heard| (offset, heard)));
                    }
                    h2::Frame::Headers { ended: false, .. } => {}
                    h2::Frame::Headers { stream, .. } | h2::Frame::Data { stream, .. } => ended = Some((stream, 0)),
                    h2::Frame::Reset { stream, code } => ended = Some((stream, code)),
                });
                if let Some((stream, code)) = ended {
                    bail!("ended by the server: stream {stream} of the connection, code {code}");
                }
                self.pending.append(&mut connection.out);
                self.send()?;
            }
        }
        // A socket that gave less than it was asked for has no more; one with TLS gives a record at a time.
        Ok(length == buffer.len() || self.socket.has_tls())
    }

    fn send(&mut self) -> Result<()> {
        while !self.pending.is_empty() {
            match self.socket.write(&self.pending) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// All that a client sends for one watch on a connection of its own.
pub(crate) fn request(target: &Target, watch: &Watch) -> Vec<u8> {
    let token = target.token.as_deref();
    match target.protocol {
        Protocol::Gateway => gateway_request(token, watch),
        Protocol::Grpc => {
            let mut connection = h2::Connection::new();
            let message = grpc::framed(&grpc_request(watch));
            connection.request(1, "/etcdserverpb.Watch/Watch", token, &message, false);
            connection.out
        }
    }
}

fn gateway_request(token: Option<&str>, watch: &Watch) -> Vec<u8> {
    let (key, range_end) = (STANDARD.encode(&watch.prefix), STANDARD.encode(end(&watch.prefix)));
    let create = json!({"key": key, "range_end": range_end, "start_revision": watch.from});
    post("/v3/watch", token, &json!({"create_request": create}).to_string())
}

fn grpc_request(watch: &Watch) -> WatchRequest {
    let create = WatchCreateRequest {
        key: watch.prefix.clone().into(),
        range_end: end(&watch.prefix).into(),
        start_revision: watch.from,
        ..WatchCreateRequest::default()
    };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::content::Content;

    #[test]
    fn a_stream_is_held_against_what_was_put() {
        let put = [(3, 30), (5, 50)].map(|(revision, identity)| Change { revision, identity });
        let check = |seen: &[(i64, u64)]| {
            let mut streams = Streams::new().expect("a poll");
            let mut watcher = Watcher::default();
            for (revision, identity) in seen {
                let content = Content { identity: *identity, sent: 0, is_sound: true };
                watcher.take(0, &Event { revision: *revision, content })?;
            }
            streams.watchers.push(watcher);
            streams.check(&put)
        };
        check(&[(3, 30), (5, 50)]).expect("all is well");
        for wrong in [&[(3, 30)][..], &[(3, 30), (4, 50)], &[(3, 50), (5, 30)], &[(5, 50), (3, 30)]] {
            check(wrong).expect_err("not what was put");
        }
    }

    #[test]
    fn a_part_of_a_message_is_not_silence() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = Target::local(listener.local_addr().expect("bound"), Protocol::Gateway);
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept()?;
            let line = r#"{"result":{"header":{"revision":"1"},"created":true}}"#;
            let answer =
                format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{line}\n\r\n", line.len() + 1);
            for part in answer.as_bytes().chunks(answer.len() / 3 + 1) {
                peer.write_all(part)?;
                std::thread::sleep(Duration::from_millis(50));
            }
            peer.read(&mut [0; 4096]).map(|_| peer)
        });
        let mut streams = Streams::new().expect("a poll");
        streams.connections.push(None);
        streams.connect(&target, 0, 1, &Watch { prefix: "/".into(), from: 0 }).expect("connects");
        let said = streams.turn(Duration::from_secs(20), |_, said, _| {
            ensure!(said == Said::Created, "{said:?}");
            Ok(())
        });
        assert_eq!(said.expect("a watcher"), 1);
        drop(server.join());
    }
}
