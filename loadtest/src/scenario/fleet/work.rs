//! A fleet at work: what it is told, and when it comes again.

use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use serde_json::json;

use super::moves::Moves;
use super::{Era, Fleet, Restarts, Step, Worker};
use crate::client::Caller;
use crate::content::{self, Change};
use crate::meter::{self, Meter, at};
use crate::outcome::{Outcome, float};
use crate::scenario::failover::Written;
use crate::scenario::{Place, progress};
use crate::streams::{Streams, Watch, digest_of};
use crate::wire::Said;

/// How long nothing may be put before the end, so that what was put arrives.
const QUIET: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Work<'a> {
    fleet: &'a Fleet,
    place: &'a Place,
    streams: Streams,
    watches: Vec<Worker>,
    caller: Caller,
    latencies: Histogram<u64>,
    written: Written,
    /// Changes as they were told first.
    seen: Vec<Change>,
    moves: Moves,
    /// Watches that are over and were not ended by the server.
    again: Vec<usize>,
    events: u64,
    rewatched: u64,
}

impl<'a> Work<'a> {
    pub(super) fn new(fleet: &'a Fleet, place: &'a Place, streams: Streams, watches: Vec<Worker>) -> Self {
        Self {
            moves: Moves::of(watches.len()),
            fleet,
            place,
            streams,
            watches,
            caller: Caller::new(&place.targets),
            latencies: meter::latencies(),
            written: Written::default(),
            seen: Vec::new(),
            again: Vec::new(),
            events: 0,
            rewatched: 0,
        }
    }

    /// Puts and watches for the time that is wanted, and until the endpoints have been restarted.
    pub(super) fn run(mut self, restarts: Option<&Restarts>, outcome: &mut Outcome) -> Result<()> {
        let over = Duration::from_secs(self.fleet.seconds.into());
        let (meter, began) = (Meter::start(self.place.pid)?, meter::now());
        let bar = progress("seconds", self.fleet.seconds as usize);
        let (started, mut quiet, mut puts, mut told) = (Instant::now(), Instant::now(), 0_u32, (Instant::now(), 0, 0));
        let mut rolling = restarts.map(|restarts| restarts.begin.send(())).transpose()?.is_some();
        loop {
            let is_due = rolling || started.elapsed() < over;
            if !is_due && quiet.elapsed() >= QUIET && self.moves.are_over()? {
                break;
            }
            if is_due && meter.seconds() >= f64::from(puts) / self.fleet.rate {
                self.put(puts as usize)?;
                puts += 1;
                quiet = Instant::now();
            }
            if let Some(restarts) = restarts.filter(|_| rolling) {
                rolling = self.follow(restarts)?;
            }
            self.listen()?;
            self.come_again()?;
            self.moves.are_over()?;
            if told.0.elapsed() >= Duration::from_secs(1) {
                let (events, moves) = (self.events, self.moves.count());
                self.place.tell(
                    "second",
                    json!({"second": meter.seconds(), "events": events - told.1, "moves": moves - told.2}),
                )?;
                told = (Instant::now(), events, moves);
            }
            bar.set_position(started.elapsed().as_secs());
        }
        bar.finish_and_clear();
        let seconds = meter.seconds();
        self.check()?;
        let cpu = meter.server_cpu()?;
        outcome.hold_if("server CPU %", cpu.map(|cpu| cpu / seconds * 100.0), 1);
        outcome.show("changes", float(self.seen.len()), 0);
        if self.place.targets.len() > 1 {
            outcome.show("puts without answer", float(self.written.unknown), 0);
        }
        outcome.show("deliveries", float(self.events), 0);
        outcome.show("watches again/s", float(self.rewatched) / seconds, 1);
        outcome.show("reloads", float(self.watches.iter().map(|watch| watch.reloads).sum::<u64>()), 0);
        self.moves.tell(began, outcome);
        outcome.show("p50 ms", at(&self.latencies, 0.5), 2);
        outcome.hold("p99 ms", at(&self.latencies, 0.99), 2);
        meter.finish(outcome)
    }

    fn put(&mut self, number: usize) -> Result<()> {
        let key = format!("{}/routes/{}", Fleet::root(), number % self.fleet.routes.max(1));
        match self.caller.once(|client| content::put(client, &key, self.fleet.size)) {
            Ok(change) => self.written.acknowledged.push(change),
            // One of several may be away, and the put may have happened or not.
            Err(_) if self.place.targets.len() > 1 => self.written.unknown += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Looks at what is done to the endpoints. False when that is over.
    fn follow(&mut self, restarts: &Restarts) -> Result<bool> {
        match restarts.steps.try_recv() {
            Ok(step) => {
                if let Step::Stopping(endpoint) = step? {
                    let there = self.watches.iter().filter(|watch| watch.endpoint == endpoint).count();
                    self.moves.allow(there, restarts.spread);
                }
                Ok(true)
            }
            Err(error) => Ok(error == TryRecvError::Empty),
        }
    }

    fn listen(&mut self) -> Result<()> {
        let one = self.fleet.era == Era::V2;
        let Self { streams, watches, latencies, seen, moves, again, events, .. } = self;
        streams.turn(Duration::from_millis(20), |number, said, watcher| {
            let watch = &mut watches[number];
            watch.heard = Instant::now();
            match said {
                Said::Created => {
                    watcher.created = true;
                    moves.created(number);
                }
                Said::Event(event) => {
                    let revision = event.revision;
                    // What comes after the one event for which a watch of that time lives is asked for again.
                    if revision >= watch.next {
                        watcher.take(number, &event)?;
                        watch.next = revision + 1;
                        latencies.saturating_record(meter::now().saturating_sub(event.content.sent));
                        *events += 1;
                        if seen.last().is_none_or(|last| last.revision < revision) {
                            seen.push(Change { revision, identity: event.content.identity });
                        }
                    } else if !one {
                        bail!("watch {number} got revision {revision} again");
                    }
                    if one {
                        again.push(number);
                    }
                }
                Said::Canceled(floor) if floor > 0 => {
                    watch.reloads += 1;
                    watch.next = floor;
                    again.push(number);
                }
                Said::Gone if watcher.created => moves.ended(number),
                Said::Gone => moves.refused(number),
                other => bail!("watch {number} was told {other:?}"),
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Watches again what is over, at the next endpoint.
    fn come_again(&mut self) -> Result<()> {
        let idle = self.fleet.idle();
        let expired = self.watches.iter().enumerate().filter(|(_, watch)| watch.heard.elapsed() > idle);
        self.again.extend(expired.map(|(number, _)| number));
        self.again.extend(&self.moves.lost);
        self.again.sort_unstable();
        self.again.dedup();
        for number in std::mem::take(&mut self.again) {
            let targets = &self.place.targets;
            if self.fleet.era == Era::V314 {
                self.caller.call(|client| client.range(&format!("{}//phantomkey", Fleet::root())))?;
            }
            let watch = &mut self.watches[number];
            watch.endpoint = (watch.endpoint + 1) % targets.len();
            let wanted = Watch { prefix: watch.prefix.clone(), from: watch.next };
            let opened = self.streams.reopen(&targets[watch.endpoint], number, &wanted);
            watch.heard = Instant::now();
            match opened.context("a watch that comes again") {
                Ok(()) => self.moves.connected(number),
                Err(_) if targets.len() > 1 => self.moves.refused(number),
                Err(error) => return Err(error),
            }
            self.rewatched += 1;
        }
        Ok(())
    }

    /// Every watch saw every change, but for those that were told to load all again.
    fn check(&self) -> Result<()> {
        self.written.check(&self.seen)?;
        let expected = digest_of(&self.seen);
        for (number, (watch, watcher)) in self.watches.iter().zip(&self.streams.watchers).enumerate() {
            let (count, wanted) = if watch.sees_routes() { (self.seen.len() as u64, expected) } else { (0, 0) };
            ensure!(
                watch.reloads > 0 || (watcher.count, watcher.digest) == (count, wanted),
                "watch {number} of {} saw {} of {count} changes, or other ones",
                watch.prefix,
                watcher.count
            );
        }
        Ok(())
    }
}
