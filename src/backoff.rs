//! Pauses between attempts.

use std::time::Duration;

use rand::Rng;

/// Doubles from [`MIN`](Self::MIN) to a bound, with jitter so that clients that lost a server together do
/// not come back together.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// The first pause at most.
    pub const MIN: Duration = Duration::from_millis(50);
    /// Any pause at most, unless a bound is given.
    pub const MAX: Duration = Duration::from_secs(15);

    /// Begins with the shortest pause.
    pub const fn new() -> Self {
        Self::up_to(Self::MAX)
    }

    /// As [`new`](Self::new), with a bound of its own.
    pub const fn up_to(most: Duration) -> Self {
        Self { next: Self::MIN, most }
    }

    /// The next attempt is a first one again.
    pub fn reset(&mut self) {
        self.next = Self::MIN;
    }

    /// The next pause: anything between nothing and a bound that doubles.
    pub fn pause(&mut self) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(self.most);
        rand::rng().random_range(Duration::ZERO..=bound)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}
