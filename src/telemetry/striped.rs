//! Counters that every thread adds to, and that are summed when they are looked at.
//!
//! What happens for each write to each of thousands of streams is counted on a cache line that threads hardly ever
//! share, while a counter of the recorder is one line for all of them, behind a look-up by name.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam::utils::CachePadded;

/// Copies of the counters. More threads than these share them.
const STRIPES: usize = 16;

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Which copy is this thread's.
    static STRIPE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
}

/// So many counters.
#[derive(Debug)]
pub struct Striped<const N: usize>(Box<[CachePadded<[AtomicU64; N]>]>);

impl<const N: usize> Default for Striped<N> {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| CachePadded::new([const { AtomicU64::new(0) }; N])).collect())
    }
}

impl<const N: usize> Striped<N> {
    /// Adds to some of the counters: each amount to the one at its place, from the place `first` on.
    pub fn add<const M: usize>(&self, first: usize, amounts: [u64; M]) {
        // A thread that ends counts as any other.
        let stripe = STRIPE.try_with(Cell::get).unwrap_or(0);
        for (counter, amount) in self.0[stripe][first..].iter().zip(amounts) {
            counter.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// What was added to a counter so far.
    pub fn sum(&self, place: usize) -> u64 {
        self.0.iter().map(|stripe| stripe[place].load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_between_threads() {
        let counters = Striped::<4>::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| (0..100).for_each(|_| counters.add(1, [1, 2])));
            }
        });
        let all = 2 * STRIPES as u64 * 100;
        assert_eq!([0, 1, 2, 3].map(|place| counters.sum(place)), [0, all, 2 * all, 0]);
    }
}
