//! An etcd with its watchers, and the same watchers on mirrors in front of it: what each spends, how long a change takes
//! to them, and how long those are without changes who lose their mirror.

use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::args::{PlaceArgs, TierArgs};
use crate::client::Client;
use crate::content;
use crate::html;
use crate::meter::{Meter, patience};
use crate::outcome::{Outcome, float};
use crate::process::{Kind, Server, pin_self};
use crate::report::{Row, json_file, print};
use crate::scenario::failover::Failover;
use crate::scenario::fanout::each;
use crate::scenario::steady::Steady;
use crate::scenario::{EACH, PREFIX, Place};
use crate::streams::{Streams, Watch};
use crate::target::{Protocol, Target};

/// Changes a second while a mirror is killed: who lost it waits for the next one, so that they tell to 50 ms.
const KILLING_RATE: f64 = 20.0;

/// How long that goes on, and when it happens.
const KILLING: (u32, f64) = (4, 1.5);

pub(crate) fn command(args: &TierArgs, place: &PlaceArgs) -> Result<()> {
    ensure!(args.mirrors.iter().all(|mirrors| *mirrors > 0), "--mirrors are numbers from 1 on");
    let pinned = !args.no_pin && pin_self();
    if !pinned {
        eprintln!("servers and load share all cores: times and latencies say little");
    }
    let mut json = json_file(place.json.as_deref())?;
    let cases: Vec<usize> = std::iter::once(0).chain(args.mirrors.iter().copied()).collect();
    let mut rows: Vec<_> = cases.iter().map(|mirrors| Row { name: name(*mirrors), ..Row::default() }).collect();
    let title = format!("tier: {} streams, {} changes a second for {} s", args.streams, args.rate, args.seconds);
    // By turns, so that a change of the machine's mood meets all of them.
    for run in 0..args.runs {
        for (mirrors, row) in cases.iter().zip(&mut rows) {
            eprintln!("run {} of {}: {}", run + 1, args.runs, row.name);
            let place =
                Place { targets: Vec::new(), pid: None, name: row.name.clone(), json: json.take().map(RefCell::new) };
            let tier = Tier::start(&args.etcd, &args.confcast, *mirrors, |_| Vec::new(), pinned)?;
            let (place, outcome) = tier.run(args, place)?;
            place.tell("run", json!({"run": run, "scenario": title, "outcome": outcome}))?;
            row.outcomes.push(outcome);
            json = place.json.map(RefCell::into_inner);
        }
    }
    let title = format!("{title}; {:?}; medians of {}", args.protocol, args.runs);
    print(&title, &rows);
    place.html.as_deref().map_or(Ok(()), |path| html::write(path, &title, &rows))
}

fn name(mirrors: usize) -> String {
    match mirrors {
        0 => "on the etcd".into(),
        1 => "on a mirror".into(),
        count => format!("on {count} mirrors"),
    }
}

/// An etcd, and mirrors of it.
pub(crate) struct Tier {
    pub(crate) etcd: Server,
    pub(crate) mirrors: Vec<Server>,
}

/// Waits until a mirror shows what its etcd has: it answers before it has anything to show.
pub(crate) fn wait(mirror: &Server) -> Result<()> {
    let started = Instant::now();
    while Client::open(&Target::local(mirror.address, Protocol::Gateway))?.range(&format!("{PREFIX}none/")).is_err() {
        ensure!(started.elapsed() < patience(), "a mirror does not show anything");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

impl Tier {
    /// Starts so many mirrors, each with flags for its number.
    pub(crate) fn start(
        etcd: &Path,
        confcast: &Path,
        mirrors: usize,
        flags: impl Fn(usize) -> Vec<String>,
        pinned: bool,
    ) -> Result<Self> {
        let etcd = Server::start(&Kind::Etcd(etcd.into()), &[], pinned)?;
        let upstream = format!("http://{}", etcd.address);
        let kind = Kind::Confcast(confcast.into());
        let start = |number| {
            let mut all = ["--source", "etcd", "--upstream", &upstream].map(str::to_owned).to_vec();
            all.extend(flags(number));
            Server::start(&kind, &all, pinned)
        };
        let mirrors = (0..mirrors).map(start).collect::<Result<Vec<_>>>()?;
        mirrors.iter().try_for_each(wait)?;
        Ok(Self { etcd, mirrors })
    }

    fn run(&self, args: &TierArgs, mut place: Place) -> Result<(Place, Outcome)> {
        let local = |server: &Server| Target::local(server.address, args.protocol);
        let etcd = local(&self.etcd);
        // What a server sets up once is not the streams'.
        content::put(&mut Client::open(&etcd)?, &format!("{PREFIX}0"), args.size)?;
        let mirrors: Vec<_> = self.mirrors.iter().map(local).collect();
        // Until a mirror has that, it would be the first event of its streams.
        mirrors.iter().try_for_each(|mirror| Client::open(mirror)?.range(PREFIX).map(|_| ()))?;
        let watched = if mirrors.is_empty() { std::slice::from_ref(&etcd) } else { &mirrors };
        let mut streams = Streams::new()?;
        for (number, target) in watched.iter().enumerate() {
            let count = args.streams / watched.len() + usize::from(number < args.streams % watched.len());
            streams.open(target, count, each(target, EACH), &Watch { prefix: PREFIX.into(), from: 0 }, |_| {})?;
        }
        (place.targets, place.pid) = (vec![etcd.clone()], Some(self.etcd.id()));
        let events = args.events();
        let meters = self.mirrors.iter().map(|mirror| Meter::start(Some(mirror.id()))).collect::<Result<Vec<_>>>()?;
        let (meter, mut steady) = (Meter::start(place.pid)?, Outcome::default());
        Steady { rate: args.rate, events, size: args.size }.run(&place, &mut streams, &mut steady)?;
        let spent = |meter: &Meter| Ok(meter.server_cpu()?.context("a process")? * 1e6 / float(events));
        let mut outcome = Outcome { series: steady.series, ..steady };
        // Of the etcd's, which is told for each put here.
        outcome.figures.retain(|figure| figure.name != "CPU us/event");
        outcome.hold("etcd CPU us/put", spent(&meter)?, 0);
        if !meters.is_empty() {
            outcome.show("mirrors CPU us/put", meters.iter().map(spent).sum::<Result<f64>>()?, 0);
        }
        drop(streams);
        if let [_, .., last] = &self.mirrors[..] {
            let (seconds, kill_after) = KILLING;
            let (streams, size, kill) = (args.streams, args.size, Some(last.id()));
            let failover = Failover { streams, rate: KILLING_RATE, seconds, size, kill, kill_after };
            place.targets = mirrors;
            let told = failover.run(&place)?;
            outcome.figures.extend(told.figures.into_iter().filter(|figure| figure.name.contains("moved")));
        }
        Ok((place, outcome))
    }
}
