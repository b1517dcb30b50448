//! `confcast completions`.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Args;

/// Prints what a shell needs to complete the program's commands and flags.
pub(super) fn completions(shell: Shell) -> ExitCode {
    clap_complete::generate(shell, &mut Args::command(), "confcast", &mut std::io::stdout());
    ExitCode::SUCCESS
}
