//! Clients that leave, and clients that seem to have left.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::io::{ErrorKind, Read, Write};

use support::http::{Connection, Watch};
use support::{Confcast, until};

fn server() -> Confcast {
    Confcast::serve(&["--source", "none"]).ready()
}

/// Watch streams, as the metrics have them.
fn streams(confcast: &Confcast) -> f64 {
    confcast.metric("confcast_watch_streams")
}

/// A watch over the gateway, and a handle for what its client sends after it.
fn watching(confcast: &Confcast) -> (Watch, std::net::TcpStream) {
    let connection = Connection::open(confcast.address);
    let socket = connection.socket.try_clone().expect("a handle");
    let watch = Watch::over(connection, "/a/", "/a0", 0);
    until("watching", || streams(confcast) > 0.0);
    (watch, socket)
}

/// Nothing is written in the meantime, whose failure would tell as well.
#[test]
fn a_gateway_client_that_has_sent_more_than_its_request_is_seen_to_leave() {
    let confcast = server();
    let (watch, mut socket) = watching(&confcast);
    for _ in 0..10 {
        socket.write_all(b"GET /version HTTP/1.1\r\nHost: test\r\n\r\n").expect("sent");
    }
    drop((watch, socket));
    until("gone", || streams(&confcast) == 0.0);
}

#[test]
fn a_gateway_client_that_goes_on_and_on_is_left() {
    let confcast = server();
    let (watch, mut socket) = watching(&confcast);
    socket.write_all(&vec![b'x'; 32 << 10]).expect("sent");
    assert!(streams(&confcast) > 0.0, "that is not too much");
    // The server closes before it has read all of it.
    let _ = socket.write_all(&vec![b'x'; 64 << 10]);
    until("gone", || streams(&confcast) == 0.0);
    match socket.read(&mut [0; 16]) {
        Ok(read) => assert_eq!(read, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    drop(watch);
}
