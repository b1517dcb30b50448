//! Mirrors of an etcd of three members whose leader is killed under load, again and again.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::time::Duration;

use confcast::testing::ports::free_port;
use support::etcd::Etcd;
use support::history::check;
use support::history::follower::{self, Follower, Habit, Heard};
use support::history::load::{Load, Mix};
use support::history::truth::Truth;
use support::history::wire::state;
use support::history::{now, pause, seed};
use support::{Confcast, program, strict_mirror, until};

#[test]
fn mirrors_follow_when_the_leader_is_killed() {
    let Some(binary) = program("CONFCAST_ETCD", "etcd") else { return };
    let seed = seed();
    let mut members = Etcd::cluster(&binary);
    let etcds: Vec<_> = members.iter().map(|etcd| etcd.address).collect();
    let mirrors: Vec<Confcast> = (0..3).map(|_| strict_mirror(&etcds, free_port(), None)).collect();
    let mirrors: Vec<_> = mirrors.iter().map(|mirror| mirror.address).zip(&mirrors).collect();
    let all: Vec<_> = etcds.iter().copied().chain(mirrors.iter().map(|(address, _)| *address)).collect();
    let account = Follower::start(&etcds, Habit::Stays, seed);
    let mut followers: Vec<_> =
        mirrors.iter().map(|(address, _)| Follower::start(&[*address], Habit::Stays, seed)).collect();
    followers.extend((0..2).map(|number| Follower::start(&all, Habit::Hops, seed + number)));
    let load = Load::start(&all, Mix { clients: 5, compacts: false, pause: 15 }, seed);
    for round in 0..3 {
        pause(Duration::from_millis(1_500));
        until("a leader", || members.iter().any(Etcd::leads));
        let leader = members.iter().position(Etcd::leads).expect("there is one");
        members[leader].stop();
        let killed = now();
        let left: Vec<_> = etcds.iter().copied().filter(|address| *address != etcds[leader]).collect();
        until("another leader", || left.iter().any(|address| state(*address, false).is_some()));
        let elected = killed.elapsed();
        for (mirror, _) in &mirrors {
            until("the mirror follows", || state(*mirror, false).is_some());
        }
        println!("round {round}: another leader after {elected:?}, all mirrors after {:?}", killed.elapsed());
        members[leader].start_again();
    }
    let done = load.finish();
    // Leases run out meanwhile.
    pause(Duration::from_secs(7));
    let heard = |followers: Vec<Follower>| -> Vec<_> { followers.into_iter().map(Follower::finish).collect() };
    let last = state(etcds[0], false).expect("all is well").0;
    follower::told(followers.iter().chain([&account]), last);
    let heard = heard(followers);
    let truth = Truth::of(&account.finish()).expect("an account");
    let checked = check::answers(&truth, &done).unwrap_or_else(|wrong| panic!("{wrong}"));
    let watches: Vec<&[Heard]> = heard.iter().map(Vec::as_slice).collect();
    check::linearizable(&done, &watches).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{} revisions, {checked:?}", truth.commits());
    for heard in &heard {
        let checked = check::follower(&truth, heard, |_| false).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!((checked.repairs, checked.reloads), (0, 0), "nothing was lost");
    }
}
