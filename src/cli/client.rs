//! A client of the admin port: HTTP without a library for it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// A request to the admin port of one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) endpoint: &'a str,
    /// GET or PUT.
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) body: &'a str,
    /// File with the token that the server wants, if it wants one.
    pub(super) token_file: Option<&'a Path>,
}

impl Request<'_> {
    /// Makes the request and waits for the answer, but not for long.
    pub(super) async fn send(self) -> anyhow::Result<Answer> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange()).await;
        answer.with_context(|| format!("{} does not answer", self.endpoint))?
    }

    async fn exchange(self) -> anyhow::Result<Answer> {
        let Self { endpoint, method, path, body, token_file } = self;
        let uri: http::Uri = endpoint.parse().with_context(|| format!("--endpoint {endpoint}"))?;
        let Some(host) = uri.authority().filter(|_| uri.scheme_str() == Some("http")) else {
            bail!("--endpoint {endpoint}: use http://HOST:PORT of the admin port");
        };
        let authorization = match token_file {
            None => String::new(),
            Some(file) => {
                let token =
                    std::fs::read_to_string(file).with_context(|| format!("--token-file {}", file.display()))?;
                format!("Authorization: Bearer {}\r\n", token.trim())
            }
        };
        let address = format!("{}:{}", host.host(), host.port_u16().unwrap_or(9379));
        let mut stream = TcpStream::connect(&address).await.with_context(|| {
            format!("cannot reach the admin port at {endpoint}; is the server running with --admin-listen?")
        })?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\n{authorization}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("{endpoint} is not the admin port of a confcast"))?;
        Ok(Answer { status, body: body.to_owned() })
    }
}
