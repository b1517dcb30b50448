//! Memory of requests and answers, counted, so that there is an end to it.
//!
//! What is there of a request is counted as it comes, and an answer before it is put together, as far as its bytes are
//! not shared with others. It counts until the answer has left for the system's socket. Requests that would go beyond the
//! limit are refused while those that were there go on: what they hold ends with them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::rpc::status::EtcdError;
use crate::telemetry::serve as limits;

/// Bytes of each request that are not counted: small ones are served at any time, and are bounded by the number of
/// connections.
const FREE: usize = 16 << 10;

/// How often the log tells of requests that are refused.
const TOLD: Duration = Duration::from_secs(10);

/// Counts for all requests. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Option<Arc<Counts>>);

#[derive(Debug)]
struct Counts {
    limit: usize,
    used: AtomicUsize,
    /// Bytes that are being made to be shared.
    making: AtomicUsize,
    told: Mutex<Option<Instant>>,
}

/// What one request holds, together with its answer. Given back when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Hold(Arc<Held>);

#[derive(Debug)]
struct Held {
    counts: Arc<Counts>,
    bytes: AtomicUsize,
}

impl Ledger {
    /// With a limit in bytes; without one nothing is counted.
    pub fn new(limit: Option<usize>) -> Self {
        let (used, making, told) = Default::default();
        Self(limit.map(|limit| Arc::new(Counts { limit, used, making, told })))
    }

    /// What a request holds that begins now; none if nothing is counted.
    pub fn open(&self) -> Option<Hold> {
        self.0.clone().map(|counts| Hold(Arc::new(Held { counts, bytes: AtomicUsize::new(0) })))
    }

    /// Bytes that requests and answers hold now, as far as they are counted.
    pub fn used(&self) -> usize {
        self.0.as_ref().map_or(0, |counts| counts.used.load(Ordering::Relaxed))
    }

    /// Bounds what a request that goes on keeps of what it has read. `hold` is made when there is much of it.
    pub fn bound(&self, hold: &mut Option<Hold>, bytes: usize) -> Result<(), EtcdError> {
        if hold.is_none() && bytes > FREE {
            *hold = self.open();
        }
        hold.as_ref().map_or(Ok(()), |hold| hold.resize(bytes))
    }

    /// Takes room for so many bytes that will be shared, before they are made; `others` are shared ones that count as
    /// well. Refuses if these, what is held, and what others are making, are too much already: what is shared may be larger
    /// than the limit, but not twice at the same moment.
    pub fn make(&self, others: usize, bytes: impl FnOnce() -> usize) -> Result<Making, EtcdError> {
        let Some(counts) = &self.0 else { return Ok(Making::default()) };
        let bytes = bytes();
        let more = |making: usize| {
            let all = [counts.used.load(Ordering::Relaxed), making].into_iter().fold(others, usize::saturating_add);
            (all <= counts.limit).then_some(making.saturating_add(bytes))
        };
        match counts.making.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Making { counts: Some(counts.clone()), left: bytes }),
            Err(_) => Err(counts.refuse()),
        }
    }
}

/// The part of a request's bytes that counts.
fn counted(bytes: usize) -> usize {
    bytes.saturating_sub(FREE)
}

impl Hold {
    /// What the request with these extensions holds; none if it is not counted.
    pub fn of(extensions: &http::Extensions) -> Option<Self> {
        extensions.get().cloned()
    }

    /// Takes room for so many more bytes, or refuses.
    pub fn grow(&self, more: usize) -> Result<(), EtcdError> {
        self.resize(self.0.bytes.load(Ordering::Relaxed).saturating_add(more))
    }

    /// Has room for so many bytes from now on, or refuses and leaves it as it was. Called by one task at a time.
    fn resize(&self, bytes: usize) -> Result<(), EtcdError> {
        let Held { counts, bytes: held } = &*self.0;
        let (old, new) = (counted(held.load(Ordering::Relaxed)), counted(bytes));
        if new > old {
            let more = |used: usize| used.checked_add(new - old).filter(|used| *used <= counts.limit);
            if counts.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
                return Err(counts.refuse());
            }
        } else {
            counts.used.fetch_sub(old - new, Ordering::Relaxed);
        }
        held.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Whether anything of it counts.
    pub fn counts(&self) -> bool {
        counted(self.0.bytes.load(Ordering::Relaxed)) > 0
    }
}

/// Room for shared bytes that are being made. Given back as they are made, and the rest when it is dropped.
#[derive(Debug, Default)]
pub struct Making {
    counts: Option<Arc<Counts>>,
    left: usize,
}

impl Making {
    /// So many bytes are there now, and counted by whoever keeps them.
    pub fn made(&mut self, bytes: usize) {
        let part = bytes.min(self.left);
        self.left -= part;
        if let Some(counts) = &self.counts {
            counts.making.fetch_sub(part, Ordering::Relaxed);
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        self.made(self.left);
    }
}

impl Counts {
    fn refuse(&self) -> EtcdError {
        limits::refused(limits::OF_MEMORY);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TOLD) {
            *told = Some(Instant::now());
            let used = self.used.load(Ordering::Relaxed);
            tracing::warn!(
                used,
                limit = self.limit,
                "requests hold too much memory; more are refused, see --memory-budget-mib"
            );
        }
        EtcdError::overloaded()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counts.used.fetch_sub(counted(self.bytes.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back_with_the_last_of_it() {
        let ledger = Ledger::new(Some(100 << 10));
        let [a, b] = [ledger.open(), ledger.open()].map(|hold| hold.expect("it counts"));
        a.grow(FREE).expect("free");
        assert_eq!((ledger.used(), a.counts()), (0, false));
        a.grow(80 << 10).expect("room");
        assert_eq!((ledger.used(), a.counts()), (80 << 10, true));
        b.grow(FREE + (20 << 10)).expect("room");
        let refused = b.grow(1).expect_err("full");
        assert_eq!((refused.code(), refused.http_status().as_u16()), (tonic::Code::ResourceExhausted, 503));
        assert!(refused.retry_after().is_some());
        assert!(ledger.make(0, || 0).is_ok() && ledger.make(1, || 0).is_err());
        let sent = a.clone();
        drop(a);
        assert_eq!(ledger.used(), 100 << 10, "the answer is still being sent");
        drop(sent);
        assert_eq!(ledger.used(), 20 << 10);
        b.resize(0).expect("less");
        assert_eq!(ledger.used(), 0);
        drop(b);
        assert_eq!(ledger.used(), 0);
    }

    #[test]
    fn what_is_shared_is_not_made_twice_at_the_same_moment_if_it_is_large() {
        let ledger = Ledger::new(Some(100));
        let mut first = ledger.make(0, || 250).expect("as large as it may be");
        ledger.make(0, || 1).expect_err("another one meanwhile");
        first.made(200);
        let second = ledger.make(30, || 10).expect("room");
        ledger.make(41, || 1).expect_err("with what others are sent it is too much");
        first.made(1000);
        assert!(ledger.make(90, || 1).is_ok());
        drop((first, second));
        assert!(ledger.make(100, || 1).is_ok());
    }

    #[test]
    fn what_goes_on_is_counted_when_there_is_much_of_it() {
        let ledger = Ledger::new(Some(100 << 10));
        let mut hold = None;
        ledger.bound(&mut hold, FREE).expect("free");
        assert!(hold.is_none());
        ledger.bound(&mut hold, 3 * FREE).expect("room");
        assert_eq!(ledger.used(), 2 * FREE);
        ledger.bound(&mut hold, 200 << 10).expect_err("full");
        ledger.bound(&mut hold, 0).expect("taken");
        assert_eq!(ledger.used(), 0);
        assert!(Ledger::default().open().is_none() && Ledger::default().make(usize::MAX, || 1).is_ok());
    }
}
