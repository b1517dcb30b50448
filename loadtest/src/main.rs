//! Measures how servers that speak etcd's API broadcast changes to many watchers, and checks that every watcher sees
//! every change once, in order.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its user")]
#![allow(clippy::disallowed_methods, reason = "a load takes real time and has threads of its own")]

mod args;
mod client;
mod compare;
mod content;
mod html;
mod meter;
mod outcome;
mod process;
mod raw;
mod report;
mod roll;
mod scenario;
mod socket;
mod streams;
mod target;
mod tier;
mod wire;

use std::cell::RefCell;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use serde_json::json;

use crate::args::{Args, Command, PlaceArgs};
use crate::outcome::Outcome;
use crate::report::Row;
use crate::scenario::{Place, Scenario};
use crate::target::Target;

fn main() -> ExitCode {
    let args = Args::parse();
    meter::set_patience(args.place.patience);
    let done = match &args.command {
        Command::One(scenario) => one(scenario, &args.place),
        Command::Compare(compare) => compare::command(compare, &args.place),
        Command::Tier(tier) => tier::command(tier, &args.place),
        Command::Roll(roll) => roll::command(roll, &args.place),
        Command::Raw { listen, coalesce, fault } => raw::serve(listen, *coalesce, *fault),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a scenario once, against servers that run already.
fn one(scenario: &Scenario, args: &PlaceArgs) -> Result<()> {
    let urls = if args.target.is_empty() { vec!["http://127.0.0.1:2379".to_owned()] } else { args.target.clone() };
    let targets = urls.iter().map(|url| Target::open(url, &args.access)).collect::<Result<Vec<_>>>()?;
    let json = report::json_file(args.json.as_deref())?.map(RefCell::new);
    let place = Place { name: urls.join(" "), targets, pid: args.pid, json };
    let outcome = scenario.run(&place)?;
    show(&scenario.title(), place, outcome, args)
}

/// Shows what came of the only run, as it is wanted.
fn show(title: &str, place: Place, outcome: Outcome, args: &PlaceArgs) -> Result<()> {
    place.tell("run", json!({"run": 0, "scenario": title, "outcome": outcome}))?;
    let rows = [Row { name: place.name, outcomes: vec![outcome], failure: None }];
    report::print(title, &rows);
    args.html.as_deref().map_or(Ok(()), |path| html::write(path, title, &rows))
}
