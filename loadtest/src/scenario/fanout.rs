//! Lock step: the next change goes when every stream has the last, so that one event is one message, and what a server
//! spends is spent on delivering and on nothing else.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::steady::Steady;
use super::{EACH, PREFIX, Place, progress};
use crate::client::Client;
use crate::content;
use crate::meter::{self, Meter, at, patience};
use crate::outcome::{Outcome, float};
use crate::streams::{Streams, Watch};
use crate::target::{Protocol, Target};
use crate::wire::Said;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Fanout {
    /// Watch streams
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(crate) streams: usize,
    /// Streams on a connection, over gRPC
    #[arg(long, default_value_t = EACH, value_name = "N")]
    pub(crate) each: usize,
    /// Changes
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) events: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    pub(crate) size: usize,
    /// Changes a second; without it each goes when every stream has the one before
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<f64>,
}

/// Streams on a connection of this target.
pub(crate) fn each(target: &Target, each: usize) -> usize {
    if target.protocol == Protocol::Gateway { 1 } else { each.max(1) }
}

/// Opens streams on everything that a load puts, and tells what the server's memory has grown by, in KiB for each.
pub(super) fn open(place: &Place, count: usize, on_each: usize) -> Result<(Streams, Option<f64>)> {
    let target = place.target();
    let before = Meter::start(place.pid)?.memory()?;
    let mut streams = Streams::new()?;
    let bar = progress("streams", count);
    let watch = Watch { prefix: PREFIX.into(), from: 0 };
    streams.open(target, count, each(target, on_each), &watch, |opened| bar.set_position(opened as u64))?;
    bar.finish_and_clear();
    let after = Meter::start(place.pid)?.memory()?;
    Ok((streams, after.zip(before).map(|(after, before)| (after - before) / float(count))))
}

impl Fanout {
    pub(crate) fn title(&self) -> String {
        let pace = self.rate.map_or("in lock step".into(), |rate| format!("{rate} a second"));
        format!("fan-out: {} streams, {} changes of {} bytes {pace}", self.streams, self.events, self.size)
    }

    pub(crate) fn run(&self, place: &Place) -> Result<Outcome> {
        let mut puts = Client::open(place.target())?;
        // What a server sets up once is not the streams'.
        content::put(&mut puts, &format!("{PREFIX}0"), self.size)?;
        let (mut streams, memory) = open(place, self.streams, self.each)?;
        let mut outcome = Outcome::default();
        if let Some(rate) = self.rate {
            let steady = Steady { rate, events: self.events, size: self.size };
            steady.run(place, &mut streams, &mut outcome)?;
        } else {
            self.lock_step(place, &mut puts, &mut streams, &mut outcome)?;
        }
        outcome.hold_if("KiB/stream", memory, 1);
        Ok(outcome)
    }

    fn lock_step(&self, place: &Place, puts: &mut Client, streams: &mut Streams, outcome: &mut Outcome) -> Result<()> {
        let (mut last, mut changes) = (meter::latencies(), Vec::new());
        let mut one = |event: usize| -> Result<u64> {
            let started = Instant::now();
            let change = content::put(puts, &format!("{PREFIX}{}", event % 100), self.size)?;
            let revision = change.revision;
            changes.push(change);
            let mut missing = streams.watchers.len();
            while missing > 0 {
                let said = streams.turn(patience(), |number, said, watcher| {
                    let Said::Event(event) = said else {
                        anyhow::bail!("stream {number} was told {said:?} instead of revision {revision}")
                    };
                    let got = event.revision;
                    ensure!(got == revision, "stream {number} got revision {got}, where {revision} was next");
                    watcher.take(number, &event)?;
                    let is_that = event.content.identity == change.identity;
                    ensure!(is_that, "stream {number} got something else at revision {got} than was put");
                    missing -= 1;
                    Ok(())
                })?;
                ensure!(said > 0 || started.elapsed() < patience(), "{missing} streams got nothing");
            }
            Ok(u64::try_from(started.elapsed().as_micros())?)
        };
        // The first round warms what is made once.
        one(0)?;
        let meter = Meter::start(place.pid)?;
        let bar = progress("changes", self.events);
        for event in 0..self.events {
            last.record(one(event)?)?;
            bar.inc(1);
        }
        let seconds = meter.seconds();
        bar.finish_and_clear();
        let delivered = float(self.events * streams.watchers.len());
        outcome.hold_if("CPU us/event", meter.server_cpu()?.map(|cpu| cpu * 1e6 / delivered), 2);
        outcome.show("events/s", delivered / seconds, 0);
        outcome.show("last p50 ms", at(&last, 0.5), 2);
        outcome.hold("last p99 ms", at(&last, 0.99), 2);
        meter.finish(outcome)?;
        streams.stay_silent()?;
        streams.check(&changes)
    }
}
