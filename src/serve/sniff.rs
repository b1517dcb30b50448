//! Which protocol a new connection speaks.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::socket::Socket;

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Pause between looks at a preface that is coming in pieces, which no real client sends.
const PIECES: Duration = Duration::from_millis(5);

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 or 1.0.
    Http1,
    /// HTTP/2 without negotiation, as gRPC clients speak it in clear text.
    Http2,
}

/// Whether the client begins with TLS (RFC 8446, section 5.1: a record of type handshake). None if it says nothing until
/// the deadline, or leaves.
pub async fn is_tls(stream: &TcpStream, deadline: Instant) -> io::Result<Option<bool>> {
    let look = async {
        let mut first = [0];
        let count = stream.peek(&mut first).await?;
        Ok((count > 0).then_some(first[0] == 0x16))
    };
    timeout_at(deadline, look).await.unwrap_or(Ok(None))
}

/// Looks at the first bytes without taking them. None if the client says too little until the deadline, or leaves.
///
/// The whole preface is waited for here, because hyper would wait for the rest of it for ever.
pub async fn sniff(socket: &mut Socket, deadline: Instant) -> io::Result<Option<Protocol>> {
    let look = async {
        match socket {
            Socket::Plain(stream) => peek(stream).await,
            Socket::Tls(tls) => loop {
                let Some(seen) = tls.look_ahead().await? else { return Ok(None) };
                if let Some(protocol) = protocol_of(seen) {
                    return Ok(Some(protocol));
                }
            },
        }
    };
    timeout_at(deadline, look).await.unwrap_or(Ok(None))
}

async fn peek(stream: &TcpStream) -> io::Result<Option<Protocol>> {
    let mut seen = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut seen).await?;
        if count == 0 {
            return Ok(None);
        }
        if let Some(protocol) = protocol_of(&seen[..count]) {
            return Ok(Some(protocol));
        }
        sleep(PIECES).await;
    }
}

/// The protocol that begins with these bytes; none if they can become either.
fn protocol_of(seen: &[u8]) -> Option<Protocol> {
    let length = seen.len().min(PREFACE.len());
    if seen[..length] != PREFACE[..length] {
        return Some(Protocol::Http1);
    }
    (length == PREFACE.len()).then_some(Protocol::Http2)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn sniffed(pieces: &[&[u8]], wait: Duration) -> Option<Protocol> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connects");
        client.set_nodelay(true).expect("set");
        let (server, _) = listener.accept().await.expect("accepts");
        #[expect(clippy::disallowed_methods, reason = "a task of a test")]
        let sniffing =
            tokio::spawn(async move { sniff(&mut Socket::Plain(server), Instant::now() + wait).await.expect("reads") });
        for piece in pieces {
            client.write_all(piece).await.expect("writes");
            tokio::task::yield_now().await;
        }
        sniffing.await.expect("ends")
    }

    #[tokio::test]
    async fn tells_the_protocols_apart() {
        let wait = Duration::from_secs(10);
        assert_eq!(sniffed(&[b"GET / HTTP/1.1\r\n\r\n"], wait).await, Some(Protocol::Http1));
        assert_eq!(sniffed(&[b"P", b"OST / HTTP/1.1"], wait).await, Some(Protocol::Http1));
        assert_eq!(sniffed(&[PREFACE], wait).await, Some(Protocol::Http2));
        assert_eq!(sniffed(&[b"PRI * ", &PREFACE[6..]], wait).await, Some(Protocol::Http2));
    }

    #[tokio::test]
    async fn a_client_that_says_too_little_is_given_up() {
        let wait = Duration::from_millis(50);
        assert_eq!(sniffed(&[], wait).await, None);
        assert_eq!(sniffed(&[b"PRI * HTTP/2.0"], wait).await, None);
    }
}
