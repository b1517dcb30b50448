//! Mirrors of an etcd whose history is replaced: its data is lost, or it is restored from a snapshot. Whoever watches is
//! told to reload, and has what the etcd has in the end.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use confcast::testing::ports::free_port;
use serde_json::json;
use support::etcd::Etcd;
use support::history::follower::{Follower, Habit, Heard};
use support::history::load::{Load, Mix};
use support::history::truth::{State, apply};
use support::history::wire::{post, state};
use support::history::{Pair, now, pause, seed};
use support::http::b64;
use support::proxy::{Network, Proxy};
use support::{program, strict_mirror, until};

/// What becomes of the etcd's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    Restored,
}

/// What a follower made of what it was told.
fn outcome(heard: &[Heard]) -> State {
    let mut state = State::new();
    for heard in heard {
        match heard {
            Heard::Told { events, .. } => apply(&mut state, events),
            Heard::Reloaded { pairs, .. } => {
                state = pairs.iter().map(|pair| (pair.key.clone(), pair.clone())).collect();
            }
            Heard::Compacted { .. } => {}
        }
    }
    state
}

fn write(server: SocketAddr, path: &str, key: &str) -> i64 {
    let (_, body) = post(server, path, &json!({"key": b64(key), "value": b64("new")})).expect("there");
    support::history::number(&body["header"]["revision"])
}

/// With `overtakes`, the new history is longer than the old one by the time that the mirrors see it.
fn replaced(fate: Fate, overtakes: bool) {
    let (Some(binary), Some(etcdctl)) = (program("CONFCAST_ETCD", "etcd"), program("CONFCAST_ETCDCTL", "etcdctl"))
    else {
        return;
    };
    let seed = seed();
    let mut etcd = Etcd::start(&binary);
    let proxy = Proxy::to(etcd.address);
    let far = strict_mirror(&[proxy.address], free_port(), None);
    let leaf = strict_mirror(&[far.address], free_port(), None);
    let (warm_port, data) = (free_port(), tempfile::tempdir().expect("a directory"));
    let warm = strict_mirror(&[proxy.address], warm_port, Some(data.path()));
    let servers = [far.address, leaf.address, warm.address];
    let followers: Vec<_> = servers.iter().map(|one| Follower::start(&[*one], Habit::Stays, seed)).collect();

    let load = Load::start(&servers, Mix { clients: 3, compacts: false, pause: 10 }, seed);
    pause(Duration::from_millis(500));
    let kept = etcd.save(&etcdctl);
    pause(Duration::from_millis(500));
    load.finish();
    write(etcd.address, "/v3/kv/put", "/goes");
    // The newest change is a deletion, of which a state says nothing.
    let known = write(etcd.address, "/v3/kv/deleterange", "/goes");
    until("told to all", || followers.iter().all(|follower| follower.revision() >= known));

    proxy.set(Network::Cut);
    warm.kill();
    etcd.stop();
    if fate == Fate::Lost {
        etcd.wipe();
    } else {
        etcd.restore(&etcdctl, &kept);
    }
    etcd.start_again();
    let mut number = 0;
    while overtakes && write(etcd.address, "/v3/kv/put", &format!("/new/{}", number % 7)) < known + 20 {
        number += 1;
    }
    proxy.set(Network::Well);
    let warm = strict_mirror(&[proxy.address], warm_port, Some(data.path()));
    let mended = now();
    let all = state(etcd.address, false).expect("there");
    for server in servers {
        until("the new history", || state(server, false).as_ref() == Some(&all));
    }
    let mirrors = mended.elapsed();
    let pairs = all.1.as_array().cloned().unwrap_or_default();
    let pairs: State = pairs.iter().map(Pair::read).map(|pair| (pair.key.clone(), pair)).collect();
    until("told to all", || followers.iter().all(|follower| outcome(&follower.heard()) == pairs));
    println!("{fate:?}, overtaking {overtakes}: mirrors after {mirrors:?}, followers after {:?}", mended.elapsed());
    // And it goes on.
    let next = write(etcd.address, "/v3/kv/put", "/after");
    until("told to all", || followers.iter().all(|follower| follower.revision() >= next));
    for (server, follower) in servers.iter().zip(followers) {
        let heard = follower.finish();
        let told = heard.iter().any(|heard| matches!(heard, Heard::Compacted { asked, .. } if *asked > known));
        let told_of: Vec<_> = heard.iter().filter(|heard| !matches!(heard, Heard::Told { .. })).collect();
        assert!(told, "{server} did not say after {known} that history was replaced: {told_of:?}");
    }
    drop(warm);
}

#[test]
fn an_etcd_that_lost_its_data() {
    replaced(Fate::Lost, false);
}

#[test]
fn an_etcd_that_lost_its_data_and_has_got_further_since() {
    replaced(Fate::Lost, true);
}

#[test]
fn an_etcd_that_was_restored() {
    replaced(Fate::Restored, false);
}

/// Nothing that was looked at before was different: the newest pair of the store is older than the snapshot.
#[test]
fn an_etcd_that_was_restored_and_has_got_further_since() {
    replaced(Fate::Restored, true);
}
