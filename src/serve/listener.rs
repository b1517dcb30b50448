//! Accepting connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, Port};
use super::gate::Gate;

/// Connections that the kernel holds for us: a fleet that reconnects comes all at once.
const BACKLOG: i32 = 4096;

/// Pause after an error of `accept` that is not the connection's, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens the port.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The end of a port, in steps.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// No new connections.
    pub accepting: CancellationToken,
    /// Connections end when their requests are answered.
    pub requests: CancellationToken,
    /// Connections end.
    pub connections: CancellationToken,
}

/// Accepts connections until it is stopped, and runs each as a task of `tasks`.
pub async fn serve(listener: TcpListener, port: Port, tasks: TaskTracker, stop: Stop) {
    let gate = Gate::new(port.limits);
    loop {
        let accepted = tokio::select! {
            () = stop.accepting.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                if let Err(error) = prepare(&stream) {
                    tracing::debug!(%error, "connection ended before it began");
                    continue;
                }
                metrics::counter!(crate::telemetry::serve::CONNECTIONS).increment(1);
                let Some(pass) = gate.enter(client.ip()) else {
                    let (gate, encrypted) = (gate.clone(), port.tls.is_some());
                    tasks.spawn(async move { gate.refuse(stream, encrypted).await });
                    continue;
                };
                let run = connection::run(stream, client.ip(), port.clone(), stop.requests.clone(), tasks.clone());
                let (end, again) = (stop.connections.clone(), tasks.clone());
                tasks.spawn(async move {
                    if let Some(Some(rest)) = end.run_until_cancelled(run).await {
                        // A task of its own, so that what this one needed is given back.
                        again.spawn(async move {
                            let _pass = pass;
                            end.run_until_cancelled(rest).await
                        });
                    }
                });
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; is the limit of open files too low? (ulimit -n)");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(Duration::from_mins(1)).with_interval(Duration::from_secs(15));
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
