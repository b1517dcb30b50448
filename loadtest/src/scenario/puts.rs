//! Whether writers wait for watchers.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::fanout::each;
use super::steady::{Steady, writer};
use super::{EACH, PREFIX, Place, progress};
use crate::client::Client;
use crate::content;
use crate::meter::Meter;
use crate::outcome::{Outcome, float};
use crate::streams::{Streams, Watch};
use crate::wire::Said;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Puts {
    /// Watch streams
    #[arg(long, default_value_t = 5000, value_name = "N")]
    streams: usize,
    /// Puts in each of the three parts; a twentieth of them in the one with watchers of the same keys
    #[arg(long, default_value_t = 4000, value_name = "N")]
    puts: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    size: usize,
}

impl Puts {
    pub(crate) fn title(&self) -> String {
        format!("puts: {} of {} bytes, and {} streams", self.puts, self.size, self.streams)
    }

    pub(crate) fn run(&self, place: &Place) -> Result<Outcome> {
        let target = place.target();
        content::put(&mut Client::open(target)?, &format!("{PREFIX}0"), self.size)?;
        let mut outcome = Outcome::default();
        let open = |prefix: &str| -> Result<Streams> {
            let mut streams = Streams::new()?;
            let bar = progress("streams", self.streams);
            let watch = Watch { prefix: prefix.into(), from: 0 };
            streams.open(target, self.streams, each(target, EACH), &watch, |opened| bar.set_position(opened as u64))?;
            bar.finish_and_clear();
            Ok(streams)
        };
        let alone = self.phase(place, &mut Streams::new()?, self.puts)?;
        let elsewhere = self.phase(place, &mut open("/loadtest-elsewhere/")?, self.puts)?;
        let same = self.phase(place, &mut open(PREFIX)?, (self.puts / 20).max(1))?;
        outcome.hold("alone puts/s", alone, 0);
        outcome.show("watched elsewhere", elsewhere, 0);
        outcome.show("elsewhere/alone", elsewhere / alone, 2);
        outcome.show("watched", same, 0);
        Ok(outcome)
    }

    /// Puts, one after the other as they are acknowledged, and returns how many a second.
    fn phase(&self, place: &Place, streams: &mut Streams, count: usize) -> Result<f64> {
        let meter = Meter::start(place.pid)?;
        let load = Steady { rate: f64::INFINITY, events: count, size: self.size };
        let puts = writer(place, &load)?;
        let (mut changes, bar) = (Vec::new(), progress("puts", count));
        let mut took = 0.0;
        let concerned = streams.watchers.len();
        let mut take = |number: usize, said: Said, watcher: &mut crate::streams::Watcher| match said {
            Said::Event(event) => watcher.take(number, &event),
            other => bail!("stream {number} was told {other:?}"),
        };
        while changes.len() < count {
            if concerned == 0 {
                changes.push(puts.recv().context("the writer has ended")??);
            } else {
                streams.turn(Duration::from_millis(5), &mut take)?;
                for put in puts.try_iter() {
                    changes.push(put?);
                }
            }
            bar.set_position(changes.len() as u64);
            took = meter.seconds();
        }
        bar.finish_and_clear();
        while streams.turn(Duration::from_millis(500), &mut take)? > 0 {}
        if streams.watchers.first().is_some_and(|watcher| watcher.count > 0) {
            streams.check(&changes)?;
        }
        Ok(float(count) / took)
    }
}
