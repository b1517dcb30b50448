//! Whether the server can serve, and if not, what it waits for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Readiness of the server. Clones share it.
#[derive(Clone, Debug)]
pub struct Readiness {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Looked at with every request, the others only by people and probes.
    loaded: AtomicBool,
    draining: AtomicBool,
    waiting_for: Mutex<(String, Instant)>,
}

impl Readiness {
    /// Not ready, waiting for `what`.
    pub fn waiting_for(what: impl Into<String>) -> Self {
        let waiting_for = Mutex::new((what.into(), Instant::now()));
        let inner = Inner { loaded: AtomicBool::new(false), draining: AtomicBool::new(false), waiting_for };
        Self { inner: Arc::new(inner) }
    }

    /// Ready from the start.
    pub fn ready() -> Self {
        let readiness = Self::waiting_for("");
        readiness.loaded();
        readiness
    }

    /// A complete configuration is there to be served.
    pub fn loaded(&self) {
        self.inner.loaded.store(true, Ordering::Release);
    }

    /// The server is on its way out: traffic should go elsewhere, what runs is still served.
    pub fn draining(&self) {
        self.inner.draining.store(true, Ordering::Release);
    }

    /// Whether there is a complete configuration. If not, no read is answered.
    pub fn is_loaded(&self) -> bool {
        self.inner.loaded.load(Ordering::Acquire)
    }

    /// Whether new traffic is welcome.
    pub fn is_ready(&self) -> bool {
        self.is_loaded() && !self.inner.draining.load(Ordering::Acquire)
    }

    /// What is missing, and for how long; none when the server is ready.
    pub fn missing(&self) -> Option<(String, Duration)> {
        let waiting = self.inner.waiting_for.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_loaded() {
            return Some((waiting.0.clone(), waiting.1.elapsed()));
        }
        (!self.is_ready()).then(|| ("the server to be started again: it is stopping".into(), Duration::ZERO))
    }
}
