//! Connections to the admin port, in clear text or under TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::serve::sniff::is_tls;
use crate::serve::socket::Socket;
use crate::serve::tls::{Acceptor, refuse_clear_text};

/// Time for a handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// Handshakes at the same time; connections beyond them are closed. Operators and their tools are few.
const HANDSHAKES: usize = 64;

/// Pause after an error that is not a connection's, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// What accepts.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    /// None for clear text.
    tls: Option<Arc<Acceptor>>,
    shaking: JoinSet<io::Result<(Socket, Client)>>,
}

/// Who has connected.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Where from.
    pub address: SocketAddr,
    /// Whether it has shown a certificate, which is then a good one.
    pub certified: bool,
}

impl Port {
    /// Connections to `listener`, under TLS if there is any.
    pub fn new(listener: TcpListener, tls: Option<Arc<Acceptor>>) -> Self {
        Self { listener, tls, shaking: JoinSet::new() }
    }
}

impl Listener for Port {
    type Io = Socket;
    type Addr = Client;

    async fn accept(&mut self) -> (Socket, Client) {
        loop {
            // Both can be dropped and asked again: handshakes go on by themselves.
            let accepted = tokio::select! {
                Some(shaken) = self.shaking.join_next() => match shaken {
                    Ok(Ok(connection)) => return connection,
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "connection to the admin port ended before its first request");
                        continue;
                    }
                    Err(_) => continue,
                },
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let client = Client { address, certified: false };
                    match &self.tls {
                        None => return (Socket::Plain(stream), client),
                        Some(_) if self.shaking.len() >= HANDSHAKES => {}
                        Some(tls) => drop(self.shaking.spawn(shake(stream, client, tls.clone()))),
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept connections to the admin port");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Client> {
        Ok(Client { address: self.listener.local_addr()?, certified: false })
    }
}

async fn shake(stream: TcpStream, client: Client, tls: Arc<Acceptor>) -> io::Result<(Socket, Client)> {
    let deadline = Instant::now() + PATIENCE;
    match is_tls(&stream, deadline).await? {
        Some(true) => {
            let (socket, names) = tls.accept(stream, deadline).await?;
            Ok((socket, Client { certified: names.is_some(), ..client }))
        }
        Some(false) => {
            refuse_clear_text(&stream)?;
            Err(io::Error::new(io::ErrorKind::InvalidData, "clear text"))
        }
        None => Err(io::ErrorKind::TimedOut.into()),
    }
}

impl Connected<IncomingStream<'_, Port>> for Client {
    fn connect_info(stream: IncomingStream<'_, Port>) -> Self {
        *stream.remote_addr()
    }
}
