//! Mirrors of a real etcd under random load, as clients see them that hop between mirrors and the etcd with every
//! request: what each was shown is held against what happened in the etcd.
//!
//! `SEED=…` repeats the choices of one run; the moments are those of the machine.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::etcd::{Etcd, Release};
use support::history::check;
use support::history::follower::{self, Follower, Habit};
use support::history::load::{Load, Mix};
use support::history::truth::Truth;
use support::history::{pause, seed};
use support::{Confcast, mirror};

/// How long clients are at work.
const TIME: Duration = Duration::from_secs(15);

/// Clients and followers on all of `servers`, of which the first is the etcd.
fn agree(servers: &[SocketAddr]) {
    let seed = seed();
    let etcd = servers[0];
    let account = Follower::start(&[etcd], Habit::Stays, seed);
    let mut followers: Vec<_> =
        servers[1..].iter().map(|server| Follower::start(&[*server], Habit::Stays, seed)).collect();
    followers.extend((0..3).map(|number| Follower::start(servers, Habit::Hops, seed + number)));
    let load = Load::start(servers, Mix { clients: 6, compacts: true, pause: 8 }, seed);
    pause(TIME);
    let compacted = load.compacted();
    let done = load.finish();
    // Leases run out meanwhile, at most for 6 s and a little.
    pause(Duration::from_secs(7));
    let last = support::http::range(etcd, "none", "").revision;
    follower::told(followers.iter().chain([&account]), last);
    let truth = Truth::of(&account.finish()).expect("an account");
    let heard: Vec<_> = followers.into_iter().map(Follower::finish).collect();
    let checked = check::answers(&truth, &done).unwrap_or_else(|wrong| panic!("{wrong}"));
    let watches: Vec<_> = heard.iter().map(Vec::as_slice).collect();
    check::linearizable(&done, &watches).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{} revisions, {checked:?}", truth.commits());
    assert!(checked.reads > 300 && checked.writes > 300, "there was a load");
    for heard in &heard {
        let checked =
            check::follower(&truth, heard, |asked| asked < compacted).unwrap_or_else(|wrong| panic!("{wrong}"));
        println!("a follower: {checked:?}");
        assert_eq!(checked.repairs, 0, "nothing was cut off");
    }
}

fn three_mirrors(of: Release) {
    let Some(binary) = of.program() else { return };
    let etcd = Etcd::start(&binary);
    let mirrors: Vec<Confcast> = (0..3).map(|_| mirror(etcd.address, &[])).collect();
    let servers: Vec<_> = std::iter::once(etcd.address).chain(mirrors.iter().map(|mirror| mirror.address)).collect();
    agree(&servers);
}

#[test]
fn three_mirrors_and_their_etcd_are_one() {
    three_mirrors(Release::Debian);
}

#[test]
fn three_mirrors_and_their_etcd_3_5_are_one() {
    three_mirrors(Release::V35);
}

#[test]
fn three_mirrors_and_their_etcd_3_6_are_one() {
    three_mirrors(Release::V36);
}

#[test]
fn a_tree_of_mirrors_and_their_etcd_are_one() {
    let Some(binary) = support::program("CONFCAST_ETCD", "etcd") else { return };
    let etcd = Etcd::start(&binary);
    let root = mirror(etcd.address, &[]);
    let leaves: Vec<Confcast> = (0..3).map(|_| mirror(root.address, &[])).collect();
    let all = [etcd.address, root.address];
    let servers: Vec<_> = all.into_iter().chain(leaves.iter().map(|mirror| mirror.address)).collect();
    agree(&servers);
}
