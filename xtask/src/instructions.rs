//! Instructions of the hot paths, counted by valgrind: a check that holds where times say nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::run::{cargo, run};
use crate::workspace;

/// How much more is let pass: compilers differ, and tables are hashed with other seeds each time.
const ALLOWED: f64 = 1.10;

/// Begins the file with the counts.
const HEAD: &str =
    "# Instructions of the paths in benches/instructions.rs; written by `cargo xtask instructions --update`\n";

/// Counts, and compares with what is committed, or writes it.
pub(crate) fn instructions(update: bool) -> Result<()> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        bail!("valgrind is not installed, which does the counting");
    }
    // Beside the other builds, as its settings are its own.
    let target = workspace::root().join("target/instructions");
    let build = ["--profile", "instructions", "-p", "confcast", "--all-features", "--bench", "instructions"];
    run(cargo(&["build"]).args(build).arg("--target-dir").arg(&target))?;
    let program = newest(&target.join("instructions/deps"))?;
    let listed = Command::new(&program).arg("--list").output().context("the list of paths")?;
    let committed = workspace::root().join("benches/instructions.txt");
    let before = parse(&fs::read_to_string(&committed).unwrap_or_default())?;
    let (mut text, mut failed) = (HEAD.to_owned(), Vec::new());
    println!("{:<20} {:>14} {:>14}", "path", "committed", "counted");
    for name in String::from_utf8(listed.stdout)?.lines() {
        let counted = count(Path::new(&program), &target, name)?;
        writeln!(text, "{name} {counted}")?;
        let was = before.get(name).copied();
        println!(
            "{name:<20} {:>14} {counted:>14} {}",
            was.map_or("-".into(), |was| was.to_string()),
            told(was, counted)
        );
        if !holds(was, counted) {
            failed.push(name.to_owned());
        }
    }
    if update {
        return Ok(fs::write(&committed, text)?);
    }
    ensure!(failed.is_empty(), "more than is committed, or new: {}; see --update", failed.join(", "));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of counts")]
fn ratio(was: u64, counted: u64) -> f64 {
    counted as f64 / was as f64
}

fn holds(was: Option<u64>, counted: u64) -> bool {
    was.is_some_and(|was| ratio(was, counted) <= ALLOWED)
}

fn told(was: Option<u64>, counted: u64) -> String {
    was.map_or("new".into(), |was| format!("{:+.1} %", (ratio(was, counted) - 1.0) * 100.0))
}

fn parse(text: &str) -> Result<BTreeMap<String, u64>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let line = |line: &str| {
        let (name, count) = line.split_once(' ').with_context(|| format!("no count in {line:?}"))?;
        Ok((name.to_owned(), count.parse().with_context(|| format!("no count in {line:?}"))?))
    };
    lines.map(line).collect()
}

/// The program that was built last, which cargo names with a hash.
fn newest(place: &Path) -> Result<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("instructions-") && path.extension().is_none() {
            found.push((fs::metadata(&path)?.modified()?, path));
        }
    }
    found.sort();
    Ok(found.pop().context("no program was built")?.1)
}

/// Runs one path and counts what is done in the function of that name, and in what it calls.
fn count(program: &Path, target: &Path, name: &str) -> Result<u64> {
    let out = target.join(format!("{name}.callgrind"));
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind").arg(format!("--toggle-collect=*::{name}"));
    command.arg(format!("--callgrind-out-file={}", out.display())).arg(program).arg(name);
    let output = command.output().context("valgrind")?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&out)?;
    let total =
        text.lines().find_map(|line| line.strip_prefix("totals: ")).context("no total in what callgrind wrote")?;
    let count = total.trim().parse()?;
    ensure!(count > 0, "callgrind did not find the function {name}");
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_more_is_let_pass() {
        assert!(holds(Some(1_000), 1_100));
        assert!(!holds(Some(1_000), 1_101));
        assert!(!holds(None, 1));
        assert_eq!(told(Some(1_000), 900), "-10.0 %");
    }

    #[test]
    fn what_is_written_is_read() {
        let read = parse(&format!("{HEAD}fan_out 12\n")).expect("counts");
        assert_eq!(read.into_iter().collect::<Vec<_>>(), [("fan_out".to_owned(), 12)]);
        parse("fan_out twelve").expect_err("no number");
    }
}
