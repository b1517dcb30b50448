//! Calls with one answer, over a connection that waits for it.

use std::io::{BufRead, BufReader, Read, Write};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use confcast::pb::etcdserverpb::{
    AuthenticateRequest, AuthenticateResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
};
use prost::Message;
use serde_json::{Value, json};

use crate::meter::patience;
use crate::socket::Socket;
use crate::target::{Protocol, Target};
use crate::wire::{grpc, h2};

/// Keys and values.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Calls at one of several endpoints, and at the next when one does not answer.
#[derive(Debug)]
pub(crate) struct Caller {
    targets: Vec<Target>,
    at: usize,
    client: Option<Client>,
}

impl Caller {
    pub(crate) fn new(targets: &[Target]) -> Self {
        Self { targets: targets.to_vec(), at: 0, client: None }
    }

    /// Makes a call once, as it is not known what became of one without an answer.
    pub(crate) fn once<T>(&mut self, call: impl FnOnce(&mut Client) -> Result<T>) -> Result<T> {
        let mut refused = 0;
        let client = loop {
            match self.client.take().map_or_else(|| Client::open(&self.targets[self.at]), Ok) {
                Ok(client) => break self.client.insert(client),
                Err(error) => {
                    self.at = (self.at + 1) % self.targets.len();
                    refused += 1;
                    ensure!(refused < self.targets.len(), error);
                }
            }
        };
        let answer = call(client);
        if answer.is_err() {
            self.client = None;
            self.at = (self.at + 1) % self.targets.len();
        }
        answer
    }

    /// Makes a call that may be made again.
    pub(crate) fn call<T>(&mut self, call: impl Fn(&mut Client) -> Result<T>) -> Result<T> {
        let mut answer = self.once(&call);
        for _ in 1..self.targets.len() {
            if answer.is_err() {
                answer = self.once(&call);
            }
        }
        answer
    }
}

/// A connection for calls.
#[derive(Debug)]
pub(crate) struct Client {
    socket: BufReader<Socket>,
    token: Option<String>,
    /// For gRPC, and the stream of the next call.
    http2: Option<(h2::Connection, u32)>,
}

impl Client {
    pub(crate) fn open(target: &Target) -> Result<Self> {
        let socket = Socket::open(target)?;
        socket.stream().set_read_timeout(Some(patience()))?;
        let http2 = (target.protocol == Protocol::Grpc).then(|| (h2::Connection::new(), 1));
        Ok(Self { socket: BufReader::new(socket), token: target.token.clone(), http2 })
    }

    /// Puts a value and returns its revision.
    pub(crate) fn put(&mut self, key: &str, value: &[u8]) -> Result<i64> {
        if self.http2.is_some() {
            let request =
                PutRequest { key: key.to_owned().into(), value: value.to_vec().into(), ..PutRequest::default() };
            let answer: PutResponse = self.call("/etcdserverpb.KV/Put", &request)?;
            return Ok(answer.header.context("no header")?.revision);
        }
        let body = json!({"key": STANDARD.encode(key), "value": STANDARD.encode(value)});
        let answer = self.post("/v3/kv/put", &body)?;
        let revision = answer["header"]["revision"].as_str().and_then(|text| text.parse().ok());
        revision.with_context(|| format!("no revision in {answer}"))
    }

    /// The keys below a prefix: how many there are, and the revision at which they were read.
    pub(crate) fn range(&mut self, prefix: &str) -> Result<(usize, i64)> {
        let (pairs, revision) = self.pairs(prefix)?;
        Ok((pairs.len(), revision))
    }

    /// Keys and values below a prefix, and the revision at which they were read.
    pub(crate) fn pairs(&mut self, prefix: &str) -> Result<(Pairs, i64)> {
        if self.http2.is_some() {
            let answer: RangeResponse = self.call("/etcdserverpb.KV/Range", &range_request(prefix))?;
            let pairs = answer.kvs.into_iter().map(|pair| (pair.key.into(), pair.value.into()));
            return Ok((pairs.collect(), answer.header.context("no header")?.revision));
        }
        let answer = self.post("/v3/kv/range", &range_body(prefix))?;
        let revision = answer["header"]["revision"].as_str().and_then(|text| text.parse().ok());
        let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default());
        let pair = |pair: &Value| Ok((bytes(&pair["key"])?, bytes(&pair["value"])?));
        let pairs = answer["kvs"].as_array().into_iter().flatten().map(pair).collect::<Result<_>>()?;
        Ok((pairs, revision.context("no revision")?))
    }

    /// The version that APISIX asks for when it starts.
    pub(crate) fn version(&mut self) -> Result<()> {
        self.socket.get_mut().write_all(b"GET /version HTTP/1.1\r\nHost: loadtest\r\n\r\n")?;
        self.answer().map(drop)
    }

    /// A token for a name and a password.
    pub(crate) fn authenticate(&mut self, name: &str, password: &str) -> Result<String> {
        if self.http2.is_some() {
            let request = AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
            return Ok(self.call::<AuthenticateResponse>("/etcdserverpb.Auth/Authenticate", &request)?.token);
        }
        let answer = self.post("/v3/auth/authenticate", &json!({"name": name, "password": password}))?;
        answer["token"].as_str().map(str::to_owned).context("no token")
    }

    fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        let request = post(path, self.token.as_deref(), &body.to_string());
        self.socket.get_mut().write_all(&request)?;
        Ok(serde_json::from_slice(&self.answer()?)?)
    }

    fn answer(&mut self) -> Result<Vec<u8>> {
        let mut status = String::new();
        self.socket.read_line(&mut status)?;
        let (mut length, mut chunked) = (0, false);
        let mut line = String::new();
        loop {
            line.clear();
            self.socket.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
            chunked |= name.eq_ignore_ascii_case("transfer-encoding");
        }
        let mut body = Vec::new();
        if chunked {
            loop {
                line.clear();
                self.socket.read_line(&mut line)?;
                let size = usize::from_str_radix(line.trim_end(), 16)?;
                let start = body.len();
                body.resize(start + size + 2, 0);
                self.socket.read_exact(&mut body[start..])?;
                body.truncate(start + size);
                if size == 0 {
                    break;
                }
            }
        } else {
            body.resize(length, 0);
            self.socket.read_exact(&mut body)?;
        }
        ensure!(status.starts_with("HTTP/1.1 200"), "{}: {}", status.trim(), String::from_utf8_lossy(&body));
        Ok(body)
    }

    fn call<A: Message + Default>(&mut self, path: &str, request: &impl Message) -> Result<A> {
        let (connection, next) = self.http2.as_mut().context("no gRPC target")?;
        let wanted = *next;
        *next += 2;
        connection.request(wanted, path, self.token.as_deref(), &grpc::framed(request), true);
        let (mut messages, mut answer, mut over) = (grpc::Messages::default(), None, false);
        while !over {
            self.socket.get_mut().write_all(&connection.out)?;
            connection.out.clear();
            let bytes = self.socket.fill_buf()?;
            ensure!(!bytes.is_empty(), "the server has closed the connection");
            connection.read(bytes, |frame| match frame {
                h2::Frame::Data { stream, bytes, ended } if stream == wanted => {
                    messages.read(bytes, |message| answer = Some(A::decode(message)));
                    over |= ended;
                }
                h2::Frame::Headers { stream, ended } if stream == wanted => over |= ended,
                h2::Frame::Reset { stream, .. } if stream == wanted || stream == 0 => over = true,
                _ => {}
            });
            let length = bytes.len();
            self.socket.consume(length);
        }
        match answer {
            Some(answer) => Ok(answer?),
            None => bail!("{path} was answered with an error"),
        }
    }
}

/// The key after all that begin with the prefix.
pub(crate) fn end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// A request for the keys below a prefix.
pub(crate) fn range_request(prefix: &str) -> RangeRequest {
    RangeRequest { key: prefix.to_owned().into(), range_end: end(prefix).into(), ..RangeRequest::default() }
}

/// The same in JSON.
pub(crate) fn range_body(prefix: &str) -> Value {
    json!({"key": STANDARD.encode(prefix), "range_end": STANDARD.encode(end(prefix))})
}

/// A request of the gateway.
pub(crate) fn post(path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let token = token.map_or_else(String::new, |token| format!("Authorization: {token}\r\n"));
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: loadtest\r\n{token}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}
