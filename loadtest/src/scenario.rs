//! What can be done to a server.

mod churn;
pub(crate) mod failover;
pub(crate) mod fanout;
pub(crate) mod fleet;
mod puts;
mod soak;
mod stall;
pub(crate) mod steady;
mod storm;
mod xds;

use std::cell::RefCell;
use std::io::Write;

use anyhow::{Context, Result};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::outcome::Outcome;
use crate::target::Target;

/// Below this prefix all keys of a load are.
pub(crate) const PREFIX: &str = "/loadtest/";

/// Streams on a gRPC connection, unless it is said otherwise.
pub(crate) const EACH: usize = 100;

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Put keys, each when the last of many streams has the one before, or at a fixed rate
    Fanout(fanout::Fanout),
    /// Load all keys into many clients at the same time, as when a fleet starts
    Storm(storm::Storm),
    /// Connect, watch, hear of the watcher and leave, as fast as it goes
    Churn(churn::Churn),
    /// See what clients that stop reading do to the others, and to the server's memory
    Stall(stall::Stall),
    /// Put as fast as it goes: with nobody watching, with watchers elsewhere, and with watchers of the same keys
    Puts(puts::Puts),
    /// Put at a fixed rate for a long time
    Soak(soak::Soak),
    /// Kill one of several endpoints, and see that streams go on elsewhere without a loss
    Failover(failover::Failover),
    /// Behave as a fleet of APISIX instances of some generation
    Fleet(fleet::Fleet),
    /// Serve a mesh over ADS to the server, and measure from a push to the last stream
    Xds(xds::Xds),
}

impl Scenario {
    pub(crate) fn run(&self, place: &Place) -> Result<Outcome> {
        match self {
            Self::Fanout(scenario) => scenario.run(place),
            Self::Storm(scenario) => scenario.run(place),
            Self::Churn(scenario) => scenario.run(place),
            Self::Stall(scenario) => scenario.run(place),
            Self::Puts(scenario) => scenario.run(place),
            Self::Soak(scenario) => scenario.run(place),
            Self::Failover(scenario) => scenario.run(place),
            Self::Fleet(scenario) => scenario.run(place),
            Self::Xds(scenario) => scenario.run(place),
        }
    }

    /// What it is, in a line.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Fanout(scenario) => scenario.title(),
            Self::Storm(scenario) => scenario.title(),
            Self::Churn(scenario) => scenario.title(),
            Self::Stall(scenario) => scenario.title(),
            Self::Puts(scenario) => scenario.title(),
            Self::Soak(scenario) => scenario.title(),
            Self::Failover(scenario) => scenario.title(),
            Self::Fleet(scenario) => scenario.title(),
            Self::Xds(scenario) => scenario.title(),
        }
    }

    /// What a confcast is started with for it.
    pub(crate) fn confcast_flags(&self) -> Vec<String> {
        match self {
            Self::Xds(scenario) => scenario.confcast_flags(),
            _ => ["--source", "none"].map(str::to_owned).to_vec(),
        }
    }

    /// Whether the raw broadcaster can take part: it queues without a bound for whoever does not read.
    pub(crate) fn suits_the_floor(&self) -> bool {
        !matches!(self, Self::Stall(_) | Self::Fleet(_))
    }

    /// Whether servers other than confcast can take part.
    pub(crate) fn is_for_all(&self) -> bool {
        !matches!(self, Self::Xds(_))
    }
}

/// Where a scenario runs.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) targets: Vec<Target>,
    pub(crate) pid: Option<u32>,
    /// What this run is called in the lines of JSON.
    pub(crate) name: String,
    pub(crate) json: Option<RefCell<std::fs::File>>,
}

impl Place {
    /// The target of the scenarios that have one.
    pub(crate) fn target(&self) -> &Target {
        &self.targets[0]
    }

    /// Writes a line of JSON, if lines are wanted.
    pub(crate) fn tell(&self, kind: &str, mut what: Value) -> Result<()> {
        let Some(file) = &self.json else { return Ok(()) };
        what["target"] = self.name.as_str().into();
        what["kind"] = kind.into();
        writeln!(file.borrow_mut(), "{what}").context("--json")
    }
}

fn progress(what: &'static str, count: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>9} {bar:30} {pos}/{len} {per_sec} {msg}").expect("a template");
    ProgressBar::new(count as u64).with_style(style).with_prefix(what)
}
