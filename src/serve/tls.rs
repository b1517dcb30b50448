//! TLS on a port: certificates from files that may change, and what a client's certificate says.

mod identity;
mod load;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::socket::Socket;
use crate::config::tls::Tls;
use crate::telemetry;
use load::Loaded;
pub use load::TlsError;

/// How often the files are looked at. They are small, and what mounts them gives no better sign that works everywhere.
const POLL: Duration = Duration::from_secs(5);

/// Which port it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// That for clients.
    Clients,
    /// That for operators.
    Admin,
}

impl Use {
    fn name(self) -> &'static str {
        match self {
            Self::Clients => telemetry::serve::CLIENTS,
            Self::Admin => telemetry::serve::ADMIN,
        }
    }

    /// What is spoken, by preference. A client that does not negotiate may speak any of it.
    fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Clients => &[b"h2", b"http/1.1"],
            Self::Admin => &[b"http/1.1"],
        }
    }
}

/// What a client in clear text reads on a port of TLS, instead of a connection that breaks.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 48\r\n\
    connection: close\r\n\r\nthis port speaks TLS: use https instead of http\n";

/// Tells a client in clear text what is spoken here.
pub fn refuse_clear_text(stream: &TcpStream) -> io::Result<()> {
    stream.try_write(NOT_TLS).map(drop)
}

/// Does the handshakes of a port.
#[derive(Debug)]
pub struct Acceptor {
    port: Use,
    settings: Tls,
    current: ArcSwap<Loaded>,
}

impl Acceptor {
    /// Reads the files.
    pub fn open(settings: Tls, port: Use) -> Result<Self, TlsError> {
        let loaded = load::load(&settings, port)?;
        loaded.tell(port);
        Ok(Self { port, current: ArcSwap::from_pointee(loaded), settings })
    }

    /// Whether the files can be used.
    pub fn check(settings: &Tls) -> Result<(), TlsError> {
        load::load(settings, Use::Clients).map(drop)
    }

    /// Reads the files again. Connections that there are go on as they are. Returns whether there was anything new; on
    /// an error the certificates from before are used on.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let loaded = load::load(&self.settings, self.port)?;
        if loaded.digest() == self.current.load().digest() {
            return Ok(false);
        }
        loaded.tell(self.port);
        self.current.store(Arc::new(loaded));
        Ok(true)
    }

    /// Follows the files until `stop` is cancelled.
    pub async fn follow(&self, stop: CancellationToken) {
        let mut told = String::new();
        while stop.run_until_cancelled(tokio::time::sleep(POLL)).await.is_some() {
            match self.reload() {
                Ok(changed) => {
                    if changed {
                        tracing::info!(
                            port = self.port.name(),
                            "certificates have changed; new connections get the new ones"
                        );
                    }
                    told.clear();
                }
                Err(error) => {
                    let text = error.to_string();
                    if text != told {
                        tracing::warn!(
                            port = self.port.name(),
                            error = text,
                            "certificates cannot be read; those from before are used on"
                        );
                        told = text;
                    }
                }
            }
        }
    }

    /// Whether clients may come without TLS.
    pub(super) fn allows_clear_text(&self) -> bool {
        self.settings.clear_text
    }

    /// Does a handshake. Returns the connection, and by which names the client may be known; none if it has shown no
    /// certificate.
    pub async fn accept(&self, stream: TcpStream, deadline: Instant) -> io::Result<(Socket, Option<Vec<String>>)> {
        let handshake = TlsAcceptor::from(self.current.load().config()).accept(stream);
        let shaken = timeout_at(deadline, handshake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = shaken.inspect_err(|_| metrics::counter!(telemetry::serve::TLS_FAILED).increment(1))?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let names = certificate.map(|certificate| identity::names(certificate, self.settings.name));
        Ok((stream.into(), names))
    }
}
