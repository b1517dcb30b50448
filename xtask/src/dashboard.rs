//! Pictures of the dashboard, from a run: a control plane and an etcd, two replicas that publish and mirror, a fleet of
//! APISIX instances, and a Prometheus that is asked what each panel asks.
#![allow(clippy::disallowed_methods, reason = "a command waits for the programs that it started")]

mod chart;
mod panel;
mod picture;
mod processes;
mod prometheus;
mod unit;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use self::panel::Panel;
use self::processes::{Ports, Process, Running};
use self::prometheus::Prometheus;
use crate::run::{cargo, run};
use crate::{tools, workspace};

/// From when on, before the loads start, the pictures show the run.
const BEFORE: Duration = Duration::from_secs(6);
/// How long the control plane pushes before the fleet comes.
const ALONE: Duration = Duration::from_secs(14);

/// The pictures: a file, and the rows of the dashboard that it has.
const PICTURES: [(&str, std::ops::Range<usize>); 2] = [("dashboard.svg", 0..3), ("dashboard-more.svg", 3..usize::MAX)];

/// Runs everything for about `seconds`, and draws the dashboard to docs/.
pub(crate) fn dashboard(seconds: u32, built: Option<&Path>) -> Result<()> {
    let (etcd, prometheus) = (tools::etcd()?, tools::prometheus()?);
    let release = workspace::root().join("target/release");
    if built.is_none() {
        run(&mut cargo(&["build", "--release", "--workspace"]))?;
    }
    let built = built.unwrap_or(&release);
    let dashboard = fs::read_to_string(workspace::root().join("deploy/grafana/confcast.json"))?;
    let dashboard: Value = serde_json::from_str(&dashboard)?;

    let ports = Ports::find()?;
    let running = Running::start(&etcd, &prometheus, built, &ports)?;
    let prometheus = Prometheus::at(ports.prometheus);
    prometheus.wait("sum(confcast_upstream_connected) == 2")?;
    let begin = prometheus.now()?;
    std::thread::sleep(BEFORE);
    let load = |name: &str, words: String, replica: usize| {
        let target = format!("http://127.0.0.1:{}", ports.replicas[replica].clients);
        Process::start(name, &built.join("confcast-loadtest"), |command| {
            command.arg(name).args(words.split(' ')).args(["--target", &target]);
        })
    };
    println!("a control plane pushes as fast as its last stream follows");
    let mesh = format!("--services 200 --endpoints 3 --streams 300 --pushes 16000 --ads 127.0.0.1:{}", ports.ads);
    let mut control_plane = load("xds", mesh, 0)?;
    std::thread::sleep(ALONE);
    println!("a fleet of APISIX joins for {seconds} s");
    let workers = "--instances 100 --workers 4 --routes 400 --rate 8 --idle 20";
    let mut fleet = load("fleet", format!("{workers} --seconds {seconds}"), 1)?;
    let patience = Instant::now() + Duration::from_secs(seconds.into()) * 3 + Duration::from_mins(1);
    let mut now = begin;
    while fleet.runs()? {
        now = prometheus.now()?;
        ensure!(control_plane.runs()?, "the control plane ended before the fleet: {}", control_plane.said());
        ensure!(Instant::now() < patience, "the fleet does not end");
        std::thread::sleep(Duration::from_millis(200));
    }
    ensure!(fleet.succeeded()?, "the fleet failed: {}", fleet.said());
    // Before it began to leave.
    let end = now - 3.0;
    let panels = panel::read(&dashboard, &prometheus, begin, end).context("deploy/grafana/confcast.json")?;
    drop((control_plane, running));
    for (name, rows) in PICTURES {
        let shown: Vec<&Panel> = panels.iter().filter(|panel| rows.contains(&panel.row)).collect();
        let svg = picture::draw(&shown, end - begin);
        println!("docs/{name}: {} panels, {} KiB", shown.len(), svg.len() >> 10);
        fs::write(workspace::root().join("docs").join(name), svg)?;
    }
    Ok(())
}
