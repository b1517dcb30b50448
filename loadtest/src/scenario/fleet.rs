//! A fleet of APISIX instances: how each generation starts, watches, gives up an idle watch and comes back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{PREFIX, Place, progress};
use crate::client::Client;
use crate::content;
use crate::meter::{self, Meter, at};
use crate::outcome::{Outcome, float};
use crate::streams::{Streams, Watch, digest_of};
use crate::target::{Protocol, Target};
use crate::wire::Said;

/// A generation of APISIX, by the way in which it uses etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Era {
    /// A watch for each kind of object in each worker, given up after each event and after 30 s
    #[value(name = "2.15")]
    V2,
    /// One watch in each worker, given up after 50 s without an event
    #[value(name = "3.2")]
    V3,
    /// The same, with a read of a key that does not exist before each watch
    #[value(name = "3.14")]
    V314,
    /// As 3.2
    #[value(name = "3.18")]
    V318,
}

/// The kinds of objects, as directories below the prefix.
const DIRECTORIES: [&str; 13] = [
    "consumer_groups",
    "consumers",
    "global_rules",
    "plugin_configs",
    "plugin_metadata",
    "plugins",
    "protos",
    "routes",
    "secrets",
    "services",
    "ssls",
    "stream_routes",
    "upstreams",
];

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Fleet {
    /// Instances
    #[arg(long, default_value_t = 100, value_name = "N")]
    instances: usize,
    /// Workers of each
    #[arg(long, default_value_t = 4, value_name = "N")]
    workers: usize,
    /// Generation
    #[arg(long, value_enum, default_value = "3.18")]
    era: Era,
    /// Routes that there are when the fleet starts
    #[arg(long, default_value_t = 1000, value_name = "N")]
    routes: usize,
    /// Changes a second
    #[arg(long, default_value_t = 2.0, value_name = "N")]
    rate: f64,
    /// How long, from when all have started
    #[arg(long, default_value_t = 20, value_name = "N")]
    seconds: u32,
    /// After how many seconds an idle watch is given up, instead of what the generation does
    #[arg(long, value_name = "N")]
    idle: Option<f64>,
    /// Bytes of a route
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    size: usize,
}

/// A watch of a worker.
struct Worker {
    prefix: String,
    heard: Instant,
    /// The next revision wanted.
    next: i64,
    reloads: u64,
}

impl Fleet {
    fn root() -> String {
        format!("{PREFIX}apisix")
    }

    pub(crate) fn title(&self) -> String {
        let era = clap::ValueEnum::to_possible_value(&self.era).map_or(String::new(), |era| era.get_name().to_owned());
        format!(
            "fleet: {} instances of APISIX {era} with {} workers, {} routes, {} changes a second for {} s",
            self.instances, self.workers, self.routes, self.rate, self.seconds
        )
    }

    fn idle(&self) -> Duration {
        let seconds = self.idle.unwrap_or(if self.era == Era::V2 { 30.0 } else { 50.0 });
        Duration::from_secs_f64(seconds)
    }

    /// What each worker watches.
    fn watched(&self) -> Vec<String> {
        let root = Self::root();
        if self.era == Era::V2 {
            // Without a slash, so that the directory's own key belongs to it.
            DIRECTORIES.map(|directory| format!("{root}/{directory}")).to_vec()
        } else {
            vec![format!("{root}/")]
        }
    }

    pub(crate) fn run(&self, place: &Place) -> Result<Outcome> {
        let target = place.target();
        ensure!(
            target.protocol == Protocol::Gateway,
            "APISIX speaks to the gateway; use a target of http:// or https://"
        );
        let root = Self::root();
        let mut client = Client::open(target)?;
        // As `apisix init_etcd`.
        for directory in DIRECTORIES {
            client.put(&format!("{root}/{directory}/"), b"init_dir")?;
        }
        for route in 0..self.routes {
            content::put(&mut client, &format!("{root}/routes/{route}"), self.size)?;
        }
        let mut outcome = Outcome::default();
        let meter = Meter::start(place.pid)?;
        let (mut streams, mut watches) = self.start(target)?;
        outcome.show("start s", meter.seconds(), 2);
        outcome.hold_if("start CPU ms/instance", meter.server_cpu()?.map(|cpu| cpu * 1e3 / float(self.instances)), 2);
        outcome.show("watches", float(watches.len()), 0);
        self.work(place, &mut streams, &mut watches, &mut client, &mut outcome)?;
        outcome.hold_if("peak MiB", meter.peak()?, 0);
        Ok(outcome)
    }

    /// Starts all instances: the version, everything below the prefix, and a watch from there.
    fn start(&self, target: &Target) -> Result<(Streams, Vec<Worker>)> {
        let (mut streams, mut watches) = (Streams::new()?, Vec::new());
        streams.tolerant = true;
        let bar = progress("instances", self.instances);
        for _ in 0..self.instances {
            let mut client = Client::open(target)?;
            client.version()?;
            let (keys, revision) = client.range(&Self::root())?;
            ensure!(keys == self.routes + DIRECTORIES.len(), "{keys} keys when an instance started");
            for prefix in (0..self.workers).flat_map(|_| self.watched()) {
                let watch = Watch { prefix: prefix.clone(), from: revision + 1 };
                streams.open(target, 1, 1, &watch, |_| {})?;
                watches.push(Worker { prefix, heard: Instant::now(), next: revision + 1, reloads: 0 });
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok((streams, watches))
    }

    fn work(
        &self,
        place: &Place,
        streams: &mut Streams,
        watches: &mut [Worker],
        client: &mut Client,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let target = place.target();
        let (idle, root) = (self.idle(), Self::root());
        let meter = Meter::start(place.pid)?;
        let bar = progress("seconds", self.seconds as usize);
        let (mut latencies, mut changes, mut rewatched) = (meter::latencies(), Vec::new(), 0_u64);
        let (mut again, mut events, mut puts) = (Vec::new(), 0_u64, 0_u32);
        let over = Duration::from_secs(self.seconds.into());
        let started = Instant::now();
        let mut quiet = Instant::now();
        while started.elapsed() < over || quiet.elapsed() < Duration::from_secs(1) {
            let due = f64::from(puts) / self.rate;
            if started.elapsed() < over && meter.seconds() >= due {
                let key = format!("{root}/routes/{}", puts as usize % self.routes.max(1));
                changes.push(content::put(client, &key, self.size)?);
                puts += 1;
                quiet = Instant::now();
            }
            let one = self.era == Era::V2;
            streams.turn(Duration::from_millis(20), |number, said, watcher| {
                let watch = &mut watches[number];
                watch.heard = Instant::now();
                match said {
                    Said::Created => watcher.created = true,
                    Said::Event(event) => {
                        let revision = event.revision;
                        // What comes after the one event for which a watch of that time lives is asked for again.
                        if revision >= watch.next {
                            watcher.take(number, &event)?;
                            watch.next = revision + 1;
                            latencies.saturating_record(meter::now().saturating_sub(event.content.sent));
                            events += 1;
                        } else if !one {
                            bail!("watch {number} got revision {revision} again");
                        }
                        if one {
                            again.push(number);
                        }
                    }
                    Said::Canceled(floor) if floor > 0 => {
                        watch.reloads += 1;
                        watch.next = floor;
                        again.push(number);
                    }
                    Said::Gone => again.push(number),
                    other => bail!("watch {number} was told {other:?}"),
                }
                Ok(())
            })?;
            let expired = watches.iter().enumerate().filter(|(_, watch)| watch.heard.elapsed() > idle);
            again.extend(expired.map(|(number, _)| number));
            again.sort_unstable();
            again.dedup();
            for number in again.drain(..) {
                let watch = &mut watches[number];
                if self.era == Era::V314 {
                    client.range(&format!("{root}//phantomkey"))?;
                }
                let wanted = Watch { prefix: watch.prefix.clone(), from: watch.next };
                streams.reopen(target, number, &wanted).context("a watch that comes again")?;
                watch.heard = Instant::now();
                rewatched += 1;
            }
            bar.set_position(started.elapsed().as_secs());
        }
        let seconds = meter.seconds();
        bar.finish_and_clear();
        let expected = digest_of(&changes);
        for (number, (watch, watcher)) in watches.iter().zip(&streams.watchers).enumerate() {
            let (count, wanted) = if watch.prefix.ends_with("/routes") || watch.prefix.ends_with('/') {
                (changes.len() as u64, expected)
            } else {
                (0, 0)
            };
            ensure!(
                watch.reloads > 0 || (watcher.count, watcher.digest) == (count, wanted),
                "watch {number} of {} saw {} of {count} changes, or other ones",
                watch.prefix,
                watcher.count
            );
        }
        let cpu = meter.server_cpu()?;
        outcome.hold_if("server CPU %", cpu.map(|cpu| cpu / seconds * 100.0), 1);
        outcome.show("changes", float(changes.len()), 0);
        outcome.show("deliveries", float(events), 0);
        outcome.show("watches again/s", float(rewatched) / seconds, 1);
        outcome.show("reloads", float(watches.iter().map(|watch| watch.reloads).sum::<u64>()), 0);
        outcome.show("p50 ms", at(&latencies, 0.5), 2);
        outcome.hold("p99 ms", at(&latencies, 0.99), 2);
        meter.finish(outcome)
    }
}
