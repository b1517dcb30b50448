//! TLS on the port: certificates from files that may change, and what a client's certificate says.

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

/// Does the handshakes of a port.
#[derive(Debug)]
pub struct Acceptor {
    settings: Tls,
    current: ArcSwap<Loaded>,
}

impl Acceptor {
    /// Reads the files.
    pub fn open(settings: Tls) -> Result<Self, TlsError> {
        let loaded = load::load(&settings)?;
        loaded.tell();
        Ok(Self { current: ArcSwap::from_pointee(loaded), settings })
    }

    /// Reads the files again. Connections that there are go on as they are. Returns whether there was anything new; on
    /// an error the certificates from before are used on.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let loaded = load::load(&self.settings)?;
        if loaded.digest() == self.current.load().digest() {
            return Ok(false);
        }
        loaded.tell();
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
                        tracing::info!("certificates have changed; new connections get the new ones");
                    }
                    told.clear();
                }
                Err(error) => {
                    let text = error.to_string();
                    if text != told {
                        tracing::warn!(error = text, "certificates cannot be read; those from before are used on");
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

    /// Does a handshake. Returns the connection, and by which names the client may be known, if it has shown a
    /// certificate.
    pub(super) async fn accept(&self, stream: TcpStream, deadline: Instant) -> io::Result<(Socket, Vec<String>)> {
        let handshake = TlsAcceptor::from(self.current.load().config()).accept(stream);
        let shaken = timeout_at(deadline, handshake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = shaken.inspect_err(|_| metrics::counter!(telemetry::serve::TLS_FAILED).increment(1))?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let names = certificate.map(|certificate| identity::names(certificate, self.settings.name));
        Ok((stream.into(), names.unwrap_or_default()))
    }
}
