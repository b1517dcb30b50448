//! Watches that lose their endpoint, and when they are at another one.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use crate::meter::{self, at, patience};
use crate::outcome::{Outcome, Series, float};

/// Microseconds of a second, over which connections are counted.
const SECOND: u64 = 1_000_000;

/// The watches that go elsewhere because the server ended them.
#[derive(Debug)]
pub(super) struct Moves {
    /// Since when each watch has none, in the load's time.
    since: Vec<Option<u64>>,
    /// Those that still have to connect.
    pub(super) lost: BTreeSet<usize>,
    /// Those of them that had a watch, and did not give it up.
    ended: BTreeSet<usize>,
    /// When one of the latter connected, in order.
    times: Vec<u64>,
    /// Attempts that found no server, or one that did not serve.
    refused: u64,
    /// How long each was without a watch.
    away: Histogram<u64>,
    /// The most that should connect in a second; none if nobody was asked to stop.
    allowed: Option<f64>,
}

impl Moves {
    pub(super) fn of(watches: usize) -> Self {
        let since = vec![None; watches];
        Self {
            since,
            lost: BTreeSet::new(),
            ended: BTreeSet::new(),
            times: Vec::new(),
            refused: 0,
            away: meter::latencies(),
            allowed: None,
        }
    }

    /// A server with so many watches ends them over this time.
    pub(super) fn allow(&mut self, watches: usize, spread: Duration) {
        let rate = float(watches) / spread.as_secs_f64().max(1.0);
        self.allowed = Some(self.allowed.unwrap_or(0.0).max(rate));
    }

    /// The server has ended a watch.
    pub(super) fn ended(&mut self, number: usize) {
        self.ended.insert(number);
        self.without(number);
    }

    /// There was no watch to be had at an endpoint.
    pub(super) fn refused(&mut self, number: usize) {
        self.refused += 1;
        self.without(number);
    }

    fn without(&mut self, number: usize) {
        self.since[number].get_or_insert_with(meter::now);
        self.lost.insert(number);
    }

    pub(super) fn connected(&mut self, number: usize) {
        self.lost.remove(&number);
        if self.ended.remove(&number) {
            self.times.push(meter::now());
        }
    }

    pub(super) fn created(&mut self, number: usize) {
        if let Some(since) = self.since[number].take() {
            self.away.saturating_record(meter::now() - since);
        }
    }

    /// How many have connected so far.
    pub(super) fn count(&self) -> usize {
        self.times.len()
    }

    /// Whether every watch is there. Fails if one has been away for too long.
    pub(super) fn are_over(&self) -> Result<bool> {
        let longest = self.since.iter().enumerate().filter_map(|(number, since)| Some((since.as_ref()?, number))).min();
        let Some((since, number)) = longest else { return Ok(true) };
        let away = Duration::from_micros(meter::now() - since);
        ensure!(away < patience(), "watch {number} found no endpoint for {} s", away.as_secs());
        Ok(false)
    }

    /// The most that connected within any second.
    fn most(&self) -> usize {
        let ends = self.times.iter().enumerate().map(|(last, time)| {
            let first = self.times.partition_point(|other| other + SECOND <= *time);
            last + 1 - first
        });
        ends.max().unwrap_or(0)
    }

    /// Tells, if any watch was ended; of when in seconds since `started`, in the load's time.
    pub(super) fn tell(&self, started: u64, outcome: &mut Outcome) {
        if self.times.is_empty() && self.allowed.is_none() {
            return;
        }
        outcome.show("moves", float(self.times.len()), 0);
        outcome.show("moves/s most", float(self.most()), 0);
        if let Some(allowed) = self.allowed {
            outcome.show("moves/s allowed", allowed, 1);
        }
        outcome.show("refused", float(self.refused), 0);
        outcome.show("away p50 ms", at(&self.away, 0.5), 1);
        outcome.show("away longest ms", at(&self.away, 1.0), 0);
        let second = |time: &u64| (time - started) / SECOND;
        let last = self.times.last().map_or(0, second);
        let count = |at: u64| float(self.times.iter().filter(|time| second(time) == at).count());
        outcome.series.push(Series { name: "moves/s", points: (0..=last).map(|at| (float(at), count(at))).collect() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_in_any_second_is_found_wherever_it_begins() {
        let mut moves = Moves::of(1);
        assert_eq!(moves.most(), 0);
        moves.times = [0, 100, 1_900_000, 1_999_999, 2_100_000, 2_899_999, 2_900_000].to_vec();
        assert_eq!(moves.most(), 4);
    }

    #[test]
    fn servers_that_end_all_at_once_may_do_so() {
        let mut moves = Moves::of(1);
        moves.allow(100, Duration::ZERO);
        moves.allow(30, Duration::from_secs(2));
        assert_eq!(moves.allowed, Some(100.0));
        let mut moves = Moves::of(1);
        moves.allow(30, Duration::from_secs(2));
        moves.allow(40, Duration::from_secs(2));
        assert_eq!(moves.allowed, Some(20.0));
    }
}
