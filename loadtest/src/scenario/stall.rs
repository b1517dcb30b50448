//! Clients that stop reading: what they cost the others, and the server.

use anyhow::{Result, bail};

use super::fanout::open;
use super::steady::Steady;
use super::{EACH, PREFIX, Place, progress};
use crate::client::Client;
use crate::content;
use crate::meter::{Meter, patience};
use crate::outcome::{Outcome, float};
use crate::streams::{Streams, Watch};
use crate::wire::Said;

/// Bytes that the kernel may hold for a connection that is not read: on a loopback, some 2.5 MiB at the sender as it
/// begins, and little at the receiver, whose share grows with what it reads.
const FILL: usize = 4_000_000;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Stall {
    /// Streams that are read
    #[arg(long, default_value_t = 100, value_name = "N")]
    streams: usize,
    /// Streams that are not
    #[arg(long, default_value_t = 500, value_name = "N")]
    stalled: usize,
    /// What is written while they are not, in MB
    #[arg(long, default_value_t = 100, value_name = "MB")]
    megabytes: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 16384, value_name = "BYTES")]
    size: usize,
    /// Changes a second
    #[arg(long, default_value_t = 200.0, value_name = "N")]
    rate: f64,
}

impl Stall {
    pub(crate) fn title(&self) -> String {
        let (read, stalled, megabytes) = (self.streams, self.stalled, self.megabytes);
        format!("stall: {megabytes} MB in changes of {} bytes, {read} streams read and {stalled} do not", self.size)
    }

    pub(crate) fn run(&self, place: &Place) -> Result<Outcome> {
        let target = place.target();
        content::put(&mut Client::open(target)?, &format!("{PREFIX}0"), self.size)?;
        let events = self.megabytes * 1_000_000 / self.size;
        let load = Steady { rate: self.rate, events, size: self.size };
        // Without them: half as much, to know what the others have then.
        let (mut streams, _) = open(place, self.streams, EACH)?;
        let mut alone = Outcome::default();
        Steady { events: events / 2, ..load.clone() }.run(place, &mut streams, &mut alone)?;
        drop(streams);

        let (mut streams, _) = open(place, self.streams, EACH)?;
        let mut stalled = Streams::new()?;
        let watch = Watch { prefix: PREFIX.into(), from: 0 };
        stalled.open(target, self.stalled, 1, &watch, |_| {})?;
        // They are stalled once the kernel's buffers are full. Until then they take everything as the others do.
        let fill = Steady { rate: self.rate / 8.0, events: FILL.div_ceil(self.size), size: self.size };
        fill.run(place, &mut streams, &mut Outcome::default())?;
        let before = Meter::start(place.pid)?.memory()?;
        let mut outcome = Outcome::default();
        load.run(place, &mut streams, &mut outcome)?;
        let after = Meter::start(place.pid)?.memory()?;
        let p99 = |outcome: &Outcome| outcome.figures.iter().find(|f| f.name == "last p99 ms").map_or(0.0, |f| f.value);
        let ratio = p99(&outcome) / p99(&alone);
        outcome.show("p99 without", p99(&alone), 2);
        outcome.show("p99 with/without", ratio, 2);
        outcome.hold_if("grown MiB", after.zip(before).map(|(after, before)| (after - before) / 1024.0), 0);

        // They wake up: each gets what it missed, or is told that it is gone.
        let bar = progress("catch up", self.stalled);
        let mut compacted = 0_u64;
        let mut done = vec![false; self.stalled];
        let wanted = (events + fill.events) as u64;
        let reader = streams.watchers[0];
        let mut missing = self.stalled;
        while missing > 0 {
            let said = stalled.turn(patience(), |number, said, watcher| {
                match said {
                    Said::Event(event) => watcher.take(number, &event)?,
                    Said::Canceled(floor) if floor > 0 => compacted += 1,
                    other => bail!("stalled stream {number} was told {other:?}"),
                }
                if !done[number] && (watcher.last == reader.last || matches!(said, Said::Canceled(_))) {
                    done[number] = true;
                    missing -= 1;
                    bar.inc(1);
                    if watcher.last == reader.last && (watcher.count, watcher.digest) != (wanted, reader.digest) {
                        bail!("stalled stream {number} got {} of {wanted} changes, or other ones", watcher.count);
                    }
                }
                Ok(())
            })?;
            if said == 0 {
                bail!("{missing} stalled streams got nothing more for {} s", patience().as_secs());
            }
        }
        bar.finish_and_clear();
        outcome.show("told compacted", float(compacted), 0);
        Ok(outcome)
    }
}
