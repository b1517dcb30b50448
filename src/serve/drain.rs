//! Many futures of one task, all of which get their turn before the task goes on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::stream::{FuturesUnordered, Stream};
use futures_util::task::AtomicWaker;

/// Futures that are polled when they are woken.
///
/// `FuturesUnordered` gives up the task after two futures that were woken while they were polled. Each stream of
/// HTTP/2 is, by the capacity that it asks for, so that a commit would leave in writes of two frames.
#[derive(Debug)]
pub(super) struct Drain<F> {
    futures: FuturesUnordered<F>,
    again: Arc<Again>,
    waker: Waker,
}

/// Tells whether the task is woken, apart from waking it.
#[derive(Debug, Default)]
struct Again {
    woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Again {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F> Default for Drain<F> {
    fn default() -> Self {
        let again = Arc::<Again>::default();
        Self { futures: FuturesUnordered::new(), waker: again.clone().into(), again }
    }
}

impl<F> Extend<F> for Drain<F> {
    fn extend<I: IntoIterator<Item = F>>(&mut self, futures: I) {
        self.futures.extend(futures);
    }
}

impl<F: Future<Output = ()>> Drain<F> {
    /// Polls what was woken, and drops what has ended. `cx` is woken when there is more to poll.
    pub(super) fn poll_all(&mut self, cx: &mut Context<'_>) {
        // Before the look at the futures: a wake after it finds the task.
        self.again.task.register(cx.waker());
        let mut inner = Context::from_waker(&self.waker);
        // At most a turn for each: futures that always wake themselves must not keep the task.
        for _ in 0..=self.futures.len() {
            self.again.woken.store(false, Ordering::Release);
            while let Poll::Ready(Some(())) = Pin::new(&mut self.futures).poll_next(&mut inner) {}
            if !self.again.woken.load(Ordering::Acquire) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// As many as told, of which each wakes itself so many times.
    fn drain(count: usize, wakes: usize, polls: &Arc<AtomicUsize>) -> Drain<impl Future<Output = ()>> {
        let mut drain = Drain::default();
        drain.extend((0..count).map(|_| {
            let (polls, mut left) = (polls.clone(), wakes);
            poll_fn(move |cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                if left > 0 {
                    left -= 1;
                    cx.waker().wake_by_ref();
                }
                Poll::<()>::Pending
            })
        }));
        drain
    }

    #[test]
    fn futures_that_wake_themselves_get_their_turn_at_once() {
        let polls = Arc::default();
        let mut drain = drain(100, 1, &polls);
        drain.poll_all(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polls.load(Ordering::Relaxed), 200);
    }

    #[test]
    fn futures_that_always_wake_themselves_do_not_keep_the_task() {
        let (polls, again) = (Arc::default(), Arc::<Again>::default());
        let mut drain = drain(10, usize::MAX, &polls);
        drain.poll_all(&mut Context::from_waker(&again.clone().into()));
        assert!(polls.load(Ordering::Relaxed) < 1_000);
        assert!(again.woken.load(Ordering::Relaxed), "there is more to poll, and nobody said so");
    }
}
