//! Publishers in a world that loses, delays and repeats: hundreds of histories, each drawn from a seed. After every
//! commit the invariants are looked at, one file each; when the faults are over, all must be well.
//!
//! `SEED=…` repeats one history, `CASES=5000` looks at more of them than a usual run does.
#![allow(clippy::print_stdout, missing_docs, unreachable_pub)]

mod etcd;
mod faults;
mod invariants;
mod network;
mod source;
mod world;

use invariants::Invariants;
use world::World;

/// Runs the history of a seed; the error says what was wrong.
fn run(seed: u64) -> Result<usize, String> {
    let mut world = World::new(seed);
    let mut invariants = Invariants::default();
    let wrong = |world: &World, error: String| {
        format!("seed {seed}, after {:?}, with {:?}: {error}", world.now - world.began, world.habits)
    };
    while world.step() {
        for (author, commit) in std::mem::take(&mut world.fresh) {
            invariants.commit(&world, author, &commit).map_err(|error| wrong(&world, error))?;
        }
    }
    invariants.end(&world).map_err(|error| wrong(&world, error))?;
    Ok(world.etcd.commits.len())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_invariant_holds_in_every_history() {
    let seeds: Vec<u64> = match number("SEED") {
        Some(seed) => vec![seed],
        None => (0..number("CASES").unwrap_or(500)).collect(),
    };
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let results: Vec<_> = std::thread::scope(|scope| {
        let share = |thread| seeds.iter().copied().skip(thread).step_by(threads).collect::<Vec<_>>();
        let running: Vec<_> = (0..threads)
            .map(|thread| (thread, share(thread)))
            .map(|(_, seeds)| scope.spawn(move || seeds.into_iter().map(run).collect::<Vec<_>>()))
            .collect();
        running.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let wrong: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).cloned().collect();
    assert!(
        wrong.is_empty(),
        "{} of {} histories:\n{}",
        wrong.len(),
        seeds.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
    let commits: usize = results.into_iter().flatten().sum();
    println!("{} histories with {commits} commits", seeds.len());
}
