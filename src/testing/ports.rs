//! Ports for servers that have to be told one before they start.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Socket, Type};

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
        if is_free(port) {
            return port;
        }
    }
    panic!("no port from {FIRST} to {} is free", FIRST + COUNT - 1);
}

/// Whether a server could listen there. Looks without listening: a process that another thread starts meanwhile has a
/// copy of the socket until it runs its own program. A copy that listens is in the server's way, and takes the
/// connections by which a test learns that the server is there; one that is only bound does neither.
fn is_free(port: u16) -> bool {
    let bind = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())
    };
    bind().is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::Command;
    use std::sync::atomic::AtomicBool;

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

    #[test]
    fn a_process_that_starts_meanwhile_keeps_none() {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    Command::new("true").status().expect("it starts");
                }
            });
            let refused = (0..5_000).filter(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).is_err()).count();
            done.store(true, Ordering::Relaxed);
            assert_eq!(refused, 0, "nobody else has them");
        });
    }
}
