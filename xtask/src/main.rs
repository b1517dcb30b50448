//! Tasks of the project, run as `cargo xtask TASK`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its user")]

mod dashboard;
mod fuzz;
mod generate;
mod instructions;
mod perf;
mod run;
mod tools;
mod verify;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run all tests, fetching the programs that they talk to (etcd, etcdctl, Envoy) into target/tools
    Test {
        /// Arguments for `cargo test`, such as the name of a test
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check everything that must hold before a change lands, changing nothing
    Verify,
    /// Fuzz a parser of outside bytes for a while; needs a nightly toolchain, and cargo-fuzz, which it installs
    Fuzz {
        /// One of the targets in fuzz/fuzz_targets
        target: String,
        /// For how many seconds
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Measure against etcd and a raw broadcaster, and fill docs/performance.md; needs a quiet machine and 20 minutes
    Perf {
        /// Small sizes, to see that everything works; docs/ stays as it is
        #[arg(long)]
        trial: bool,
        /// Only these comparisons
        only: Vec<String>,
    },
    /// Count the instructions of the hot paths under valgrind, and fail if one takes a tenth more than is committed
    Instructions {
        /// Commit to what is counted: write benches/instructions.txt
        #[arg(long)]
        update: bool,
    },
    /// Draw the dashboard to docs/, from a run of two minutes with an etcd, a control plane, a fleet and a Prometheus
    Dashboard {
        /// For how many seconds there is a fleet
        #[arg(long, default_value_t = 75)]
        seconds: u32,
        /// Where the programs are, if they are built already
        #[arg(long, value_name = "FOLDER")]
        built: Option<PathBuf>,
    },
    /// Format the code and apply what the linter knows how to mend
    Fix,
    /// Generate what is committed and made from something else: src/pb, src/envoy's descriptors, docs/metrics.md, docs/configuration.md
    Gen {
        /// Change nothing; fail if the committed code is not what would be generated
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let done = match Args::parse().task {
        Task::Test { args } => verify::test(&args),
        Task::Verify => verify::verify(),
        Task::Fuzz { target, seconds } => fuzz::run_target(&target, seconds),
        Task::Perf { trial, only } => perf::perf(trial, &only),
        Task::Instructions { update } => instructions::instructions(update),
        Task::Dashboard { seconds, built } => dashboard::dashboard(seconds, built.as_deref()),
        Task::Fix => verify::fix(),
        Task::Gen { check } => generate::generate(check),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
