//! The command line.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its user")]

mod args;
mod client;
mod completions;
mod demo;
mod hash_password;
mod log;
mod log_level;
pub mod reference;
mod serve;
pub mod settings;
mod status;
mod translate;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

/// Exit code for flags and settings that cannot be used, as for other programs.
const USAGE: u8 = 2;

/// Runs the program.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let log = match log::start(&args.log, args.log_format) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(USAGE);
        }
    };
    let ended = match args.command {
        Command::Serve(flags) => serve::serve(flags, log),
        Command::Demo(flags) => demo::demo(&flags, log),
        Command::Translate(flags) => translate::translate(&flags),
        Command::Check(flags) => serve::check(flags),
        Command::Status(flags) => status::status(&flags),
        Command::LogLevel(flags) => log_level::log_level(&flags),
        Command::HashPassword => hash_password::hash_password(),
        Command::Completions { shell } => Ok(completions::completions(shell)),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<settings::SettingsError>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// A runtime with its threads.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
