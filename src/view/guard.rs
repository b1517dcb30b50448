//! A second look at a change that takes most of the configuration away.
//!
//! Control planes send such a thing by mistake: one that was started before its caches were filled, one with labels that
//! match nothing. It is held back for a while, in which the last good configuration is served on. One that is still meant
//! after that is committed.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// When a change is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Held back is what takes away more than this share of the objects, in percent. 100 holds nothing back. Default 50.
    pub percent: u8,
    /// What takes away no more objects than this is never held back. Default 20.
    pub few: usize,
    /// For how long. Default 30 s.
    pub wait: Duration,
}

impl Default for Guard {
    fn default() -> Self {
        Self { percent: 50, few: 20, wait: Duration::from_secs(30) }
    }
}

impl Guard {
    fn is_much(&self, held: usize, removed: usize) -> bool {
        removed > self.few && removed.saturating_mul(100) > held.saturating_mul(usize::from(self.percent))
    }
}

/// Looks at changes, one after the other.
#[derive(Debug)]
pub(crate) struct Watchman {
    /// May be another one at any time.
    guard: watch::Receiver<Guard>,
    /// Since when changes are held back.
    since: Option<Instant>,
}

impl Watchman {
    pub(crate) fn new(guard: watch::Receiver<Guard>) -> Self {
        Self { guard, since: None }
    }

    /// Whether something is held back.
    pub(crate) fn holds(&self) -> bool {
        self.since.is_some()
    }

    /// Waits until the guard is another one.
    pub(crate) async fn changed(&mut self) {
        if self.guard.changed().await.is_err() {
            // Nobody is left who could change it.
            std::future::pending::<()>().await;
        }
    }

    /// Until when a change is to be held back that takes away `removed` of `held` objects; none if it may pass.
    pub(crate) fn judge(&mut self, held: usize, removed: usize, now: Instant) -> Option<Instant> {
        let guard = *self.guard.borrow();
        if !guard.is_much(held, removed) {
            self.since = None;
            return None;
        }
        let until = *self.since.get_or_insert(now) + guard.wait;
        if now >= until {
            self.since = None;
            return None;
        }
        Some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_most_away_waits_once() {
        let (sender, guard) = watch::channel(Guard::default());
        let mut watchman = Watchman::new(guard);
        let now = Instant::now();
        let until = now + Duration::from_secs(30);
        assert_eq!(watchman.judge(100, 50, now), None, "half is not more than half");
        assert_eq!(watchman.judge(30, 20, now), None, "few");
        assert_eq!(watchman.judge(100, 51, now), Some(until));
        assert_eq!(watchman.judge(100, 90, now + Duration::from_secs(10)), Some(until), "it does not begin again");
        assert!(watchman.holds());
        assert_eq!(watchman.judge(100, 90, until), None, "it is meant");
        assert_eq!(watchman.judge(100, 90, until), Some(until + Duration::from_secs(30)), "the next one waits again");
        assert_eq!(watchman.judge(100, 3, until), None);
        assert!(!watchman.holds(), "it was a mistake, and is mended");
        assert_eq!(watchman.judge(100, 60, until), Some(until + Duration::from_secs(30)));
        sender.send_replace(Guard { wait: Duration::from_secs(5), ..Guard::default() });
        watchman.changed().await;
        assert_eq!(watchman.judge(100, 60, until), Some(until + Duration::from_secs(5)), "from when it was held back");
        sender.send_replace(Guard { percent: 100, ..Guard::default() });
        assert_eq!(watchman.judge(100, 100, until), None);
    }
}
