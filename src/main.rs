//! The `confcast` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    confcast::cli::main()
}
