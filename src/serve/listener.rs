//! Accepting connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, Port};
use super::gate::Gate;

/// Connections that the kernel holds for us: a fleet that reconnects comes all at once.
const BACKLOG: i32 = 4096;

/// Pause after an error of `accept` that is not the connection's, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes that the kernel takes for a client beyond what the client has room for. What it holds for one that does not read
/// is this and not the whole of a send buffer, which is 2.5 MiB on a fast path from the start: a fleet that hangs would
/// be sent, and the kernel keep, gigabytes. A chunk that is larger goes in several writes.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 256 << 10;

/// Opens the port.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Linux and the BSDs give these to each connection, which then costs no call for them.
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(Duration::from_mins(1)).with_interval(Duration::from_secs(15));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT)?;
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
    let gate = Gate::new(port.live.clone());
    loop {
        let accepted = tokio::select! {
            () = stop.accepting.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
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

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn connections_have_what_the_port_has() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_mins(1));
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT);
    }
}
