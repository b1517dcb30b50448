//! `confcast hash-password`.

use std::io::{self, BufRead, IsTerminal};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};

use crate::auth::password;

/// Prints the hash of a password.
pub(super) fn hash_password() -> anyhow::Result<ExitCode> {
    let password = if io::stdin().is_terminal() {
        let password = ask("Password: ")?;
        ensure!(password == ask("Again: ")?, "the passwords are not the same");
        password
    } else {
        line()?
    };
    ensure!(!password.is_empty(), "the password is empty; give one on the standard input");
    println!("{}", password::hash_of(&password));
    Ok(ExitCode::SUCCESS)
}

/// Asks for a line that is not shown.
fn ask(prompt: &str) -> anyhow::Result<String> {
    eprint!("{prompt}");
    echo("-echo")?;
    let answer = line();
    echo("echo")?;
    eprintln!();
    answer
}

/// Has the terminal show what is typed, or not.
fn echo(how: &str) -> anyhow::Result<()> {
    let status = Command::new("stty").arg(how).status();
    let done = status.context("the terminal cannot be kept from showing it; use the standard input: stty")?;
    ensure!(done.success(), "the terminal cannot be kept from showing it; use the standard input");
    Ok(())
}

/// A line of the standard input, without its end.
fn line() -> anyhow::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("the standard input")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
