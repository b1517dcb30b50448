//! Lock step: the next change goes when every stream has the last, so that one event is one message, and what a server
//! spends is spent on delivering and on nothing else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::args::{FanoutArgs, Load};
use crate::http::Connection;
use crate::process;
use crate::report;
use crate::streams::Streams;

/// What came of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// Events that reached a stream.
    pub(crate) delivered: u64,
    /// From the first put to the last delivery.
    pub(crate) seconds: f64,
    /// CPU of the server in that time; none if its process is not known.
    pub(crate) server_cpu_seconds: Option<f64>,
    /// Growth of the server's resident memory by opening the streams, in KiB for each.
    pub(crate) kib_per_stream: Option<f64>,
    /// CPU of this process, which must not be what limits.
    pub(crate) client_cpu_seconds: f64,
    /// From the put to the arrival at the last stream, in microseconds: median and 99th percentile over the changes.
    pub(crate) last_stream_us: (u64, u64),
}

impl Outcome {
    /// Microseconds of the server's CPU for each delivered event.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        self.server_cpu_seconds.map(|seconds| seconds * 1e6 / self.delivered as f64)
    }

    /// Whether the load generator had little time left, so that the numbers are its own more than the server's.
    pub(crate) fn client_was_the_limit(&self) -> bool {
        let others = self.server_cpu_seconds.unwrap_or(0.0);
        self.client_cpu_seconds > 0.9 * self.seconds && others < 0.8 * self.seconds
    }
}

/// Runs the load against a server that runs already.
pub(crate) fn command(args: &FanoutArgs) -> Result<()> {
    let outcome = run(args.target, args.pid, args.load)?;
    report::print(&[(args.target.to_string(), vec![outcome])], args.load);
    Ok(())
}

pub(crate) fn run(target: SocketAddr, pid: Option<u32>, load: Load) -> Result<Outcome> {
    let cpu = |pid: Option<u32>| pid.map(process::cpu_seconds).transpose();
    let memory = |pid: Option<u32>| pid.map(process::resident_kib).transpose();
    let mut puts = Connection::open(target)?;
    puts.put(0, &value(load.size, 0))?;
    let before = memory(pid)?;
    let bar = progress("streams", load.streams);
    let mut streams = Streams::open(target, load.streams, |count| bar.set_position(count as u64))?;
    bar.finish_and_clear();
    let opened = memory(pid)?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let kib_per_stream =
        before.zip(opened).map(|(before, opened)| opened.saturating_sub(before) as f64 / load.streams as f64);
    // The first round warms what is made once.
    let revision = puts.put(0, &value(load.size, 0))?;
    streams.wait_for(revision, || {})?;

    let own = Some(std::process::id());
    let (server_before, client_before) = (cpu(pid)?, cpu(own)?);
    let mut last = Histogram::<u64>::new_with_max(60_000_000, 3)?;
    let bar = progress("changes", load.events);
    let mut delivered = 0;
    let started = Instant::now();
    for event in 0..load.events {
        let put = Instant::now();
        let revision = puts.put(event % 100, &value(load.size, event))?;
        streams.wait_for(revision, || delivered += 1)?;
        last.record(micros(put.elapsed()))?;
        bar.inc(1);
    }
    let seconds = started.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let server_cpu_seconds = cpu(pid)?.zip(server_before).map(|(after, before)| after - before);
    let client_cpu_seconds = cpu(own)?.zip(client_before).map_or(0.0, |(after, before)| after - before);
    streams.stay_silent()?;
    let last_stream_us = (last.value_at_quantile(0.5), last.value_at_quantile(0.99));
    Ok(Outcome { delivered, seconds, server_cpu_seconds, kib_per_stream, client_cpu_seconds, last_stream_us })
}

/// A value that differs from change to change and does not compress to nothing.
fn value(size: usize, seed: usize) -> Vec<u8> {
    (0..size).map(|position| b'a' + u8::try_from((position * 7 + seed * 13) % 26).unwrap_or(0)).collect()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn progress(what: &'static str, count: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>9} {bar:40} {pos}/{len} {per_sec}").expect("a template");
    ProgressBar::new(count as u64).with_style(style).with_message(what)
}
