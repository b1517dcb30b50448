//! Requests as they were recorded, sent again.

use std::net::SocketAddr;
use std::time::Duration;

use super::recording::Answer;
use super::support::http::Connection;

/// A `curl` command as a request.
pub struct Request {
    pub method: String,
    pub head: String,
    pub body: String,
    pub patience: Duration,
}

pub fn request(command: &str) -> Option<Request> {
    let words = shlex::split(command)?;
    if words.first().is_none_or(|word| word != "curl") {
        return None;
    }
    let (mut method, mut headers, mut body, mut url) = (None, Vec::new(), None, None);
    let (mut patience, mut version) = (10.0, "HTTP/1.1");
    let mut words = words.into_iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-d" | "--data-binary" => body = words.next(),
            "-H" => headers.extend(words.next()),
            "-X" => method = words.next(),
            "-I" => method = Some("HEAD".into()),
            "-m" => patience = words.next()?.parse().ok()?,
            "--http1.0" => version = "HTTP/1.0",
            other if other.starts_with("http://$H") => url = Some(other["http://$H".len()..].to_owned()),
            _ => {}
        }
    }
    let body = body.unwrap_or_default();
    if body.starts_with('@') {
        return None;
    }
    let is_post = command.contains(" -d ") || command.contains("--data-binary ");
    let method = method.unwrap_or_else(|| if is_post { "POST" } else { "GET" }.into());
    let path = url.map(|url| if url.is_empty() { "/".into() } else { url })?;
    let mut head = format!("{method} {path} {version}\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        head += "Host: test\r\n";
    }
    let chunked = headers.iter().any(|header| header.starts_with("Transfer-Encoding: chunked"));
    for header in headers.iter().filter(|header| !header.ends_with(':') && !header.starts_with("Expect:")) {
        head.extend([header, "\r\n"]);
    }
    let body = if chunked { format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()) } else { body };
    if is_post && !chunked {
        head.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
    }
    Some(Request { method, head, body, patience: Duration::from_secs_f64(patience) })
}

impl Request {
    pub fn open(&self, address: SocketAddr) -> Connection {
        let mut connection = Connection::open(address);
        connection.send(format!("{}\r\n{}", self.head, self.body).as_bytes());
        connection
    }

    pub fn ask(&self, address: SocketAddr) -> Answer {
        let mut connection = self.open(address);
        let (status, headers) = connection.head();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if answer.header("transfer-encoding").is_some() {
            // A stream has no end; what comes in a short while is all there is.
            connection.patience(Duration::from_millis(400).min(self.patience));
            while let Some(chunk) = connection.try_chunk().filter(|chunk| !chunk.is_empty()) {
                answer.body.extend(chunk);
            }
        } else if self.method != "HEAD" {
            let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            answer.body = connection.read(length);
        }
        answer
    }
}
