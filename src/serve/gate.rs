//! How many connections there may be, and what becomes of the others.
//!
//! One too many is answered with 503 if it speaks HTTP/1.1 in clear text, on which APISIX pauses for 3 s. Any other is
//! closed before it has begun: a client of gRPC then waits longer with each try, while one that was answered first
//! would be back at once.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::sniff::{Protocol, sniff};
use super::socket::Socket;
use crate::auth::peer::network;
use crate::config::live::Live;
use crate::telemetry;

/// Connections that are answered with a refusal at the same time; those beyond it are closed.
const ANSWERED: usize = 64;

/// Time that a connection is given to be refused.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of a request that are read after it was refused, as unread ones would take the answer away.
const READ: u64 = 64 << 10;

/// How often the log tells of connections that are refused.
const TOLD: Duration = Duration::from_secs(10);

const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 5\r\n\
    content-length: 95\r\nconnection: close\r\n\r\n\
    {\"error\":\"confcast: too many connections\",\"message\":\"confcast: too many connections\",\"code\":14}";

/// Counts the connections of a port.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    live: Live,
    open: AtomicUsize,
    by_address: DashMap<IpAddr, usize>,
    answered: Arc<Semaphore>,
    told: Mutex<Option<Instant>>,
}

/// A connection's place. Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Inner>,
    address: IpAddr,
}

impl Gate {
    pub(super) fn new(live: Live) -> Self {
        let (open, by_address, told) = Default::default();
        Self(Arc::new(Inner { live, open, by_address, answered: Arc::new(Semaphore::new(ANSWERED)), told }))
    }

    /// A place for a connection from an address; none if there are too many. Called by the listener alone.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Pass> {
        let inner = &self.0;
        let limits = inner.live.get().limits;
        if inner.open.load(Ordering::Relaxed) >= limits.connections {
            self.tell(telemetry::serve::OF_CONNECTIONS, address, "--max-connections");
            return None;
        }
        // Counted without a limit, too: one may be set while they are open.
        let address = network(address);
        let mut count = inner.by_address.entry(address).or_default();
        if *count >= limits.connections_per_address {
            drop(count);
            self.tell(telemetry::serve::OF_ADDRESS, address, "--max-connections-per-address");
            return None;
        }
        *count += 1;
        drop(count);
        inner.open.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!(telemetry::serve::OPEN).increment(1.0);
        Some(Pass { gate: inner.clone(), address })
    }

    fn tell(&self, limit: &'static str, address: IpAddr, flag: &str) {
        telemetry::serve::refused(limit);
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TOLD) {
            *told = Some(Instant::now());
            tracing::warn!(client = %address, "too many connections; new ones are refused, see {flag}");
        }
    }

    /// Refuses a connection. `encrypted` ones get no handshake, which would cost more than what they ask for.
    pub(super) async fn refuse(&self, stream: TcpStream, encrypted: bool) {
        let Ok(_place) = self.0.answered.clone().try_acquire_owned() else { return };
        if !encrypted {
            // An error is an end as well.
            let _ = timeout(PATIENCE, answer(stream)).await;
        }
    }
}

async fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut socket = Socket::Plain(stream);
    if let Some(Protocol::Http1) = sniff(&mut socket, Instant::now() + PATIENCE).await? {
        socket.write_all(REFUSAL).await?;
        socket.shutdown().await?;
        tokio::io::copy(&mut socket.take(READ), &mut tokio::io::sink()).await?;
    }
    Ok(())
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.open.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!(telemetry::serve::OPEN).decrement(1.0);
        if let Some(mut count) = self.gate.by_address.get_mut(&self.address) {
            *count -= 1;
            drop(count);
            self.gate.by_address.remove_if(&self.address, |_, count| *count == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits::Limits;
    use crate::config::live::LiveSettings;

    #[test]
    fn places_are_counted_and_given_back() {
        let limits = |connections, connections_per_address| {
            let limits = Limits { connections, connections_per_address, ..Limits::default() };
            LiveSettings { limits, ..LiveSettings::default() }
        };
        let live = Live::new(limits(3, usize::MAX));
        let gate = Gate::new(live.clone());
        let [a, b]: [IpAddr; 2] = ["10.0.0.1", "::ffff:10.0.0.2"].map(|text| text.parse().expect("an address"));
        let first = gate.enter(a).expect("a place");
        live.set(limits(3, 2));
        let _second = gate.enter(a).expect("a place");
        assert!(gate.enter(a).is_none(), "two from one address");
        let third = gate.enter(b).expect("a place");
        assert!(gate.enter("10.0.0.3".parse().expect("an address")).is_none(), "three in all");
        drop(first);
        assert!(gate.enter(a).is_some());
        live.set(limits(1, 1));
        assert!(gate.enter(a).is_none(), "those that there are stay, and no more come");
        drop(third);
        assert_eq!(gate.0.by_address.len(), 1, "nothing is kept of who has left");
    }

    #[test]
    fn the_refusal_says_how_long_it_is() {
        let text = std::str::from_utf8(REFUSAL).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        assert!(!text.contains("timeout"), "APISIX takes the word for an idle connection");
    }
}
