//! The same load against several servers, in turn.

use std::cell::RefCell;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::args::{CompareArgs, PlaceArgs};
use crate::process::{Kind, Server, pin_self};
use crate::report::{Row, print};
use crate::scenario::Place;
use crate::target::{Protocol, Target};
use crate::{html, report};

/// What is compared, by name.
fn targets(args: &CompareArgs) -> Vec<(String, Kind)> {
    let named = |path: &Path| path.display().to_string();
    let mut targets = Vec::new();
    if args.scenario.is_for_all() && args.scenario.suits_the_floor() {
        targets.push(("raw broadcaster".to_owned(), Kind::Raw { coalesce: false }));
        if args.protocol == Protocol::Grpc {
            targets.push(("raw, coalescing".to_owned(), Kind::Raw { coalesce: true }));
        }
    }
    targets.extend(args.confcast.iter().map(|path| (named(path), Kind::Confcast(path.clone()))));
    if args.scenario.is_for_all() {
        targets.extend(args.etcd.iter().map(|path| (named(path), Kind::Etcd(path.clone()))));
    }
    targets
}

pub(crate) fn command(args: &CompareArgs, place: &PlaceArgs) -> Result<()> {
    let targets = targets(args);
    if args.confcast.is_empty() && args.etcd.is_empty() {
        bail!("nothing to compare with; give --confcast FILE or --etcd FILE");
    }
    let pinned = !args.no_pin && pin_self();
    if !pinned {
        eprintln!("servers and load share all cores: times and latencies say little");
    }
    let mut json = report::json_file(place.json.as_deref())?;
    let mut rows: Vec<_> = targets.iter().map(|(name, _)| Row { name: name.clone(), ..Row::default() }).collect();
    let flags = args.scenario.confcast_flags();
    // By turns, so that a change of the machine's mood meets all of them.
    for run in 0..args.runs {
        for ((name, kind), row) in targets.iter().zip(&mut rows) {
            if row.failure.is_some() {
                continue;
            }
            eprintln!("run {} of {}: {name}", run + 1, args.runs);
            let server = Server::start(kind, &flags, pinned)?;
            let place = Place {
                targets: vec![Target::local(server.address, args.protocol)],
                pid: Some(server.id()),
                name: name.clone(),
                json: json.take().map(RefCell::new),
            };
            match args.scenario.run(&place) {
                Ok(outcome) => {
                    place.tell("run", json!({"run": run, "scenario": args.scenario.title(), "outcome": outcome}))?;
                    row.outcomes.push(outcome);
                }
                // A server that cannot do it is a result, unless it is the one that this is for.
                Err(error) if matches!(kind, Kind::Etcd(_)) => {
                    eprintln!("{name}: {error:#}");
                    place.tell("failure", json!({"run": run, "error": format!("{error:#}")}))?;
                    row.failure = Some(format!("{error:#}"));
                }
                Err(error) => return Err(error).with_context(|| name.clone()),
            }
            json = place.json.map(RefCell::into_inner);
        }
    }
    let title = format!("{}; {:?}; medians of {}", args.scenario.title(), args.protocol, args.runs);
    print(&title, &rows);
    if let Some(path) = &place.html {
        html::write(path, &title, &rows)?;
    }
    Ok(())
}
