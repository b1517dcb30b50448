//! Measures how servers that speak etcd's API broadcast changes to many watchers, and checks that every watcher sees
//! every change once, in order.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its user")]
#![allow(clippy::disallowed_methods, reason = "a load takes real time, and there is no tokio here")]

mod args;
mod chunks;
mod compare;
mod fanout;
mod http;
mod process;
mod raw;
mod report;
mod streams;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let done = match args::Args::parse().command {
        args::Command::Fanout(args) => fanout::command(&args),
        args::Command::Compare(args) => compare::command(&args),
        args::Command::Raw { listen } => raw::serve(&listen),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
