//! The floor: one thread that encodes an event once and writes the same bytes to every stream, one write each.
//!
//! Knows two requests, and nothing of etcd beyond them: a watch gets every put. Not a server for anything else.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::Result;
use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};

const LISTENER: Token = Token(usize::MAX);

/// One connection.
#[derive(Debug)]
struct Client {
    socket: TcpStream,
    request: Vec<u8>,
    /// What the socket has not taken yet.
    pending: Vec<u8>,
    watches: bool,
}

/// Serves until it is killed.
pub(crate) fn serve(listen: &SocketAddr) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let socket = std::net::TcpListener::bind(listen)?;
    socket.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(socket);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut revision = 1;
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
                    poll.registry().register(
                        &mut socket,
                        Token(clients.len()),
                        Interest::READABLE | Interest::WRITABLE,
                    )?;
                    clients.push(Some(Client { socket, request: Vec::new(), pending: Vec::new(), watches: false }));
                }
                continue;
            }
            let number = event.token().0;
            let Some(client) = clients[number].as_mut() else { continue };
            client.flush();
            if !client.fill(&mut buffer) {
                clients[number] = None;
                continue;
            }
            while let Some(body) = clients[number].as_mut().and_then(Client::take) {
                if body.get("create_request").is_some() {
                    start(clients[number].as_mut(), revision);
                } else {
                    revision += 1;
                    put(&mut clients, number, &body, revision);
                }
            }
        }
    }
}

fn header(revision: i64) -> Value {
    json!({"cluster_id": "1", "member_id": "2", "revision": revision.to_string(), "raft_term": "2"})
}

fn chunk(message: &Value) -> Vec<u8> {
    let line = format!("{}\n", json!({"result": message}));
    format!("{:x}\r\n{line}\r\n", line.len()).into_bytes()
}

fn start(client: Option<&mut Client>, revision: i64) {
    let Some(client) = client else { return };
    client.watches = true;
    client.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.write(&chunk(&json!({"header": header(revision), "created": true})));
}

fn put(clients: &mut [Option<Client>], writer: usize, body: &Value, revision: i64) {
    let pair = json!({
        "key": body["key"],
        "create_revision": revision.to_string(),
        "mod_revision": revision.to_string(),
        "version": "1",
        "value": body["value"],
    });
    let event = chunk(&json!({"header": header(revision), "events": [{"kv": pair}]}));
    for client in clients.iter_mut().flatten().filter(|client| client.watches) {
        client.write(&event);
    }
    if let Some(client) = &mut clients[writer] {
        let answer = json!({"header": header(revision)}).to_string();
        client.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()).as_bytes());
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

    /// The body of the next whole request.
    fn take(&mut self) -> Option<Value> {
        let head = memmem::find(&self.request, b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&self.request[..head]).to_ascii_lowercase();
        let length: usize = text.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
        let body = self.request.get(head..head + length)?;
        let value = serde_json::from_slice(body).ok();
        self.request.drain(..head + length);
        value
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
        if !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending);
            self.write(&pending);
        }
    }
}
