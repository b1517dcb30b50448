//! Envoy as the judge of the translation: random meshes go to a real Envoy and through the translator, and each of many
//! requests must go to the same cluster, with the same path and host, or get the same redirect or status from Envoy and
//! from the model of APISIX. So do samples of what real control planes send.
//!
//! `SEED=N` repeats an earlier run, `ROUNDS=N` makes it longer. What fails is cut down to a small mesh that still does.
#![allow(clippy::print_stdout, missing_docs, unreachable_pub, reason = "a test of several files")]
#![allow(clippy::disallowed_methods, reason = "another process has its own time")]

mod decide;
mod generate;
mod headers;
mod samples;
mod shrink;
#[path = "../support/mod.rs"]
mod support;
mod transcoder;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use confcast::apisix::matching::{Answer, Request};
use confcast::testing::ads::{AdsServer, Habits};
use confcast::testing::ports::free_port;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::envoy::{Envoy, Line};
use support::program;

use self::decide::{Apisix, agree, envoy_decides};
use self::world::{World, marker};

/// Meshes a run, of several listeners each, so that there are more than 200 configurations.
const ROUNDS: usize = 100;

/// Requests to each listener.
const REQUESTS: usize = 200;

/// How long a smaller mesh is looked for.
const SHRINKING: Duration = Duration::from_mins(1);

/// A running Envoy that follows what it is told.
struct Judge {
    server: AdsServer,
    _envoy: Envoy,
    version: usize,
}

impl Judge {
    async fn start(binary: &Path) -> Self {
        let server = AdsServer::start(Habits::NONE).await;
        let envoy = Envoy::start(binary, server.port(), true);
        Self { server, _envoy: envoy, version: 0 }
    }

    /// Hands out a mesh, and waits until all of it is served. False if Envoy refuses it.
    fn set(&mut self, world: &World) -> bool {
        self.version += 1;
        let refused = self.server.seen().nacks.len();
        self.server.set(world.resources(self.version));
        let end = Instant::now() + support::PATIENCE;
        for listener in &world.listeners {
            while marker(listener.port) != Some(self.version) {
                if self.server.seen().nacks.len() > refused {
                    return false;
                }
                assert!(Instant::now() < end, "Envoy takes no new routes:\n{}", world.text());
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        true
    }
}

/// The first of the requests on which both differ, and what they say.
fn difference<'a>(world: &World, requests: &'a [Request]) -> Option<(&'a Request, Answer, Answer)> {
    let apisix = Apisix::load(world);
    let mut line = Line::new(requests.first()?.port);
    requests.iter().find_map(|request| {
        let (envoy, own) = (envoy_decides(&mut line, request), apisix.decide(request));
        (!agree(&envoy, &own, world.manager(request.port), request)).then_some((request, envoy, own))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_and_apisix_decide_alike() {
    let Some(binary) = program("CONFCAST_ENVOY", "envoy") else { return };
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or_else(|| rand::rng().random());
    let rounds = number("ROUNDS").map_or(ROUNDS, |rounds| usize::try_from(rounds).expect("fits"));
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut judge = Judge::start(&binary).await;
    let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let mut decided: BTreeMap<&str, usize> = BTreeMap::new();
    let mut configurations = 0;
    for round in 0..rounds {
        let world = generate::world(&mut random, &ports);
        assert!(judge.set(&world), "SEED={seed}: Envoy refuses {:?}\n{}", judge.server.seen().nacks, world.text());
        configurations += world.listeners.len();
        for port in world.listeners.iter().map(|listener| listener.port) {
            let requests: Vec<_> = (0..REQUESTS).map(|_| generate::request(&mut random, &world, port)).collect();
            if let Some((request, envoy, own)) = difference(&world, &requests) {
                println!("SEED={seed}, round {round}: {request:?}\n  Envoy {envoy:?}\n  APISIX {own:?}\nshrinking");
                let (world, request) = shrink::shrink(&mut judge, world, request, Instant::now() + SHRINKING);
                judge.set(&world);
                let (envoy, own) =
                    (envoy_decides(&mut Line::new(request.port), &request), Apisix::load(&world).decide(&request));
                panic!(
                    "SEED={seed}, round {round}: they differ on {request:?}\n  Envoy {envoy:?}\n  APISIX {own:?}\n{}\n{}",
                    world.text(),
                    Apisix::load(&world).text(),
                );
            }
            let apisix = Apisix::load(&world);
            for request in &requests {
                *decided.entry(decide::kind(&apisix.decide(request))).or_default() += 1;
            }
        }
    }
    println!("{configurations} configurations; {decided:?}");
    assert!(decided.len() == 4, "every kind of decision is among them: {decided:?}");
}
