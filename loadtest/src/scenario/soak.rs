//! A long time at a fixed rate: what grows, and what is lost.

use anyhow::Result;

use super::fanout::open;
use super::steady::Steady;
use super::{EACH, PREFIX, Place};
use crate::client::Client;
use crate::content;
use crate::meter::Meter;
use crate::outcome::{Outcome, float};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Soak {
    /// Watch streams
    #[arg(long, default_value_t = 1000, value_name = "N")]
    streams: usize,
    /// Streams on a connection, over gRPC
    #[arg(long, default_value_t = EACH, value_name = "N")]
    each: usize,
    /// Changes a second
    #[arg(long, default_value_t = 20.0, value_name = "N")]
    rate: f64,
    /// How long
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u32,
    /// Bytes of a value
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    size: usize,
}

impl Soak {
    pub(crate) fn title(&self) -> String {
        format!(
            "soak: {} streams, {} changes a second of {} bytes for {} s",
            self.streams, self.rate, self.size, self.seconds
        )
    }

    pub(crate) fn run(&self, place: &Place) -> Result<Outcome> {
        content::put(&mut Client::open(place.target())?, &format!("{PREFIX}0"), self.size)?;
        let (mut streams, memory) = open(place, self.streams, self.each)?;
        let mut outcome = Outcome::default();
        let before = Meter::start(place.pid)?.memory()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of changes")]
        let events = (self.rate * f64::from(self.seconds)).ceil() as usize;
        Steady { rate: self.rate, events, size: self.size }.run(place, &mut streams, &mut outcome)?;
        let after = Meter::start(place.pid)?.memory()?;
        let grown = after.zip(before).map(|(after, before)| (after - before) / 1024.0);
        outcome.hold_if("KiB/stream", memory, 1);
        outcome.hold_if("grown MiB", grown, 1);
        outcome.show("lost", float(0_u64), 0);
        Ok(outcome)
    }
}
