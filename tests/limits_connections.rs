//! Limits of a connection: its headers, its streams, and the time that it has.
#![allow(clippy::print_stdout, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "connections take real time")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use support::frames::Http2;
use support::http::{Connection, get};
use support::tls::Authority;
use support::{Confcast, until};

fn server(limits: &[&str]) -> Confcast {
    Confcast::serve(&[&["--source", "none"], limits].concat()).ready()
}

/// The answer to a request over HTTP/1.1 with further headers.
fn http1(address: SocketAddr, headers: &[(String, String)]) -> u16 {
    let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
    let mut connection = Connection::open(address);
    connection.send(format!("GET /version HTTP/1.1\r\nHost: test\r\n{lines}\r\n").as_bytes());
    connection.answer().status
}

/// The same over HTTP/2.
async fn http2(address: SocketAddr, headers: &[(String, String)]) -> u16 {
    let socket = tokio::net::TcpStream::connect(address).await.expect("connects");
    let (client, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut client = client.ready().await.expect("room");
    let mut request = Request::get("http://test/version");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let (response, _) = client.send_request(request.body(()).expect("a request"), true).expect("sent");
    response.await.expect("an answer").status().as_u16()
}

fn fields(count: usize, size: usize) -> Vec<(String, String)> {
    (0..count).map(|number| (format!("x-{number}"), "y".repeat(size))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_and_fields_of_headers() {
    let too_large = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.as_u16();
    // Bytes and fields, and what is within them and what is not, over either protocol.
    let cases = [
        (vec![], fields(80, 100), fields(80, 250)),
        (vec![], fields(98, 10), fields(101, 10)),
        (vec!["--max-header-bytes", "1000"], fields(5, 100), fields(10, 100)),
        (vec!["--max-header-fields", "20"], fields(15, 100), fields(21, 10)),
        (vec!["--max-header-bytes", "100000", "--max-header-fields", "1000"], fields(900, 50), fields(1001, 50)),
    ];
    for (flags, within, beyond) in cases {
        let confcast = server(&flags);
        let address = confcast.address;
        assert_eq!((http1(address, &within), http2(address, &within).await), (200, 200), "{flags:?}");
        assert_eq!(confcast.refused("headers"), 0);
        assert_eq!(http1(address, &beyond), too_large, "{flags:?}");
        // It is counted when the connection has ended, which is after the answer.
        until("counted", || confcast.refused("headers") == 1);
        assert_eq!(http2(address, &beyond).await, too_large, "{flags:?}");
        let bytes: usize = beyond.iter().map(|(name, value)| name.len() + value.len()).sum();
        // Too many bytes are refused by the library, which does not tell.
        let told = u64::from(!flags.contains(&"1000") && bytes < 10_000);
        until("counted", || (1 + told..=2).contains(&confcast.refused("headers")));
    }
    let free = server(&["--max-header-bytes", "0", "--max-header-fields", "0"]);
    assert_eq!((http1(free.address, &fields(3000, 50)), http2(free.address, &fields(3000, 50)).await), (200, 200));
    assert_eq!(http1(free.address, &fields(5000, 50)), too_large, "there is always an end");
}

#[tokio::test]
async fn streams_of_a_connection() {
    for (flags, most) in [
        (&["--max-concurrent-streams", "3"][..], 3),
        (&[], 14_096),
        (&["--max-watch-streams-per-connection", "7"], 4103),
        (&["--max-concurrent-streams", "0"], 1 << 20),
    ] {
        let confcast = server(flags);
        let socket = tokio::net::TcpStream::connect(confcast.address).await.expect("connects");
        let (client, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
        tokio::spawn(connection);
        let mut client = client.ready().await.expect("room");
        let request = Request::get("http://test/version").body(()).expect("a request");
        let (response, _) = client.send_request(request, true).expect("sent");
        assert_eq!(response.await.expect("an answer").status(), 200);
        assert_eq!(client.current_max_send_streams(), most, "{flags:?}");
    }
}

/// After what time the server closes a connection on which this is sent.
fn closes(address: SocketAddr, begin: &[u8]) -> Duration {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(support::PATIENCE)).expect("set");
    stream.write_all(begin).expect("sent");
    let mut bytes = [0; 1024];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return started.elapsed(),
            Ok(_) => {}
            // What was sent was not read.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return started.elapsed(),
            Err(error) => panic!("no end in time: {error}"),
        }
    }
}

fn is_about(took: Duration, seconds: f64) {
    println!("closed after {took:?}");
    assert!(took.as_secs_f64() > seconds * 0.8 && took.as_secs_f64() < seconds + 3.0, "{took:?}");
}

#[test]
fn time_of_a_handshake() {
    let authority = Authority::new();
    authority.issue("server", "127.0.0.1");
    let (cert, key) = (authority.text("server.pem"), authority.text("server.key"));
    let confcast = server(&["--handshake-seconds", "1", "--tls-cert", &cert, "--tls-key", &key]);
    for begin in [&b""[..], &[0x16], &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]] {
        is_about(closes(confcast.address, begin), 1.0);
    }
    until("counted", || confcast.refused("handshake") == 3);
    let clear = server(&["--handshake-seconds", "1"]);
    for begin in [&b""[..], b"PRI * HT"] {
        is_about(closes(clear.address, begin), 1.0);
    }
    until("counted", || clear.refused("handshake") == 2);
    // One that leaves by itself is not refused.
    drop(TcpStream::connect(clear.address).expect("connects"));
    assert_eq!(get(clear.address, "/version").status, 200);
    assert_eq!(clear.refused("handshake"), 2);
}

#[test]
fn time_of_the_next_request() {
    let confcast = server(&["--next-request-seconds", "1"]);
    is_about(closes(confcast.address, b"GET /version HTTP/1.1\r\nHost: t"), 1.0);
    is_about(closes(confcast.address, b"GET /version HTTP/1.1\r\nHost: test\r\n\r\n"), 1.0);
    until("counted", || confcast.refused("next_request") == 2);
}

#[test]
fn time_of_a_ping() {
    let confcast = server(&["--grpc-keepalive-interval", "1s", "--grpc-keepalive-timeout", "500ms"]);
    let started = Instant::now();
    let end = Http2::open(confcast.address).end(Duration::from_secs(10));
    assert!(end.closed, "{end:?}");
    is_about(started.elapsed(), 1.5);
    until("counted", || confcast.refused("keepalive") == 1);
    // As etcd has it, 0 is for none. Then there is only the time in which a client has to begin.
    let never = ["--grpc-keepalive-interval", "0", "--grpc-keepalive-timeout", "0", "--handshake-seconds", "1"];
    let confcast = server(&never);
    let end = Http2::open(confcast.address).end(Duration::from_secs(3));
    assert!(!end.closed, "{end:?}");
    assert_eq!(confcast.refused("keepalive"), 0);
}
