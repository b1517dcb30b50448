//! When a watch stream ends because the server does.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::config::live::Live;

/// The end of the server's watch streams. They end one after the other, so that their clients do not come to the other
/// replicas all at once.
#[derive(Clone, Debug, Default)]
pub struct Stopping {
    /// Cancelled when streams are to end.
    pub token: CancellationToken,
    /// Has the time over which they do.
    live: Live,
    /// How many have been told when they end.
    told: Arc<AtomicU32>,
}

/// The end of one stream. Kept small, as there may be a hundred thousand.
#[derive(Debug)]
pub struct Ending {
    live: Live,
    told: Arc<AtomicU32>,
    wait: Wait,
}

#[derive(Debug)]
enum Wait {
    Running(Pin<Box<WaitForCancellationFutureOwned>>),
    Draining(Pin<Box<Sleep>>),
}

/// The fraction of the golden ratio, in 2^32nds. Its multiples, without their whole parts, lie evenly between zero and one
/// however many there are: no part of the time has more than its share of the ends, as it would by chance.
const GOLDEN: u32 = 0x9e37_79b9;

impl Stopping {
    /// Streams end over the time that is set, once that is asked for.
    pub fn over(live: Live) -> Self {
        Self { token: CancellationToken::new(), live, told: Arc::default() }
    }

    /// When a stream ends that begins now.
    pub fn ending(&self) -> Ending {
        Ending {
            live: self.live.clone(),
            told: self.told.clone(),
            wait: Wait::Running(Box::pin(self.token.clone().cancelled_owned())),
        }
    }
}

impl Ending {
    /// Ready when the stream is to end, which is at a moment of its own.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Wait::Running(stopped) = &mut self.wait {
            ready!(stopped.as_mut().poll(cx));
            let number = self.told.fetch_add(1, Ordering::Relaxed);
            let share = f64::from(number.wrapping_mul(GOLDEN)) / 2_f64.powi(32);
            self.wait = Wait::Draining(Box::pin(tokio::time::sleep(self.live.get().drain_spread.mul_f64(share))));
        }
        match &mut self.wait {
            Wait::Running(_) => Poll::Pending,
            Wait::Draining(sleep) => sleep.as_mut().poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::config::live::LiveSettings;

    /// When each of so many streams ends, in order, as a share of the time.
    async fn ends(count: usize, spread: Duration) -> Vec<f64> {
        let stopping = Stopping::over(Live::new(LiveSettings { drain_spread: spread, ..LiveSettings::default() }));
        let mut endings: Vec<_> = (0..count).map(|_| stopping.ending()).collect();
        stopping.token.cancel();
        let started = Instant::now();
        let polls = endings.iter_mut().map(|ending| {
            let mut ended = None;
            std::future::poll_fn(move |cx| {
                ready!(ending.poll(cx));
                Poll::Ready(*ended.get_or_insert_with(|| started.elapsed().div_duration_f64(spread)))
            })
        });
        let mut ends: Vec<_> = pin!(futures_util::future::join_all(polls)).await;
        ends.sort_by(f64::total_cmp);
        ends
    }

    #[tokio::test(start_paused = true)]
    async fn no_tenth_of_the_time_has_more_than_its_share() {
        for count in [1, 10, 33, 1000] {
            let ends = ends(count, Duration::from_secs(100)).await;
            assert!(ends.iter().all(|end| (0.0..=1.0).contains(end)), "{ends:?}");
            let most =
                ends.iter().map(|from| ends.iter().filter(|end| (*from..from + 0.1).contains(*end)).count()).max();
            assert!(most <= Some(count / 10 + 3), "{most:?} of {count} in a tenth of the time");
        }
    }
}
