//! Ports for servers that have to be told one before they start.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what systems take for outgoing connections (from 32768 on Linux, from 49152 elsewhere). Asking for port 0 and
/// letting go of it gives a port that the next one who asks, or a connection, may get before the server listens.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// How far apart processes that follow each other begin to look.
const STEP: u32 = 61;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 that is free now, and which this process gets only once.
///
/// # Panics
/// If no port is free.
pub fn free_port() -> u16 {
    look(&NEXT)
}

fn look(next: &AtomicU16) -> u16 {
    let start = (std::process::id() % u32::from(COUNT)) * STEP;
    for _ in 0..COUNT {
        let number = start + u32::from(next.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from(number % u32::from(COUNT)).unwrap_or_default();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port from {FIRST} to {} is free", FIRST + COUNT - 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_each_port_once() {
        let mut ports: Vec<u16> = (0..100).map(|_| free_port()).collect();
        ports.sort_unstable();
        assert!(ports.windows(2).all(|two| two[0] < two[1]));
        assert!(ports.iter().all(|port| (FIRST..FIRST + COUNT).contains(port)));
    }

    #[test]
    fn leaves_out_what_is_taken() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, look(&AtomicU16::new(0)))).expect("it was free");
        let port = taken.local_addr().expect("an address").port();
        assert_ne!(look(&AtomicU16::new(0)), port);
    }
}
