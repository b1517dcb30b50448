//! The floor: one thread that encodes an event once and writes the same bytes to every stream.
//!
//! Knows what a load asks for and nothing of etcd beyond it: a watch gets every put, and a range every key. Not a
//! server for anything else.

mod fault;
mod gateway;
mod grpc;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

pub(crate) use fault::Fault;
use fault::Faults;

const LISTENER: Token = Token(usize::MAX);

/// What there is.
#[derive(Debug, Default)]
struct State {
    revision: i64,
    /// By key, with revision.
    pairs: BTreeMap<Vec<u8>, (i64, Vec<u8>)>,
    faults: Faults,
    /// The last answer to a range, in both forms, until something changes.
    range: [Option<Vec<u8>>; 2],
}

/// One connection.
#[derive(Debug)]
struct Client {
    socket: TcpStream,
    request: Vec<u8>,
    /// What the socket has not taken yet.
    pending: Vec<u8>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    New,
    Gateway { watches: bool },
    Grpc(grpc::Streams),
}

/// What a client asks for.
enum Ask {
    /// To see every put; over gRPC on this stream.
    Watch(u32),
    Put(u32, Vec<u8>, Vec<u8>),
    Range(u32),
    /// Something that needs no answer.
    Nothing,
}

/// Serves until it is killed. `coalesce` writes the streams of a gRPC connection together.
pub(crate) fn serve(listen: &SocketAddr, coalesce: bool, fault: Option<Fault>) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let socket = socket2::Socket::new(socket2::Domain::for_address(*listen), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&(*listen).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(socket.into());
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut clients = slab::Slab::<Client>::new();
    let mut state = State { revision: 1, faults: Faults::new(fault), ..State::default() };
    let mut buffer = vec![0; 64 << 10];
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut socket, _)) = listener.accept() {
                    socket.set_nodelay(true)?;
                    let entry = clients.vacant_entry();
                    let token = Token(entry.key());
                    poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
                    entry.insert(Client { socket, request: Vec::new(), pending: Vec::new(), kind: Kind::New });
                }
                continue;
            }
            let number = event.token().0;
            let Some(client) = clients.get_mut(number) else { continue };
            client.flush();
            if !client.fill(&mut buffer) {
                clients.remove(number);
                continue;
            }
            while let Some(ask) = clients.get_mut(number).and_then(Client::take) {
                answer(&mut state, &mut clients, number, ask, coalesce);
            }
        }
    }
}

fn answer(state: &mut State, clients: &mut slab::Slab<Client>, number: usize, ask: Ask, coalesce: bool) {
    let revision = state.revision;
    match ask {
        Ask::Nothing => clients[number].flush(),
        Ask::Watch(stream) => {
            let client = &mut clients[number];
            match &mut client.kind {
                Kind::Grpc(streams) => {
                    let created = streams.watch(stream, revision);
                    client.write(&created);
                }
                kind => {
                    *kind = Kind::Gateway { watches: true };
                    client.write(&gateway::created(revision));
                }
            }
        }
        Ask::Put(stream, key, value) => {
            state.revision += 1;
            state.range = [None, None];
            let revision = state.revision;
            let (json, proto) = (gateway::event(&key, &value, revision), grpc::event(&key, &value, revision));
            let mut is_first = true;
            for (_, client) in clients.iter_mut() {
                match &client.kind {
                    Kind::Gateway { watches: true } => {
                        if std::mem::take(&mut is_first) {
                            let encoded = STANDARD.encode(&value);
                            client.write(&state.faults.apply(&json, encoded.as_bytes()));
                        } else {
                            client.write(&json);
                        }
                    }
                    Kind::Grpc(streams) => {
                        let mut frames = streams.frames(&proto);
                        if let Some(first) = frames.first_mut().filter(|_| std::mem::take(&mut is_first)) {
                            *first = state.faults.apply(first, &value).into_owned();
                        }
                        if coalesce {
                            client.write(&frames.concat());
                        } else {
                            frames.iter().for_each(|frame| client.write(frame));
                        }
                    }
                    Kind::New | Kind::Gateway { watches: false } => {}
                }
            }
            state.pairs.insert(key, (revision, value));
            let client = &mut clients[number];
            let answer = match client.kind {
                Kind::Grpc(_) => grpc::put_answer(stream, revision),
                _ => gateway::put_answer(revision),
            };
            client.write(&answer);
        }
        Ask::Range(stream) => {
            let client = &mut clients[number];
            let grpc = matches!(client.kind, Kind::Grpc(_));
            let (pairs, kept) = (&state.pairs, &mut state.range[usize::from(grpc)]);
            let body = kept.get_or_insert_with(|| {
                if grpc { grpc::range(pairs, revision) } else { gateway::range(pairs, revision) }
            });
            if grpc { client.write(&grpc::frames_of(stream, body)) } else { client.write(body) }
        }
    }
}

impl Client {
    /// Reads what there is. False if the client has left.
    fn fill(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return false,
                Ok(length) => self.request.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    /// The next whole request.
    fn take(&mut self) -> Option<Ask> {
        if matches!(self.kind, Kind::New) {
            if self.request.len() < 4 {
                return None;
            }
            self.kind = if self.request.starts_with(b"PRI ") {
                Kind::Grpc(grpc::Streams::default())
            } else {
                Kind::Gateway { watches: false }
            };
        }
        match &mut self.kind {
            Kind::Grpc(streams) => streams.take(&mut self.request, &mut self.pending),
            _ => gateway::take(&mut self.request),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if !self.pending.is_empty() {
            self.pending.extend_from_slice(bytes);
            return;
        }
        let written = self.socket.write(bytes).unwrap_or(0);
        self.pending.extend_from_slice(&bytes[written..]);
    }

    fn flush(&mut self) {
        let mut at = 0;
        while at < self.pending.len() {
            match self.socket.write(&self.pending[at..]) {
                Ok(count) if count > 0 => at += count,
                _ => break,
            }
        }
        self.pending.drain(..at);
    }
}
