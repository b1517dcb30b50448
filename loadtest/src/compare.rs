//! The same load against several servers, in turn.

use std::io::Write;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::args::CompareArgs;
use crate::fanout;
use crate::process::{Kind, Server, pin_self};
use crate::report;

pub(crate) fn command(args: &CompareArgs) -> Result<()> {
    let named = |path: &std::path::Path| path.display().to_string();
    let mut targets = vec![("raw broadcaster".to_owned(), Kind::Raw)];
    targets.extend(args.confcast.iter().map(|path| (named(path), Kind::Confcast(path.clone()))));
    targets.extend(args.etcd.iter().map(|path| (named(path), Kind::Etcd(path.clone()))));
    if targets.len() == 1 {
        bail!("nothing to compare with; give --confcast FILE or --etcd FILE");
    }
    let pinned = !args.no_pin && pin_self();
    if !pinned {
        eprintln!("servers and load share all cores: times and latencies say little");
    }
    let mut json = args.json.as_ref().map(std::fs::File::create).transpose().context("--json")?;
    let mut outcomes: Vec<_> = targets.iter().map(|(name, _)| (name.clone(), Vec::new())).collect();
    // By turns, so that a change of the machine's mood meets all of them.
    for run in 0..args.runs {
        for ((name, kind), (_, outcomes)) in targets.iter().zip(&mut outcomes) {
            eprintln!("run {} of {}: {name}", run + 1, args.runs);
            let server = Server::start(kind, pinned)?;
            let outcome = fanout::run(server.address, Some(server.id()), args.load).with_context(|| name.clone())?;
            if let Some(json) = &mut json {
                writeln!(
                    json,
                    "{}",
                    json!({"target": name, "run": run, "streams": args.load.streams, "outcome": outcome})
                )?;
            }
            outcomes.push(outcome);
        }
    }
    report::print(&outcomes, args.load);
    Ok(())
}
