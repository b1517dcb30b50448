//! What must hold before a change lands.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::run::{cargo, run};
use crate::{generate, tools};

/// Runs all tests.
pub(crate) fn test(args: &[String]) -> Result<()> {
    let variables = tools::variables();
    run(cargo(&["test", "--workspace", "--all-features", "--no-fail-fast"]).args(args).envs(variables))
}

/// Formats the code and applies what the linter knows how to mend.
pub(crate) fn fix() -> Result<()> {
    run(&mut cargo(&[
        "clippy",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
        "--workspace",
        "--all-targets",
        "--all-features",
    ]))?;
    run(&mut cargo(&["fmt", "--all"]))
}

/// Runs every check, goes on after one that fails, and says in the end which did.
#[expect(clippy::disallowed_methods, reason = "the time that people wait is the wall clock's")]
pub(crate) fn verify() -> Result<()> {
    type Check = (&'static str, fn() -> Result<()>);
    let checks: [Check; 7] = [
        ("format", || run(&mut cargo(&["fmt", "--all", "--check"]))),
        ("generated code", || generate::generate(true)),
        ("lints", || {
            run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]))
        }),
        ("library alone", || run(&mut cargo(&["clippy", "--lib", "--no-default-features", "--", "-D", "warnings"]))),
        ("documentation", || {
            let mut doc = cargo(&["doc", "--no-deps", "--workspace", "--all-features", "--quiet"]);
            run(doc.env("RUSTDOCFLAGS", "-D warnings"))
        }),
        ("dependencies", || {
            let deny = tools::cargo_deny()?;
            run(std::process::Command::new(deny)
                .args(["--log-level", "error", "check", "bans", "licenses", "sources"])
                .current_dir(crate::workspace::root()))
        }),
        ("tests", || test(&[])),
    ];
    let mut report = Vec::new();
    for (name, check) in checks {
        println!("\n=== {name}");
        let started = Instant::now();
        let outcome = check();
        if let Err(error) = &outcome {
            eprintln!("error: {error:#}");
        }
        report.push((name, outcome.is_ok(), started.elapsed()));
    }
    println!();
    for (name, good, time) in &report {
        println!("{:<16} {:<6} {:>4} s", name, if *good { "ok" } else { "FAILED" }, time.as_secs());
    }
    if report.iter().any(|(_, good, _)| !good) {
        bail!("not everything holds");
    }
    Ok(())
}
