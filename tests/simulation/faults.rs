//! What goes wrong, and what users do meanwhile.

use std::time::Duration;

use bytes::Bytes;
use confcast::apisix::{Kind, ObjectKey};
use rand::Rng;
use rand::rngs::StdRng;

use crate::source::{ROUTES, UPSTREAMS};
use crate::world::{Author, Next, PREFIX, REPLICAS, World};

/// How often something goes wrong in one simulation.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Share of messages that are lost.
    pub loss: f64,
    /// Share of messages that take seconds.
    pub slow: f64,
    /// Mean time between faults, in milliseconds.
    pub faults: u64,
    /// Mean time between changes of the source, in milliseconds.
    pub changes: u64,
    /// Whether users write and delete at the keys of published objects.
    pub meddling: bool,
    /// Whether publishers take over what users wrote at the keys of wanted objects.
    pub takes: bool,
    /// Whether replicas know the source only when they lead. Here: whether they stand for election without it.
    pub cold: bool,
}

impl Habits {
    pub fn draw(random: &mut StdRng) -> Self {
        let meddling = random.random_bool(0.4);
        Self {
            loss: [0.0, 0.02, 0.15][random.random_range(0..3)],
            slow: [0.0, 0.05, 0.3][random.random_range(0..3)],
            faults: [400, 2_000, 10_000, 100_000][random.random_range(0..4)],
            changes: [150, 1_000, 5_000][random.random_range(0..3)],
            meddling,
            takes: meddling && random.random_bool(0.3),
            cold: random.random_bool(0.2),
        }
    }
}

/// What the world does not do by itself.
pub fn happen(world: &mut World, next: &Next) {
    match *next {
        Next::SourceChange => change_source(world),
        Next::UserWrite => user(world),
        Next::Fault => fault(world),
        Next::Resume { replica, life } => {
            if world.replicas[replica].life == life && world.replicas[replica].paused {
                world.resume(replica);
            }
        }
        Next::Restart { replica } => world.restart(replica),
        Next::Heal { replica } => world.replicas[replica].cut_off = false,
        Next::Mend => mend(world),
        Next::Arrive { .. } | Next::Tell { .. } | Next::Overdue { .. } | Next::Timer { .. } | Next::LeaseTick => {
            unreachable!("the world does it")
        }
    }
}

fn change_source(world: &mut World) {
    if world.chaos() {
        world.source.change(&mut world.random);
        let after = world.random.random_range(1..=2 * world.habits.changes);
        world.at(Duration::from_millis(after), Next::SourceChange);
    }
    (0..REPLICAS).for_each(|replica| world.inform(replica));
}

fn user(world: &mut World) {
    if !world.chaos() {
        return;
    }
    let number = world.random.random_range(0..ROUTES);
    let object = match world.random.random_range(0..4) {
        0 if world.habits.meddling => ObjectKey::new(Kind::Route, format!("r{number}")),
        1 if world.habits.meddling => ObjectKey::new(Kind::Upstream, format!("u{}", number % UPSTREAMS)),
        // The directories of the publisher, but not its ids.
        2 => ObjectKey::new(Kind::Route, format!("user-{number}")),
        _ => ObjectKey::new(Kind::Consumer, format!("jack-{number}")),
    };
    let value = format!(r#"{{"user":{}}}"#, world.random.random_range(0..u32::MAX));
    let value = world.random.random_bool(0.6).then(|| Bytes::from(value));
    world.etcd.write(&object.etcd_key(PREFIX), value);
    world.committed(Author::User);
    let after = world.random.random_range(50..2_000);
    world.at(Duration::from_millis(after), Next::UserWrite);
}

/// Everything is mended, whatever state it is in.
fn mend(world: &mut World) {
    for replica in 0..REPLICAS {
        world.replicas[replica].cut_off = false;
        if !world.replicas[replica].up {
            world.restart(replica);
        } else if world.replicas[replica].paused {
            world.resume(replica);
        }
        world.inform(replica);
    }
}

fn fault(world: &mut World) {
    if !world.chaos() {
        return;
    }
    world.faults_were_made = true;
    let replica = world.random.random_range(0..REPLICAS);
    let life = world.replicas[replica].life;
    let after = Duration::from_millis(world.random.random_range(10..12_000));
    let up = world.replicas[replica].up;
    match world.random.random_range(0..6) {
        0 if up => {
            world.replicas[replica].up = false;
            world.replicas[replica].life += 1;
            world.at(after, Next::Restart { replica });
        }
        1 | 2 if up && !world.replicas[replica].paused => {
            world.replicas[replica].paused = true;
            world.at(after, Next::Resume { replica, life });
        }
        3 => {
            world.replicas[replica].cut_off = true;
            world.break_watches(replica, after / 2);
            world.at(after, Next::Heal { replica });
        }
        4 => {
            // etcd is restarted: every connection breaks, and it has compacted its history.
            world.etcd.compacted = world.etcd.revision;
            (0..REPLICAS).for_each(|replica| world.break_watches(replica, Duration::from_millis(20)));
        }
        5 => world.break_watches(replica, Duration::from_millis(20)),
        _ => {}
    }
    let pause = world.random.random_range(1..=2 * world.habits.faults);
    world.at(Duration::from_millis(pause), Next::Fault);
}
