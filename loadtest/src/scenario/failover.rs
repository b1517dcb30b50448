//! One of several endpoints dies: streams go on at the others, from where they were.

use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{PREFIX, Place, progress};
use crate::client::Client;
use crate::content::{self, Change};
use crate::meter::{self, Meter, at};
use crate::outcome::{Outcome, float};
use crate::streams::{Streams, Watch};
use crate::target::Target;
use crate::wire::Said;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Failover {
    /// Watch streams, each on a connection of its own, spread over the targets
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) streams: usize,
    /// Changes a second
    #[arg(long, default_value_t = 50.0, value_name = "N")]
    pub(crate) rate: f64,
    /// How long
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub(crate) seconds: u32,
    /// Bytes of a value
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    pub(crate) size: usize,
    /// Process to kill; without it, kill one yourself
    #[arg(long, value_name = "PID")]
    pub(crate) kill: Option<u32>,
    /// Seconds until then
    #[arg(long, default_value_t = 3.0, value_name = "N")]
    pub(crate) kill_after: f64,
}

/// What became of the puts.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) acknowledged: Vec<Change>,
    /// Those whose answer was lost, which may have happened or not.
    pub(super) unknown: u64,
}

impl Written {
    /// Checks that these changes, which were seen, are no fewer than what was acknowledged, and no more than was put.
    pub(super) fn check(&self, seen: &[Change]) -> Result<()> {
        let (count, acknowledged) = (seen.len() as u64, self.acknowledged.len() as u64);
        ensure!(
            (acknowledged..=acknowledged + self.unknown).contains(&count),
            "{count} changes were seen, {acknowledged} were acknowledged and {} had no answer",
            self.unknown
        );
        for change in &self.acknowledged {
            // In order, as each has a newer revision than the last.
            let place = seen.binary_search_by_key(&change.revision, |seen| seen.revision);
            let is_that = place.is_ok_and(|place| seen[place] == *change);
            ensure!(is_that, "what was acknowledged at revision {} was not seen, or something else", change.revision);
        }
        Ok(())
    }
}

impl Failover {
    pub(crate) fn title(&self) -> String {
        format!("failover: {} streams, {} changes a second for {} s", self.streams, self.rate, self.seconds)
    }

    pub(crate) fn run(&self, place: &Place) -> Result<Outcome> {
        let targets = &place.targets;
        ensure!(targets.len() > 1, "give --target for each of several endpoints of the same data");
        let mut streams = Streams::new()?;
        streams.tolerant = true;
        // Where each was last. Those who lose one endpoint go to all of the others.
        let mut places = Vec::with_capacity(self.streams);
        for (number, target) in targets.iter().enumerate() {
            let count = self.streams / targets.len() + usize::from(number < self.streams % targets.len());
            streams.open(target, count, 1, &Watch { prefix: PREFIX.into(), from: 0 }, |_| {})?;
            places.extend((0..count).map(|stream| number + stream % (targets.len() - 1)));
        }
        let meter = Meter::start(place.pid)?;
        let puts = self.write(targets)?;
        let (mut latencies, mut written, mut killed) = (meter::latencies(), Written::default(), None);
        // Since when each is without an endpoint, and how long that was until the next change.
        let (mut without, mut again) = (vec![None; self.streams], meter::latencies());
        let (mut lost, mut moved, mut over, mut seen) = (Vec::new(), 0_u64, false, Vec::new());
        let bar = progress("seconds", self.seconds as usize);
        let mut quiet = Instant::now();
        // Until nothing has come for a while after the last put.
        while !over || quiet.elapsed() < Duration::from_secs(2) {
            let said = streams.turn(Duration::from_millis(50), |number, said, watcher| {
                match said {
                    Said::Event(event) => {
                        watcher.take(number, &event)?;
                        latencies.saturating_record(meter::now().saturating_sub(event.content.sent));
                        if let Some(since) = without[number].take() {
                            again.saturating_record(meter::now().saturating_sub(since));
                        }
                        if number == 0 {
                            seen.push(Change { revision: event.revision, identity: event.content.identity });
                        }
                    }
                    Said::Created => watcher.created = true,
                    Said::Gone => {
                        without[number] = without[number].or(Some(killed.unwrap_or_else(meter::now)));
                        lost.push(number);
                    }
                    other => bail!("stream {number} was told {other:?}"),
                }
                Ok(())
            })?;
            if said > 0 {
                quiet = Instant::now();
            }
            for number in std::mem::take(&mut lost) {
                places[number] += 1;
                let from = streams.watchers[number].last;
                let from = if from == 0 { 0 } else { from + 1 };
                let target = &targets[places[number] % targets.len()];
                moved += 1;
                if streams.reopen(target, number, &Watch { prefix: PREFIX.into(), from }).is_err() {
                    lost.push(number);
                }
            }
            loop {
                match puts.try_recv() {
                    Ok(Some(change)) => written.acknowledged.push(change),
                    Ok(None) => written.unknown += 1,
                    Err(mpsc::TryRecvError::Disconnected) => {
                        over = true;
                        break;
                    }
                    Err(mpsc::TryRecvError::Empty) => break,
                }
            }
            if let Some(pid) = self.kill.filter(|_| killed.is_none() && meter.seconds() > self.kill_after) {
                killed = Some(meter::now());
                ensure!(Command::new("kill").args(["-9", &pid.to_string()]).status()?.success(), "cannot kill {pid}");
                bar.println(format!("killed {pid}"));
            }
            bar.set_position(meter.started_seconds());
        }
        bar.finish_and_clear();
        check(&streams, &seen, &written)?;
        let mut outcome = Outcome::default();
        outcome.show("changes", float(written.acknowledged.len()), 0);
        outcome.show("puts without answer", float(written.unknown), 0);
        outcome.show("streams moved", float(moved), 0);
        outcome.show("moved p50 ms", at(&again, 0.5), 0);
        outcome.show("moved p99 ms", at(&again, 0.99), 0);
        outcome.show("moved longest ms", at(&again, 1.0), 0);
        outcome.show("p50 ms", at(&latencies, 0.5), 2);
        outcome.show("p99 ms", at(&latencies, 0.99), 2);
        outcome.show("longest ms", at(&latencies, 1.0), 0);
        outcome.show("lost", 0.0, 0);
        Ok(outcome)
    }

    /// Puts at the first target that answers; none for a put without an answer.
    fn write(&self, targets: &[Target]) -> Result<mpsc::Receiver<Option<Change>>> {
        let (sender, changes) = mpsc::channel();
        let (targets, load) = (targets.to_vec(), self.clone());
        let mut client = Client::open(&targets[0])?;
        std::thread::spawn(move || {
            let (started, mut at, mut event) = (Instant::now(), 0, 0_u32);
            let over = Duration::from_secs(load.seconds.into());
            while started.elapsed() < over {
                let due = started + Duration::from_secs_f64(f64::from(event) / load.rate);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let put = content::put(&mut client, &format!("{PREFIX}{}", event % 100), load.size);
                event += 1;
                let failed = put.is_err();
                if sender.send(put.ok()).is_err() {
                    return;
                }
                while failed && started.elapsed() < over {
                    at += 1;
                    match Client::open(&targets[at % targets.len()]) {
                        Ok(opened) => {
                            client = opened;
                            break;
                        }
                        Err(_) => std::thread::sleep(Duration::from_millis(50)),
                    }
                }
            }
        });
        Ok(changes)
    }
}

/// Every stream saw the same as the first, and no less than what was acknowledged.
fn check(streams: &Streams, seen: &[Change], written: &Written) -> Result<()> {
    let first = streams.watchers.first().context("no streams")?;
    for (number, watcher) in streams.watchers.iter().enumerate() {
        ensure!(
            (watcher.count, watcher.digest) == (first.count, first.digest),
            "stream {number} saw {} changes up to {}, and stream 0 {} others up to {}",
            watcher.count,
            watcher.last,
            first.count,
            first.last
        );
    }
    written.check(seen)
}
