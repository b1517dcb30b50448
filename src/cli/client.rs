//! A client of the admin port: HTTP without a library for it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::args::admin::ClientTlsArgs;

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
    pub(super) tls: &'a ClientTls,
}

/// How servers under TLS are spoken to; for those in clear text it is not needed.
#[derive(Clone, Debug)]
pub(super) struct ClientTls {
    /// None if it is not said whom to trust.
    config: Option<Arc<ClientConfig>>,
    name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// Reads the files.
    pub(super) fn new(args: &ClientTlsArgs) -> anyhow::Result<Self> {
        let name = args.server_name.clone().map(ServerName::try_from).transpose().context("--server-name")?;
        let Some(ca) = &args.ca else { return Ok(Self { config: None, name }) };
        let chain = |flag: &str, path: &Path| -> anyhow::Result<Vec<CertificateDer<'static>>> {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            read.with_context(|| format!("{flag} {}", path.display()))
        };
        let mut roots = RootCertStore::empty();
        for certificate in chain("--ca", ca)? {
            roots.add(certificate).with_context(|| format!("--ca {}", ca.display()))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match (&args.cert, &args.key) {
            (Some(cert), Some(key)) => {
                let private = PrivateKeyDer::from_pem_file(key).with_context(|| format!("--key {}", key.display()))?;
                builder.with_client_auth_cert(chain("--cert", cert)?, private).context("--cert and --key")?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Self { config: Some(Arc::new(config)), name })
    }
}

impl Request<'_> {
    /// Makes the request and waits for the answer, but not for long.
    pub(super) async fn send(self) -> anyhow::Result<Answer> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange()).await;
        answer.with_context(|| format!("{} does not answer", self.endpoint))?
    }

    async fn exchange(self) -> anyhow::Result<Answer> {
        let Self { endpoint, method, path, body, token_file, tls } = self;
        let uri: http::Uri = endpoint.parse().with_context(|| format!("--endpoint {endpoint}"))?;
        let Some(host) = uri.authority().filter(|_| matches!(uri.scheme_str(), Some("http" | "https"))) else {
            bail!("--endpoint {endpoint}: use http://HOST:PORT of the admin port, or https:// for TLS");
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
        let stream = TcpStream::connect(&address).await.with_context(|| {
            format!("cannot reach the admin port at {endpoint}; is the server running with --admin-listen?")
        })?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\n{authorization}Content-Length: {length}\r\n\r\n{body}"
        );
        let answer = if uri.scheme_str() == Some("https") {
            let Some(config) = &tls.config else {
                bail!("--endpoint {endpoint}: needs --ca with the certificates that the server's is signed by");
            };
            let name = match &tls.name {
                Some(name) => name.clone(),
                None => ServerName::try_from(host.host().trim_matches(['[', ']']).to_owned())?,
            };
            let connected = TlsConnector::from(config.clone()).connect(name, stream).await;
            transfer(connected.with_context(|| format!("TLS with {endpoint}"))?, &request).await?
        } else {
            transfer(stream, &request).await?
        };
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("{endpoint} is not the admin port of a confcast"))?;
        Ok(Answer { status, body: body.to_owned() })
    }
}

/// Sends a request and reads the answer, which ends with the connection.
async fn transfer(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> std::io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        // A server may end a connection under TLS without saying so; what has come says how long it is to be.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !answer.is_empty() => Ok(answer),
        other => other.map(|_| answer),
    }
}
