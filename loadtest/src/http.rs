//! Requests of the gateway, over a connection that waits for each answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Below this prefix all keys of a load are.
const PREFIX: &str = "/loadtest/";

/// A connection for puts.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Puts a value and returns its revision.
    pub(crate) fn put(&mut self, key: usize, value: &[u8]) -> Result<i64> {
        let key = STANDARD.encode(format!("{PREFIX}{key}"));
        let body = json!({"key": key, "value": STANDARD.encode(value)}).to_string();
        self.stream.get_mut().write_all(&post("/v3/kv/put", &body))?;
        let answer: Value = serde_json::from_slice(&self.answer()?)?;
        let revision = answer["header"]["revision"].as_str().and_then(|text| text.parse().ok());
        revision.with_context(|| format!("no revision in {answer}"))
    }

    fn answer(&mut self) -> Result<Vec<u8>> {
        let mut status = String::new();
        self.stream.read_line(&mut status)?;
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        ensure!(status.starts_with("HTTP/1.1 200"), "{}: {}", status.trim(), String::from_utf8_lossy(&body));
        Ok(body)
    }
}

/// The request for a watcher of everything that a load puts.
pub(crate) fn watch() -> Vec<u8> {
    let end = PREFIX.trim_end_matches('/').to_owned() + "0";
    let create = json!({"key": STANDARD.encode(PREFIX), "range_end": STANDARD.encode(end)});
    post("/v3/watch", &json!({"create_request": create}).to_string())
}

fn post(path: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: loadtest\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
