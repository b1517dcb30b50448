//! The command line.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its user")]

mod args;
mod demo;
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
    if let Err(error) = start_log(&args) {
        eprintln!("error: {error}");
        return ExitCode::from(USAGE);
    }
    let ended = match args.command {
        Command::Serve(flags) => serve::serve(flags),
        Command::Demo(flags) => demo::demo(&flags),
        Command::Translate(flags) => translate::translate(&flags),
        Command::Check(flags) => serve::check(flags),
        Command::Status(flags) => status::status(&flags),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<settings::SettingsError>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn start_log(args: &Args) -> anyhow::Result<()> {
    use anyhow::Context;
    use tracing_subscriber::EnvFilter;

    let filter = EnvFilter::try_new(&args.log)
        .with_context(|| format!("--log {}: use for example info or confcast=debug", args.log))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match args.log_format {
        args::LogFormat::Text => builder.with_target(false).try_init(),
        args::LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("{error}"))
}

/// A runtime with its threads.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
