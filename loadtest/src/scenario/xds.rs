//! A mesh: a control plane whose endpoints come and go, and how long a push takes to the last gateway.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use confcast::envoy::{Resource, ResourceType};
use confcast::testing::ads::{AdsServer, Habits};
use confcast::testing::mesh;

use super::fanout::each;
use super::{EACH, Place, progress};
use crate::meter::{self, Meter, at, patience};
use crate::outcome::{Outcome, float};
use crate::streams::{Streams, Watch};
use crate::wire::Said;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Xds {
    /// Services, each with a cluster and a route
    #[arg(long, default_value_t = 500, value_name = "N")]
    services: u16,
    /// Endpoints of each
    #[arg(long, default_value_t = 5, value_name = "N")]
    endpoints: u16,
    /// Watch streams
    #[arg(long, default_value_t = 500, value_name = "N")]
    streams: usize,
    /// Pushes, each with a change of the endpoints of one service
    #[arg(long, default_value_t = 50, value_name = "N")]
    pushes: u16,
    /// Where the control plane is served; the server under test needs `--source xds --xds-server http://ADDRESS`
    #[arg(long, default_value = "127.0.0.1:15010", value_name = "ADDRESS")]
    ads: SocketAddr,
}

impl Xds {
    pub(crate) fn title(&self) -> String {
        format!(
            "xds: {} services of {} endpoints, {} streams, {} pushes",
            self.services, self.endpoints, self.streams, self.pushes
        )
    }

    pub(crate) fn confcast_flags(&self) -> Vec<String> {
        let server = format!("http://{}", self.ads);
        ["--source", "xds", "--xds-server", &server, "--xds-node-id", "loadtest"].map(str::to_owned).to_vec()
    }

    fn endpoints(&self, service: u16, change: u16) -> Resource {
        let ports: Vec<_> = (0..self.endpoints).map(|number| number + self.port(change)).collect();
        mesh::endpoints(&format!("service-{service}"), &ports)
    }

    /// The first port of a service after a change, which no other change has.
    fn port(&self, change: u16) -> u16 {
        10_000 + change * self.endpoints
    }

    fn mesh(&self) -> Vec<Resource> {
        let names: Vec<_> = (0..self.services).map(|service| format!("service-{service}")).collect();
        let prefixes: Vec<_> = names.iter().map(|name| format!("/{name}/")).collect();
        let routes: Vec<_> =
            prefixes.iter().zip(&names).map(|(prefix, name)| (prefix.as_str(), name.as_str())).collect();
        let mut world: Vec<_> = names.iter().map(|name| mesh::eds_cluster(name)).collect();
        world.extend((0..self.services).map(|service| self.endpoints(service, 0)));
        world.push(mesh::listener("http", 8080, "routes"));
        world.push(mesh::prefix_routes("routes", &routes));
        world
    }

    pub(crate) fn run(&self, place: &Place) -> Result<Outcome> {
        ensure!(u32::from(self.pushes) * u32::from(self.endpoints) < 50_000, "fewer pushes or endpoints");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let world = self.mesh();
        let ads = runtime.block_on(async {
            let listener =
                tokio::net::TcpListener::bind(self.ads).await.with_context(|| format!("--ads {}", self.ads))?;
            let server = AdsServer::on(listener, Habits::NONE);
            server.set(world);
            anyhow::Ok(server)
        })?;
        let target = place.target();
        let loading = Instant::now();
        let wanted = usize::from(self.services);
        // Until the routes are there: a server that has no complete state answers with an error.
        while crate::client::Client::open(target)?.range("/apisix/routes/").map_or(0, |(keys, _)| keys) <= wanted {
            ensure!(
                loading.elapsed() < patience(),
                "the server does not load the mesh; was it started with {}?",
                self.confcast_flags().join(" ")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        let loaded = loading.elapsed();
        let mut streams = Streams::new()?;
        let watch = Watch { prefix: "/apisix/".into(), from: 0 };
        streams.open(target, self.streams, each(target, EACH), &watch, |_| {})?;
        let meter = Meter::start(place.pid)?;
        let (mut last, bar) = (meter::latencies(), progress("pushes", self.pushes.into()));
        for push in 1..=self.pushes {
            let service = push * 7919 % self.services;
            streams.reader.expect(&format!("\"port\":{}", self.port(push)));
            let pushed = Instant::now();
            let changed = mesh::encode(&self.endpoints(service, push));
            ads.set_bytes(ResourceType::Endpoints, &format!("service-{service}"), changed);
            let mut missing = self.streams;
            while missing > 0 {
                let said = streams.turn(patience(), |number, said, watcher| {
                    let Said::Event(event) = said else { bail!("stream {number} was told {said:?}") };
                    missing = missing.checked_sub(1).context("more than one event for a push")?;
                    watcher.take(number, &event)
                })?;
                ensure!(said > 0, "{missing} streams got nothing of push {push}");
            }
            last.saturating_record(u64::try_from(pushed.elapsed().as_micros())?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let delivered = float(usize::from(self.pushes) * self.streams);
        let mut outcome = Outcome::default();
        outcome.show("load s", loaded.as_secs_f64(), 2);
        outcome.show("push to last p50 ms", at(&last, 0.5), 2);
        outcome.hold("push to last p99 ms", at(&last, 0.99), 2);
        outcome.hold_if("CPU us/event", meter.server_cpu()?.map(|cpu| cpu * 1e6 / delivered), 2);
        outcome.hold_if("peak MiB", meter.peak()?, 0);
        meter.finish(&mut outcome)?;
        streams.stay_silent()?;
        let first = streams.watchers[0];
        ensure!(streams.watchers.iter().all(|seen| seen.digest == first.digest), "streams saw different changes");
        Ok(outcome)
    }
}
