//! A network between two processes that can be cut or hang.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How often a connection looks at the state of the network.
const LOOK: Duration = Duration::from_millis(10);

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Network {
    /// They arrive.
    Well,
    /// They wait, and nobody is told: a cable is out.
    Hangs,
    /// Connections are reset, and there are no new ones.
    Cut,
    Gone,
}

/// Forwards connections to one address.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<AtomicU8>,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(AtomicU8::new(Network::Well as u8));
        let seen = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                match seen.load(Ordering::Acquire) {
                    gone if gone == Network::Gone as u8 => return,
                    cut if cut == Network::Cut as u8 => drop(client),
                    // One that hangs is connected by the kernel, and waits in `carry`.
                    _ => {
                        let Ok(server) = TcpStream::connect(target) else { continue };
                        for (from, to) in [(&client, &server), (&server, &client)] {
                            let (from, to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
                            let seen = seen.clone();
                            std::thread::spawn(move || carry(from, to, &seen));
                        }
                    }
                }
            }
        });
        Self { address, state }
    }

    pub fn set(&self, network: Network) {
        self.state.store(network as u8, Ordering::Release);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Network::Gone);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, state: &AtomicU8) {
    let _ = from.set_read_timeout(Some(LOOK));
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match state.load(Ordering::Acquire) {
            well if well == Network::Well as u8 => {}
            hangs if hangs == Network::Hangs as u8 => {
                super::history::pause(LOOK);
                continue;
            }
            _ => break,
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                // What was on the way when the network hung or was cut does not arrive either.
                while state.load(Ordering::Acquire) == Network::Hangs as u8 {
                    super::history::pause(LOOK);
                }
                if state.load(Ordering::Acquire) != Network::Well as u8 || to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
