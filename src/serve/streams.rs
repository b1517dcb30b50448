//! How many watch streams a connection has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::live::Live;

/// The watch streams of a connection. In the extensions of every request that may be one of several at a time.
#[derive(Clone, Debug)]
pub struct Streams {
    open: Arc<AtomicUsize>,
    live: Live,
}

/// The place of a stream. Given back when it is dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Streams {
    pub(super) fn new(live: Live) -> Self {
        Self { open: Arc::default(), live }
    }

    /// A place for one more; none if there are too many.
    pub fn enter(&self) -> Option<Place> {
        let most = self.live.get().limits.watch_streams;
        let more = |open: usize| (open < most).then_some(open + 1);
        let entered = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.is_ok().then(|| Place(self.open.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
