//! Puts at a rate, whatever the streams do meanwhile.

use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use serde_json::json;

use super::{PREFIX, Place, progress};
use crate::client::Client;
use crate::content::{self, Change};
use crate::meter::{self, Meter, at, patience};
use crate::outcome::{Outcome, Series, float};
use crate::streams::Streams;
use crate::wire::Said;

/// A load of puts.
#[derive(Clone, Debug)]
pub(crate) struct Steady {
    /// A second.
    pub(crate) rate: f64,
    pub(crate) events: usize,
    pub(crate) size: usize,
}

/// Latencies, of all deliveries and of the last of each change.
struct Latencies {
    all: Histogram<u64>,
    last: Histogram<u64>,
    /// Deliveries that are missing of each revision that has begun to arrive, by revision.
    open: VecDeque<(i64, usize)>,
}

impl Latencies {
    fn take(&mut self, revision: i64, sent: u64, streams: usize) {
        let took = meter::now().saturating_sub(sent);
        self.all.saturating_record(took);
        // Revisions arrive in order at each stream, so a new one is newer than all that are open.
        if self.open.back().is_none_or(|(newest, _)| *newest < revision) {
            self.open.push_back((revision, streams));
        }
        if let Ok(position) = self.open.binary_search_by_key(&revision, |(revision, _)| *revision) {
            self.open[position].1 -= 1;
            if self.open[position].1 == 0 {
                self.last.saturating_record(took);
                self.open.remove(position);
            }
        }
    }
}

/// Puts at a rate, on a thread of its own.
pub(super) fn writer(place: &Place, load: &Steady) -> Result<mpsc::Receiver<Result<Change>>> {
    let mut client = Client::open(place.target())?;
    let (sender, changes) = mpsc::channel();
    let load = load.clone();
    std::thread::spawn(move || {
        let started = Instant::now();
        for event in 0..load.events {
            let due = started + Duration::from_secs_f64(float(event) / load.rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let put = content::put(&mut client, &format!("{PREFIX}{}", event % 100), load.size);
            let failed = put.is_err();
            if sender.send(put).is_err() || failed {
                return;
            }
        }
    });
    Ok(changes)
}

impl Steady {
    /// Runs the load, waits until every stream has everything, and checks that it has.
    pub(crate) fn run(&self, place: &Place, streams: &mut Streams, outcome: &mut Outcome) -> Result<()> {
        let count = streams.watchers.len();
        let (first_event, wanted) = (streams.watchers[0].count, self.events as u64);
        let mut latencies = Latencies { all: meter::latencies(), last: meter::latencies(), open: VecDeque::new() };
        let (mut second, mut delivered, mut changes) = (meter::latencies(), 0_u64, Vec::new());
        let mut lines: [Vec<(f64, f64)>; 4] = Default::default();
        let meter = Meter::start(place.pid)?;
        let puts = writer(place, self)?;
        let bar = progress("changes", self.events);
        let (mut told, mut heard, mut cpu_before) = (Instant::now(), Instant::now(), 0.0);
        let total = wanted * count as u64;
        while delivered < total || changes.len() < self.events {
            let before = delivered;
            streams.turn(Duration::from_millis(100), |number, said, watcher| {
                let Said::Event(event) = said else { bail!("stream {number} was told {said:?}") };
                watcher.take(number, &event)?;
                let sent = event.content.sent;
                latencies.take(event.revision, sent, count);
                second.saturating_record(meter::now().saturating_sub(sent));
                delivered += 1;
                Ok(())
            })?;
            for put in puts.try_iter() {
                changes.push(put.context("a put failed")?);
                bar.inc(1);
            }
            if delivered > before {
                heard = Instant::now();
            } else if heard.elapsed() > patience() {
                let (seconds, missing) = (patience().as_secs(), total - delivered);
                bail!("nothing came for {seconds} s; {missing} of {total} deliveries are missing");
            }
            if told.elapsed() >= Duration::from_secs(1) {
                let at_second = meter.seconds();
                let (p50, p99) = (at(&second, 0.5), at(&second, 0.99));
                let (cpu, memory) = (meter.server_cpu()?.unwrap_or(0.0), meter.memory()?.unwrap_or(0.0) / 1024.0);
                let rate = float(second.len()) / told.elapsed().as_secs_f64();
                let busy = (cpu - cpu_before) / told.elapsed().as_secs_f64() * 100.0;
                bar.set_message(format!(
                    "{rate:.0} events/s p50 {p50:.1} ms p99 {p99:.1} ms CPU {busy:.0}% {memory:.0} MiB"
                ));
                for (line, number) in lines.iter_mut().zip([p50, p99, busy, memory]) {
                    line.push((at_second, number));
                }
                let told_of = json!({"second": at_second, "events_per_second": rate, "p50_ms": p50, "p99_ms": p99,
                    "server_cpu_percent": busy, "server_mib": memory});
                place.tell("second", told_of)?;
                (told, cpu_before) = (Instant::now(), cpu);
                second.reset();
            }
        }
        let seconds = meter.seconds();
        bar.finish_and_clear();
        outcome.hold_if("CPU us/event", meter.server_cpu()?.map(|cpu| cpu * 1e6 / float(delivered)), 2);
        outcome.show("events/s", float(delivered) / seconds, 0);
        outcome.show("all p50 ms", at(&latencies.all, 0.5), 2);
        outcome.show("all p99 ms", at(&latencies.all, 0.99), 2);
        outcome.show("last p50 ms", at(&latencies.last, 0.5), 2);
        outcome.hold("last p99 ms", at(&latencies.last, 0.99), 2);
        let names = ["p50 ms", "p99 ms", "server CPU %", "server MiB"];
        outcome.series.extend(names.into_iter().zip(lines).map(|(name, points)| Series { name, points }));
        meter.finish(outcome)?;
        streams.stay_silent()?;
        if first_event == 0 { streams.check(&changes) } else { Ok(()) }
    }
}
