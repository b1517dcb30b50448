//! The programs of a run.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result};
use serde_json::json;

use crate::workspace;

/// Ports of a replica.
pub(super) struct Replica {
    pub(super) clients: u16,
    pub(super) admin: u16,
}

/// Ports that nobody listens on.
pub(super) struct Ports {
    pub(super) ads: u16,
    pub(super) prometheus: u16,
    pub(super) replicas: [Replica; 2],
    etcd: u16,
    peers: u16,
}

impl Ports {
    pub(super) fn find() -> Result<Self> {
        // All are held until all are found, so that none is found twice.
        let held = (0..8).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
        let mut ports = held.iter().map(|listener| anyhow::Ok(listener.local_addr()?.port()));
        let mut next = || ports.next().context("a port")?;
        Ok(Self {
            ads: next()?,
            prometheus: next()?,
            replicas: [Replica { clients: next()?, admin: next()? }, Replica { clients: next()?, admin: next()? }],
            etcd: next()?,
            peers: next()?,
        })
    }
}

/// A program that runs, with what it says in a file. Killed when it is dropped.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(super) fn start(name: &str, program: &Path, with: impl FnOnce(&mut Command)) -> Result<Self> {
        let log = folder()?.join(format!("{name}.log"));
        let file = File::create(&log)?;
        let mut command = Command::new(program);
        command.stdout(file.try_clone()?).stderr(file);
        with(&mut command);
        let child = command.spawn().with_context(|| program.display().to_string())?;
        Ok(Self { child, log })
    }

    pub(super) fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    pub(super) fn succeeded(&mut self) -> Result<bool> {
        Ok(self.child.wait()?.success())
    }

    pub(super) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An empty folder for what a program keeps.
fn data(name: &str) -> Result<PathBuf> {
    let folder = folder()?.join(name);
    empty(&folder)?;
    Ok(folder)
}

fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}

fn folder() -> Result<PathBuf> {
    let folder = workspace::root().join("target/dashboard");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// What is looked at, and what looks.
pub(super) struct Running {
    processes: Vec<Process>,
    kept: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.processes.clear();
        let _ = fs::remove_dir_all(&self.kept);
    }
}

impl Running {
    pub(super) fn start(etcd: &Path, prometheus: &Path, built: &Path, ports: &Ports) -> Result<Self> {
        let (client, peer) = (format!("http://127.0.0.1:{}", ports.etcd), format!("http://127.0.0.1:{}", ports.peers));
        let memory = Path::new("/dev/shm/confcast-dashboard");
        // A run is not about the disk of the machine.
        let etcd_folder: PathBuf =
            if memory.parent().is_some_and(Path::is_dir) { memory.into() } else { data("etcd")? };
        empty(&etcd_folder)?;
        let mut all = vec![Process::start("etcd", etcd, |command| {
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &format!("default={peer}"), "--log-level", "error"]);
            command.arg("--data-dir").arg(&etcd_folder);
        })?];
        for (number, replica) in ports.replicas.iter().enumerate() {
            all.push(Process::start(&format!("confcast-{number}"), &built.join("confcast"), |command| {
                command.args(["serve", "--publish", "--upstream", &client, "--source", "xds"]);
                command.args(["--xds-server", &format!("http://127.0.0.1:{}", ports.ads)]);
                command.args(["--xds-node-id", "router~10.0.0.1~apisix.default~default.svc.cluster.local"]);
                command.args(["--listen", &format!("127.0.0.1:{}", replica.clients)]);
                command.args(["--admin-listen", &format!("127.0.0.1:{}", replica.admin)]);
            })?);
        }
        let targets = ports.replicas.iter().enumerate().map(|(number, replica)| {
            let target = format!("127.0.0.1:{}", replica.admin);
            json!({"targets": [target], "labels": {"instance": format!("confcast-{number}")}})
        });
        let config = json!({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "confcast", "static_configs": targets.collect::<Vec<_>>()}],
        });
        let folder = data("prometheus")?;
        let file = folder.join("prometheus.yml");
        // JSON is YAML.
        fs::write(&file, config.to_string())?;
        all.push(Process::start("prometheus", prometheus, |command| {
            command.arg(format!("--config.file={}", file.display()));
            command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
            command.arg(format!("--web.listen-address=127.0.0.1:{}", ports.prometheus));
        })?);
        Ok(Self { processes: all, kept: etcd_folder })
    }
}
