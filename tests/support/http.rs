//! HTTP/1.1 by hand, so that a test sees the bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::PATIENCE;

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What a connection runs over.
pub trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// A connection.
pub struct Connection {
    pub stream: BufReader<Box<dyn Wire>>,
    /// The socket below.
    pub socket: TcpStream,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_nodelay(true).expect("set");
        let socket = stream.try_clone().expect("a second handle");
        Self::over(Box::new(stream), socket)
    }

    pub fn over(wire: Box<dyn Wire>, socket: TcpStream) -> Self {
        Self { stream: BufReader::new(wire), socket }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("writes");
    }

    pub fn post(&mut self, path: &str, body: &str) {
        let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send((head + body).as_bytes());
    }

    /// As [`send`](Self::send). False if the server has closed, or takes no more.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    /// Waits no longer than this from now on.
    pub fn patience(&mut self, patience: std::time::Duration) {
        self.socket.set_read_timeout(Some(patience)).expect("set");
        self.socket.set_write_timeout(Some(patience)).expect("set");
    }

    /// Bytes of a body.
    pub fn read(&mut self, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.stream.read_exact(&mut data).expect("reads");
        data
    }

    /// Status and headers.
    pub fn head(&mut self) -> (u16, Vec<(String, String)>) {
        let mut status = String::new();
        self.stream.read_line(&mut status).expect("reads");
        let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("reads");
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
                None => break,
            }
        }
        (code.unwrap_or_else(|| panic!("no status in {status:?}")), headers)
    }

    /// One chunk; empty at the end.
    pub fn chunk(&mut self) -> Vec<u8> {
        let mut size = String::new();
        self.stream.read_line(&mut size).expect("a chunk comes");
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap_or_else(|_| panic!("no chunk size: {size:?}"));
        if size == 0 {
            // Trailers, which etcd 3.4 sends after an error.
            let mut line = String::new();
            while self.stream.read_line(&mut line).expect("reads") > 2 {
                line.clear();
            }
            return Vec::new();
        }
        let mut data = vec![0; size + 2];
        self.stream.read_exact(&mut data).expect("reads");
        assert_eq!(data.split_off(size), b"\r\n");
        data
    }

    /// As [`chunk`](Self::chunk); none when the connection has ended, or nothing comes for too long.
    pub fn try_chunk(&mut self) -> Option<Vec<u8>> {
        let mut size = String::new();
        self.stream.read_line(&mut size).ok().filter(|read| *read > 0)?;
        let mut data = vec![0; usize::from_str_radix(size.trim_end(), 16).ok()? + 2];
        self.stream.read_exact(&mut data).ok()?;
        data.truncate(data.len() - 2);
        Some(data)
    }

    /// A response; none if the connection has ended, or nothing comes for too long.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let come = self.stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        come.then(|| self.answer())
    }

    /// A whole response.
    pub fn answer(&mut self) -> Answer {
        let (status, headers) = self.head();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if answer.header("transfer-encoding").is_some() {
            loop {
                let chunk = self.chunk();
                if chunk.is_empty() {
                    return answer;
                }
                answer.body.extend(chunk);
            }
        }
        let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        answer.body = vec![0; length];
        self.stream.read_exact(&mut answer.body).expect("reads");
        answer
    }
}

pub fn get(address: SocketAddr, path: &str) -> Answer {
    get_from(address, path, "test")
}

/// As [`get`], under another name of the server.
pub fn get_from(address: SocketAddr, path: &str, host: &str) -> Answer {
    let mut connection = Connection::open(address);
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes());
    connection.answer()
}

pub fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
    let mut connection = Connection::open(address);
    connection.post(path, &body.to_string());
    connection.answer()
}

pub fn b64(text: impl AsRef<[u8]>) -> String {
    STANDARD.encode(text)
}

pub fn from_b64(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64")
}

/// What a Range returned.
pub struct Range {
    pub revision: i64,
    pub pairs: Vec<(String, Vec<u8>)>,
}

pub fn range(address: SocketAddr, key: &str, end: &str) -> Range {
    let answer = post(address, "/v3/kv/range", &json!({"key": b64(key), "range_end": b64(end)}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let number = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
    let pairs = answer["kvs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|pair| (String::from_utf8(from_b64(&pair["key"])).expect("text"), from_b64(&pair["value"])));
    Range { revision: number(&answer["header"]["revision"]), pairs: pairs.collect() }
}

/// A watch over the gateway.
pub struct Watch {
    connection: Connection,
}

impl Watch {
    /// Opens it, and reads that it is created.
    pub fn open(address: SocketAddr, key: &str, end: &str, start_revision: i64) -> Self {
        Self::over(Connection::open(address), key, end, start_revision)
    }

    /// As [`open`](Self::open), on a connection that there is.
    pub fn over(mut connection: Connection, key: &str, end: &str, start_revision: i64) -> Self {
        let create = json!({"key": b64(key), "range_end": b64(end), "start_revision": start_revision});
        connection.post("/v3/watch", &json!({"create_request": create}).to_string());
        let (status, _) = connection.head();
        assert_eq!(status, 200);
        let mut watch = Self { connection };
        assert_eq!(watch.next()["created"], true);
        watch
    }

    /// The next message, which is one chunk and one line.
    pub fn next(&mut self) -> Value {
        let chunk = self.connection.chunk();
        assert!(chunk.ends_with(b"\n") && !chunk[..chunk.len() - 1].contains(&b'\n'), "one line in one chunk");
        serde_json::from_slice::<Value>(&chunk).expect("JSON")["result"].take()
    }

    /// Keys of the events of the next message, with whether they were deleted.
    pub fn keys(&mut self) -> Vec<(String, bool)> {
        let message = self.next();
        let events = message["events"].as_array().unwrap_or_else(|| panic!("no events: {message}")).clone();
        let key = |event: &Value| String::from_utf8(from_b64(&event["kv"]["key"])).expect("text");
        events.iter().map(|event| (key(event), event["type"] == "DELETE")).collect()
    }
}
