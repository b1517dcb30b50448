//! Mirrors of a real etcd while things break, under load: whatever it was, every watcher's state is the etcd's in the
//! end, nobody saw a revision twice with other contents, and no event was lost.
//!
//! `SEED=…` repeats the choices of one run; the moments are those of the machine.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use confcast::testing::ports::free_port;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;
use support::etcd::{Etcd, Release};
use support::history::check;
use support::history::follower::{self, Follower, Habit, Heard};
use support::history::load::{Load, Mix};
use support::history::truth::Truth;
use support::history::wire::{post, state};
use support::history::{now, number, pause, seed};
use support::http::b64;
use support::proxy::{Network, Proxy};
use support::{Confcast, strict_mirror, until};

/// What breaks.
#[derive(Clone, Copy, Debug)]
enum Fault {
    EtcdKilled,
    EtcdPaused,
    NetworkCut,
    NetworkHangs,
    CompactedWhileCutOff,
    /// As before, and what happened meanwhile has undone itself.
    UndoneWhileCutOff,
    MirrorKilled,
    CompactedWhileMirrorWasDead,
}

const FAULTS: [Fault; 8] = [
    Fault::EtcdKilled,
    Fault::EtcdPaused,
    Fault::NetworkCut,
    Fault::NetworkHangs,
    Fault::CompactedWhileCutOff,
    Fault::UndoneWhileCutOff,
    Fault::MirrorKilled,
    Fault::CompactedWhileMirrorWasDead,
];

/// An etcd, a mirror behind a network that can break, a mirror of that one, and one with a data directory.
struct World {
    etcd: Etcd,
    proxy: Proxy,
    far: Confcast,
    leaf: Confcast,
    warm: Option<Confcast>,
    warm_port: u16,
    data: tempfile::TempDir,
    random: StdRng,
}

impl World {
    fn new(binary: &std::path::Path, seed: u64) -> Self {
        let etcd = Etcd::start(binary);
        let proxy = Proxy::to(etcd.address);
        let far = strict_mirror(&[proxy.address], free_port(), None);
        let leaf = strict_mirror(&[far.address], free_port(), None);
        let (warm_port, data) = (free_port(), tempfile::tempdir().expect("a directory"));
        let warm = Some(strict_mirror(&[etcd.address], warm_port, Some(data.path())));
        Self { etcd, proxy, far, leaf, warm, warm_port, data, random: StdRng::seed_from_u64(seed) }
    }

    fn servers(&self) -> [SocketAddr; 4] {
        let warm = SocketAddr::from(([127, 0, 0, 1], self.warm_port));
        [self.etcd.address, self.far.address, self.leaf.address, warm]
    }

    fn wait(&mut self, milliseconds: std::ops::Range<u64>) {
        pause(Duration::from_millis(self.random.random_range(milliseconds)));
    }

    /// Breaks something and mends it. Returns whether history was given up by the etcd or a mirror.
    fn breaks(&mut self, fault: Fault, account: &Follower) -> bool {
        match fault {
            Fault::EtcdKilled => {
                self.etcd.stop();
                self.wait(0..1_500);
                self.etcd.start_again();
            }
            Fault::EtcdPaused => {
                self.etcd.signal("STOP");
                self.wait(100..7_000);
                self.etcd.signal("CONT");
            }
            Fault::NetworkCut => {
                self.proxy.set(Network::Cut);
                self.wait(10..1_500);
            }
            Fault::NetworkHangs => {
                self.proxy.set(Network::Hangs);
                self.wait(100..7_000);
            }
            Fault::CompactedWhileCutOff => {
                self.proxy.set(Network::Cut);
                self.wait(300..800);
                self.compact(self.put("/mark"), account);
                return true;
            }
            Fault::UndoneWhileCutOff => {
                // The load is away, too, so that nothing else happens.
                self.proxy.set(Network::Cut);
                self.wait(100..300);
                let put = self.put("/undone");
                post(self.etcd.address, "/v3/kv/deleterange", &json!({"key": b64("/undone")})).expect("there");
                self.compact(put, account);
                return true;
            }
            Fault::MirrorKilled | Fault::CompactedWhileMirrorWasDead => {
                self.warm.take().expect("it runs").kill();
                self.wait(0..800);
                if matches!(fault, Fault::CompactedWhileMirrorWasDead) {
                    self.compact(self.put("/mark"), account);
                }
                self.warm = Some(strict_mirror(&[self.etcd.address], self.warm_port, Some(self.data.path())));
                // A data directory holds the state, and no history.
                return true;
            }
        }
        false
    }

    /// Puts into the etcd, and returns the revision.
    fn put(&self, key: &str) -> i64 {
        let put = json!({"key": b64(key), "value": b64("x")});
        number(&post(self.etcd.address, "/v3/kv/put", &put).expect("there").1["header"]["revision"])
    }

    /// Gives up history before the revision of a put, when the account of the etcd has it. At that of a deletion, an etcd
    /// lets watches begin and does not tell them of it.
    fn compact(&self, put: i64, account: &Follower) {
        until("told to the account", || account.revision() >= put);
        let (status, body) =
            post(self.etcd.address, "/v3/kv/compaction", &json!({"revision": put.to_string()})).expect("there");
        assert_eq!(status, 200, "{body}");
    }
}

/// Runs each of the faults once, in an order drawn from the seed, in a world that lives on.
fn survive(of: Release, mut faults: Vec<Fault>) {
    let Some(binary) = of.program() else { return };
    let seed = seed();
    let mut world = World::new(&binary, seed);
    let servers = world.servers();
    let account = Follower::start(&servers[..1], Habit::Stays, seed);
    let mut followers: Vec<_> = servers[1..].iter().map(|one| Follower::start(&[*one], Habit::Stays, seed)).collect();
    followers.extend((0..2).map(|number| Follower::start(&servers, Habit::Hops, seed + number)));
    faults.shuffle(&mut world.random);
    let (mut done, mut floor) = (Vec::new(), 0);
    for fault in faults {
        let mix = Mix { clients: 4, compacts: false, pause: 15 };
        // The load of a client that waits for a server that hangs ends late.
        let load = Load::start(&servers, mix, seed ^ world.random.random::<u64>());
        pause(Duration::from_millis(700));
        let lost;
        if matches!(fault, Fault::UndoneWhileCutOff) {
            done.extend(load.finish());
            lost = world.breaks(fault, &account);
        } else {
            lost = world.breaks(fault, &account);
            done.extend(load.finish());
        }
        world.proxy.set(Network::Well);
        let mended = now();
        let revision = support::http::range(servers[0], "none", "").revision;
        for server in &servers[1..] {
            until("the mirror has what the etcd has", || state(*server, true).is_some_and(|(at, _)| at >= revision));
        }
        let mirrors = mended.elapsed();
        until("read again", || servers.iter().all(|server| state(*server, false) == state(servers[0], false)));
        let reads = mended.elapsed();
        // There may have been nothing to tell, if what happened has undone itself.
        let mark = world.put("/mark");
        follower::told(followers.iter().chain([&account]), mark);
        if lost {
            // Leases may have run out until the mirror was back.
            floor = mark;
        }
        println!(
            "{fault:?}, {revision}: mirrors after {mirrors:?}, reads after {reads:?}, followers after {:?}",
            mended.elapsed()
        );
    }
    println!("the etcd, its mirror, a mirror of that, one with data: {servers:?}");
    let heard: Vec<_> = followers.into_iter().map(Follower::finish).collect();
    // Leases run out meanwhile.
    let last = support::http::range(servers[0], "none", "").revision;
    follower::told([&account], last);
    let truth = Truth::of(&account.finish()).expect("an account");
    let checked = check::answers(&truth, &done).unwrap_or_else(|wrong| panic!("{wrong}"));
    let watches: Vec<&[Heard]> = heard.iter().map(Vec::as_slice).collect();
    check::linearizable(&done, &watches).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{} revisions, {checked:?}", truth.commits());
    for heard in &heard {
        let checked = check::follower(&truth, heard, |asked| asked <= floor).unwrap_or_else(|wrong| panic!("{wrong}"));
        println!("a follower: {checked:?}");
    }
}

#[test]
fn mirrors_survive_whatever_breaks() {
    survive(Release::Debian, FAULTS.to_vec());
}

/// Those faults that take no time by themselves.
#[test]
fn mirrors_of_an_etcd_3_6_survive() {
    use Fault::{CompactedWhileCutOff, CompactedWhileMirrorWasDead, EtcdKilled, NetworkCut};
    survive(Release::V36, vec![EtcdKilled, NetworkCut, CompactedWhileCutOff, CompactedWhileMirrorWasDead]);
}
