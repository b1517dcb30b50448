//! A rolling restart: the mirrors of an etcd are stopped and started again, one after the other, while a fleet of APISIX
//! instances is at all of them.

use std::cell::RefCell;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::args::{PlaceArgs, RollArgs};
use crate::process::{Server, pin_self};
use crate::report;
use crate::scenario::Place;
use crate::scenario::fleet::{Restarts, Step};
use crate::show;
use crate::target::{Protocol, Target};
use crate::tier::{Tier, wait};

/// From the word that a mirror will be stopped until it is, so that its streams can be counted.
const NOTICE: Duration = Duration::from_millis(100);

pub(crate) fn command(args: &RollArgs, place: &PlaceArgs) -> Result<()> {
    ensure!(args.replicas > 1, "with one mirror there is none that a fleet can go to");
    let pinned = !args.no_pin && pin_self();
    let data = tempfile::tempdir()?;
    let flags = |number: usize| {
        let mut flags = ["--drain-spread-seconds".to_owned(), args.drain_spread_seconds.to_string()].to_vec();
        if args.data_dirs {
            flags.extend(["--data-dir".to_owned(), data.path().join(number.to_string()).display().to_string()]);
        }
        flags
    };
    let Tier { etcd, mirrors } = Tier::start(&args.etcd, &args.confcast, args.replicas, flags, pinned)?;
    let targets = mirrors.iter().map(|mirror| Target::local(mirror.address, Protocol::Gateway)).collect();
    let json = report::json_file(place.json.as_deref())?.map(RefCell::new);
    let at = Place { targets, pid: None, name: format!("{} mirrors", args.replicas), json };
    let pause = Duration::from_secs_f64(args.pause);
    let (begin, begun) = mpsc::channel();
    let (sender, steps) = mpsc::channel();
    let restarts = Restarts { begin, steps, spread: Duration::from_secs(args.drain_spread_seconds) };
    let rolling = std::thread::spawn(move || {
        let mut mirrors = mirrors;
        if begun.recv().is_ok() {
            // Who does not listen any more has failed, and says why.
            let _ = roll(&mut mirrors, pause, &sender).map_err(|error| sender.send(Err(error)));
        }
        mirrors
    });
    let outcome = args.fleet.run_while(&at, Some(&restarts));
    drop(restarts);
    // Ended here, whatever came of it.
    drop((rolling.join(), etcd));
    let title = format!("roll: streams ended over {} s; {}", args.drain_spread_seconds, args.fleet.title());
    show(&title, at, outcome?, place)
}

/// Stops each and starts it again.
fn roll(mirrors: &mut [Server], pause: Duration, steps: &mpsc::Sender<Result<Step>>) -> Result<()> {
    for (number, mirror) in mirrors.iter_mut().enumerate() {
        std::thread::sleep(pause);
        steps.send(Ok(Step::Stopping(number)))?;
        std::thread::sleep(NOTICE);
        mirror.restart()?;
        wait(mirror)?;
        steps.send(Ok(Step::Serving))?;
    }
    std::thread::sleep(pause);
    Ok(())
}
