//! A fleet of APISIX instances: how each generation starts, watches, gives up an idle watch and comes back.

mod moves;
mod work;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{PREFIX, Place, progress};
use crate::client::Client;
use crate::content;
use crate::meter::Meter;
use crate::outcome::{Outcome, float};
use crate::streams::{Streams, Watch};
use crate::target::{Protocol, Target};
use work::Work;

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
#[derive(Debug)]
struct Worker {
    prefix: String,
    heard: Instant,
    /// The next revision wanted.
    next: i64,
    reloads: u64,
    /// Which of the endpoints it is at; the next watch goes to the next one, as APISIX takes them by turns.
    endpoint: usize,
}

impl Worker {
    /// Whether it is told of changes of routes, which are the only ones that there are.
    fn sees_routes(&self) -> bool {
        self.prefix.ends_with("/routes") || self.prefix.ends_with('/')
    }
}

/// What happens to the endpoints in the course of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// This one is about to be stopped.
    Stopping(usize),
    /// It serves again.
    Serving,
}

/// Those who stop and start the endpoints, while a fleet is at work.
#[derive(Debug)]
pub(crate) struct Restarts {
    /// Tells them to begin.
    pub(crate) begin: mpsc::Sender<()>,
    /// What they do, until they are done.
    pub(crate) steps: mpsc::Receiver<Result<Step>>,
    /// Time over which a server that stops ends its watches.
    pub(crate) spread: Duration,
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
        self.run_while(place, None)
    }

    /// As [`run`](Self::run), until the endpoints have been restarted as well.
    pub(crate) fn run_while(&self, place: &Place, restarts: Option<&Restarts>) -> Result<Outcome> {
        let targets = &place.targets;
        ensure!(
            targets.iter().all(|target| target.protocol == Protocol::Gateway),
            "APISIX speaks to the gateway; use a target of http:// or https://"
        );
        let root = Self::root();
        let mut client = Client::open(place.target())?;
        // As `apisix init_etcd`.
        for directory in DIRECTORIES {
            client.put(&format!("{root}/{directory}/"), b"init_dir")?;
        }
        for route in 0..self.routes {
            content::put(&mut client, &format!("{root}/routes/{route}"), self.size)?;
        }
        let mut outcome = Outcome::default();
        let meter = Meter::start(place.pid)?;
        let (streams, watches) = self.start(targets)?;
        outcome.show("start s", meter.seconds(), 2);
        outcome.hold_if("start CPU ms/instance", meter.server_cpu()?.map(|cpu| cpu * 1e3 / float(self.instances)), 2);
        outcome.show("watches", float(watches.len()), 0);
        Work::new(self, place, streams, watches).run(restarts, &mut outcome)?;
        outcome.hold_if("peak MiB", meter.peak()?, 0);
        Ok(outcome)
    }

    /// Starts all instances: the version, everything below the prefix, and a watch from there.
    fn start(&self, targets: &[Target]) -> Result<(Streams, Vec<Worker>)> {
        let (mut streams, mut watches) = (Streams::new()?, Vec::new());
        streams.tolerant = true;
        let bar = progress("instances", self.instances);
        for instance in 0..self.instances {
            let mut client = Client::open(&targets[instance % targets.len()])?;
            client.version()?;
            let (keys, revision) = client.range(&Self::root())?;
            ensure!(keys == self.routes + DIRECTORIES.len(), "{keys} keys when an instance started");
            for prefix in (0..self.workers).flat_map(|_| self.watched()) {
                let watch = Watch { prefix: prefix.clone(), from: revision + 1 };
                let endpoint = watches.len() % targets.len();
                streams.open(&targets[endpoint], 1, 1, &watch, |_| {})?;
                watches.push(Worker { prefix, heard: Instant::now(), next: revision + 1, reloads: 0, endpoint });
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok((streams, watches))
    }
}
