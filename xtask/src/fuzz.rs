//! Fuzzing.

use std::process::Command;

use anyhow::Result;

use crate::run::run;
use crate::{tools, workspace};

/// Runs a target, guided by coverage, from the committed corpus.
pub(crate) fn run_target(target: &str, seconds: u64) -> Result<()> {
    let cargo_fuzz = tools::cargo_fuzz()?;
    let limit = format!("-max_total_time={seconds}");
    let mut command = Command::new(cargo_fuzz);
    command.args(["fuzz", "run", target, "--fuzz-dir"]).arg(workspace::root().join("fuzz"));
    command.args(["--", &limit, "-max_len=4096"]).env("RUSTUP_TOOLCHAIN", "nightly");
    run(&mut command)
}
