//! Clients that say too little, or too slowly: they are left after a time, cost little until then, and keep nobody else.
#![allow(clippy::print_stdout, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "connections take real time")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use confcast::serve::Times;
use confcast::{Config, Server};
use support::Confcast;
use support::frames::PREFACE;
use support::http::get;
use support::memory::Memory;
use support::tls::{Authority, Client};

/// Connections of each kind.
const EACH: usize = 200;

/// Time from a connection to its first bytes, to the end of a handshake, and to the settings of HTTP/2.
const FIRST: Duration = Duration::from_secs(10);

fn open(address: SocketAddr, begin: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_nonblocking(true).expect("set");
    assert_eq!(stream.write(begin).expect("room"), begin.len());
    stream
}

/// Whether the server has closed it.
fn is_closed(mut stream: &TcpStream) -> bool {
    let mut bytes = [0; 1024];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// All of them are left when it is time, and not before.
fn are_left(connections: &[TcpStream], started: Instant) {
    assert!(connections.iter().all(|stream| !is_closed(stream)), "they have until then");
    while connections.iter().any(|stream| !is_closed(stream)) {
        let open = connections.iter().filter(|stream| !is_closed(stream)).count();
        assert!(started.elapsed() < FIRST + FIRST + Duration::from_secs(3), "{open} of {} are open", connections.len());
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("left after {:?}", started.elapsed());
    assert!(started.elapsed() > FIRST * 4 / 5);
}

#[test]
fn connections_that_do_not_begin() {
    let confcast = Confcast::serve(&["--source", "none"]).ready();
    let memory = Memory::of(&confcast);
    let started = Instant::now();
    let half = &PREFACE[..10];
    let kinds: [&[u8]; 3] = [b"", b"P", half];
    let connections: Vec<_> = (0..EACH).flat_map(|_| kinds).map(|begin| open(confcast.address, begin)).collect();
    assert_eq!(get(confcast.address, "/version").status, 200);
    are_left(&connections, started);
    memory.stays_within(16, "600 connections that say nothing, or only how HTTP/2 begins");
}

#[test]
fn handshakes_that_do_not_go_on() {
    let authority = Authority::new();
    authority.issue("server", "127.0.0.1");
    let (cert, key) = (authority.text("server.pem"), authority.text("server.key"));
    let confcast = Confcast::serve(&["--source", "none", "--tls-cert", &cert, "--tls-key", &key]).ready();
    let memory = Memory::of(&confcast);
    let started = Instant::now();
    // A record of a handshake, with 512 bytes of which few come.
    let kinds: [&[u8]; 3] = [b"", &[0x16], &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]];
    let connections: Vec<_> = (0..EACH).flat_map(|_| kinds).map(|begin| open(confcast.address, begin)).collect();
    assert!(Client::of(&authority).connect(confcast.address).is_ok(), "others are served");
    are_left(&connections, started);
    memory.stays_within(16, "600 connections that do not go on with TLS");
}

/// They are within the time for a request, which is long, as APISIX keeps connections.
#[test]
fn requests_that_come_byte_by_byte() {
    let confcast = Confcast::serve(&["--source", "none"]).ready();
    let memory = Memory::of(&confcast);
    let headers = b"GET /version HTTP/1.1\r\nHost: t";
    let body = b"POST /v3/kv/put HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n{\"key\":\"";
    let chunks = b"POST /v3/watch HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n";
    let kinds: [&[u8]; 3] = [headers, body, chunks];
    let mut connections: Vec<_> = (0..EACH).flat_map(|_| kinds).map(|begin| open(confcast.address, begin)).collect();
    for _ in 0..5 {
        for (number, stream) in connections.iter_mut().enumerate() {
            let piece: &[u8] = if number % kinds.len() == 2 { b"1\r\n \r\n" } else { b"x" };
            stream.write_all(piece).expect("room");
        }
        let asked = Instant::now();
        assert_eq!(get(confcast.address, "/version").status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(connections.iter().all(|stream| !is_closed(stream)), "they have their time");
    memory.stays_within(48, "600 requests that come byte by byte");
}

/// Serves with times that are short, and tells after what time it closes a connection that begins like this and sends on.
async fn closes(times: Times, begin: &[u8], on: &[u8]) -> Duration {
    let listen = ([127, 0, 0, 1], 0).into();
    let config = Config { listen, admin_listen: None, times, ..Config::default() };
    let server = Server::start(config).await.expect("starts");
    let started = Instant::now();
    let mut stream = open(server.address(), begin);
    while !is_closed(&stream) {
        assert!(started.elapsed() < FIRST, "it is still open");
        let _ = stream.write(on);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = started.elapsed();
    server.shutdown().await;
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_have_an_end() {
    let times = Times { next_request: Duration::from_secs(1), ..Times::default() };
    let took = closes(times, b"GET /version HTTP/1.1\r\nHost: t", b"x").await;
    assert!(took > Duration::from_millis(800), "{took:?}");
}

/// Asked whether it is there when it should have begun, and not only when any other would be asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_a_preface_and_nothing_else() {
    let (first_bytes, pong) = (Duration::from_millis(700), Duration::from_millis(500));
    let took = closes(Times { first_bytes, pong, ..Times::default() }, PREFACE, b"").await;
    assert!(took > Duration::from_secs(1), "{took:?}");
}
