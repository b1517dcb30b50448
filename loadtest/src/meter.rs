//! What a server and this process spend meanwhile.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::outcome::Outcome;
use crate::process::{cpu_seconds, peak_kib, reset_peak, resident_kib};

static PATIENCE: OnceLock<Duration> = OnceLock::new();

/// How long nothing may happen while something is awaited.
pub(crate) fn patience() -> Duration {
    PATIENCE.get().copied().unwrap_or(Duration::from_mins(1))
}

/// Sets it, once.
pub(crate) fn set_patience(seconds: u64) {
    let _ = PATIENCE.set(Duration::from_secs(seconds));
}

/// Microseconds of the load's clock.
pub(crate) fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Latencies in microseconds, up to 10 minutes.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_max(600_000_000, 3).expect("bounds that a histogram can have")
}

/// Milliseconds at a quantile.
pub(crate) fn at(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    crate::outcome::float(histogram.value_at_quantile(quantile)) / 1e3
}

/// A time that is measured.
#[derive(Debug)]
pub(crate) struct Meter {
    pid: Option<u32>,
    started: Instant,
    server_cpu: Option<f64>,
    client_cpu: f64,
}

impl Meter {
    pub(crate) fn start(pid: Option<u32>) -> Result<Self> {
        if let Some(pid) = pid {
            reset_peak(pid);
        }
        let server_cpu = pid.map(cpu_seconds).transpose()?;
        Ok(Self { pid, started: Instant::now(), server_cpu, client_cpu: cpu_seconds(std::process::id())? })
    }

    /// Seconds so far.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Whole seconds so far.
    pub(crate) fn started_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Seconds of CPU that the server has used.
    pub(crate) fn server_cpu(&self) -> Result<Option<f64>> {
        let now = self.pid.map(cpu_seconds).transpose()?;
        Ok(now.zip(self.server_cpu).map(|(now, before)| now - before))
    }

    /// Resident memory of the server in KiB.
    pub(crate) fn memory(&self) -> Result<Option<f64>> {
        Ok(self.pid.map(resident_kib).transpose()?.map(crate::outcome::float))
    }

    /// The most resident memory since the start, in MiB.
    pub(crate) fn peak(&self) -> Result<Option<f64>> {
        Ok(self.pid.map(peak_kib).transpose()?.map(|kib| crate::outcome::float(kib) / 1024.0))
    }

    /// Notes whether this process was what limited.
    pub(crate) fn finish(&self, outcome: &mut Outcome) -> Result<()> {
        let seconds = self.seconds();
        let client = cpu_seconds(std::process::id())? - self.client_cpu;
        let server = self.server_cpu()?.unwrap_or(0.0);
        outcome.client_was_the_limit = client > 0.9 * seconds && server < 0.8 * seconds;
        Ok(())
    }
}
