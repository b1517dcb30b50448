//! Requests that may fail, as servers are killed meanwhile.

use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Span, number};
use crate::support::http::b64;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// One request on a connection of its own: status and body.
pub fn post(server: SocketAddr, path: &str, body: &Value) -> Result<(u16, Value)> {
    let mut stream = open(server, path, body)?;
    let (status, length) = head(&mut stream)?;
    let body = if let Some(length) = length {
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        body
    } else {
        let mut body = Vec::new();
        loop {
            let piece = chunk(&mut stream)?;
            if piece.is_empty() {
                break body;
            }
            body.extend(piece);
        }
    };
    Ok((status, serde_json::from_slice(&body).map_err(Error::other)?))
}

/// Revision and pairs of everything.
pub fn state(server: SocketAddr, serializable: bool) -> Option<(i64, Value)> {
    let all = json!({"key": b64(Span::ALL.0), "range_end": b64(Span::ALL.1), "serializable": serializable});
    let (status, mut body) = post(server, "/v3/kv/range", &all).ok()?;
    (status == 200).then(|| (number(&body["header"]["revision"]), body["kvs"].take()))
}

/// A watch stream.
pub struct Stream(BufReader<TcpStream>);

impl Stream {
    /// Asks for everything in a range from a revision on, and waits until the watcher is made.
    pub fn watch(server: SocketAddr, span: Span, from: i64) -> Result<Self> {
        let create = json!({"key": b64(span.0), "range_end": b64(span.1), "start_revision": from});
        let mut stream = open(server, "/v3/watch", &json!({"create_request": create}))?;
        let (status, _) = head(&mut stream)?;
        let mut stream = Self(stream);
        let created = if status == 200 { stream.next(PATIENCE)? } else { Value::Null };
        if created["created"] == true { Ok(stream) } else { Err(Error::other(format!("{status} {created}"))) }
    }

    /// The next message. After an error the stream is of no use.
    pub fn next(&mut self, patience: Duration) -> Result<Value> {
        self.0.get_ref().set_read_timeout(Some(patience))?;
        loop {
            let line = chunk(&mut self.0)?;
            if line.is_empty() {
                return Err(Error::other("the stream has ended"));
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let mut message: Value = serde_json::from_slice(&line).map_err(Error::other)?;
            if message["result"].is_object() {
                return Ok(message["result"].take());
            }
            return Err(Error::other(message.to_string()));
        }
    }
}

fn open(server: SocketAddr, path: &str, body: &Value) -> Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let body = body.to_string();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes())?;
    Ok(BufReader::new(stream))
}

/// Status and length; no length for chunks.
fn head(stream: &mut BufReader<TcpStream>) -> Result<(u16, Option<usize>)> {
    let status = line(stream)?;
    let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut length = None;
    loop {
        let header = line(stream)?.to_lowercase();
        match header.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().ok(),
            Some(_) => {}
            None => return Ok((code.ok_or_else(|| Error::other(status))?, length)),
        }
    }
}

fn line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(Error::other("the connection has ended"));
    }
    Ok(line.trim_end().to_owned())
}

/// One chunk; empty at the end.
fn chunk(stream: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
    let size = usize::from_str_radix(&line(stream)?, 16).map_err(Error::other)?;
    let mut data = vec![0; size + 2];
    if size > 0 {
        stream.read_exact(&mut data)?;
    }
    data.truncate(size);
    Ok(data)
}
