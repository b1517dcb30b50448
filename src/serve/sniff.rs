//! Which protocol a new connection speaks.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

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

/// Looks at the first bytes without taking them. None if the client says too little until the deadline, or leaves.
///
/// The whole preface is waited for here, because hyper would wait for the rest of it for ever.
pub async fn sniff(stream: &TcpStream, deadline: Instant) -> io::Result<Option<Protocol>> {
    let look = async {
        let mut seen = [0; PREFACE.len()];
        loop {
            let count = stream.peek(&mut seen).await?;
            if count == 0 {
                return Ok(None);
            }
            if seen[..count] != PREFACE[..count] {
                return Ok(Some(Protocol::Http1));
            }
            if count == PREFACE.len() {
                return Ok(Some(Protocol::Http2));
            }
            sleep(PIECES).await;
        }
    };
    timeout_at(deadline, look).await.unwrap_or(Ok(None))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn protocol_of(pieces: &[&[u8]], wait: Duration) -> Option<Protocol> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connects");
        client.set_nodelay(true).expect("set");
        let (server, _) = listener.accept().await.expect("accepts");
        #[expect(clippy::disallowed_methods, reason = "a task of a test")]
        let sniffing = tokio::spawn(async move { sniff(&server, Instant::now() + wait).await.expect("reads") });
        for piece in pieces {
            client.write_all(piece).await.expect("writes");
            tokio::task::yield_now().await;
        }
        sniffing.await.expect("ends")
    }

    #[tokio::test]
    async fn tells_the_protocols_apart() {
        let wait = Duration::from_secs(10);
        assert_eq!(protocol_of(&[b"GET / HTTP/1.1\r\n\r\n"], wait).await, Some(Protocol::Http1));
        assert_eq!(protocol_of(&[b"P", b"OST / HTTP/1.1"], wait).await, Some(Protocol::Http1));
        assert_eq!(protocol_of(&[PREFACE], wait).await, Some(Protocol::Http2));
        assert_eq!(protocol_of(&[b"PRI * ", &PREFACE[6..]], wait).await, Some(Protocol::Http2));
    }

    #[tokio::test]
    async fn a_client_that_says_too_little_is_given_up() {
        let wait = Duration::from_millis(50);
        assert_eq!(protocol_of(&[], wait).await, None);
        assert_eq!(protocol_of(&[b"PRI * HTTP/2.0"], wait).await, None);
    }
}
