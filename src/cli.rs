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
mod reload;
mod serve;
pub mod settings;
mod status;
mod translate;

use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use args::{Args, Command};

/// Exit code for flags and settings that cannot be used, as for other programs.
const USAGE: u8 = 2;

/// Runs the program.
pub fn main() -> ExitCode {
    let matches = Args::command().get_matches();
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let log = match log::start(args.log.as_deref().unwrap_or(log::DEFAULT), args.log_format) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(USAGE);
        }
    };
    let (levels, given) = (args.log, given(&matches));
    let with = |flags: Box<args::ServeArgs>| Box::new(args::ServeArgs { given, levels, ..*flags });
    let ended = match args.command {
        Command::Serve(flags) => serve::serve(with(flags), log),
        Command::Demo(flags) => demo::demo(&flags, log),
        Command::Translate(flags) => translate::translate(&flags),
        Command::Check(flags) => serve::check(with(flags)),
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

/// The names of what is given by flags and variables.
fn given(matches: &ArgMatches) -> Vec<String> {
    let Some((_, matches)) = matches.subcommand() else { return Vec::new() };
    let is_given = |id: &&clap::Id| {
        matches!(matches.value_source(id.as_str()), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    matches.ids().filter(is_given).map(ToString::to_string).collect()
}

/// A runtime with its threads.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
