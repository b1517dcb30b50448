//! Processes of servers: started, pinned, and looked at.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use confcast::testing::ports::free_port;

use crate::client::Client;
use crate::target::{Protocol, Target};

/// How long a server may take to start.
const PATIENCE: u32 = 200;

/// A server that is run for a comparison. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    kind: Kind,
    /// The program and its arguments.
    words: Vec<String>,
    _dir: tempfile::TempDir,
}

/// What is compared.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// The floor, which may write the streams of a connection together.
    Raw { coalesce: bool },
    /// A build of confcast.
    Confcast(std::path::PathBuf),
    /// A release of etcd.
    Etcd(std::path::PathBuf),
}

impl Server {
    pub(crate) fn start(kind: &Kind, flags: &[String], pinned: bool) -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }?;
        let (port, peers) = (free_port(), free_port());
        let (address, peer) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
        let client = format!("http://{address}");
        let words: Vec<String> = match kind {
            Kind::Raw { coalesce } => {
                let program = std::env::current_exe()?.display().to_string();
                let mut words = vec![program, "raw".into(), "--listen".into(), address.clone()];
                words.extend(coalesce.then(|| "--coalesce".to_owned()));
                words
            }
            Kind::Confcast(path) => {
                let fixed = ["serve", "--admin-listen", "off", "--log", "error", "--listen", &address];
                let path = path.display().to_string();
                [path].into_iter().chain(fixed.map(str::to_owned)).chain(flags.iter().cloned()).collect()
            }
            Kind::Etcd(path) => {
                let data = dir.path().join("data").display().to_string();
                let cluster = format!("default={peer}");
                let path = path.display().to_string();
                let flags = [
                    ("--data-dir", data.as_str()),
                    ("--listen-client-urls", &client),
                    ("--advertise-client-urls", &client),
                    ("--listen-peer-urls", &peer),
                    ("--initial-advertise-peer-urls", &peer),
                    ("--initial-cluster", &cluster),
                    ("--log-level", "error"),
                ];
                let flags = flags.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_owned()]);
                [path].into_iter().chain(flags).collect()
            }
        };
        let words: Vec<String> =
            if pinned { ["taskset", "-c", "0"].into_iter().map(str::to_owned).chain(words).collect() } else { words };
        let child = spawn(&words)?;
        let mut server = Self { child, address: address.parse()?, kind: kind.clone(), words, _dir: dir };
        server.wait()?;
        Ok(server)
    }

    /// Waits until it serves.
    fn wait(&mut self) -> Result<()> {
        let name = &self.words[0];
        for _ in 0..PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                bail!("{name} ended at once: {status}");
            }
            // Asked whether it serves, as a port may be open before.
            let target = Target::local(self.address, Protocol::Gateway);
            if TcpStream::connect(self.address).is_ok() {
                let mut client = Client::open(&target)?;
                let serves = match self.kind {
                    // It has no keys to show before the scenario gives it a control plane.
                    Kind::Confcast(_) => client.version().is_ok(),
                    Kind::Raw { .. } | Kind::Etcd(_) => client.range("/loadtest/none/").is_ok(),
                };
                if serves {
                    return Ok(());
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("{name} does not serve")
    }

    /// Asks it to end, waits until it has, and starts it where it was.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let id = self.id().to_string();
        ensure!(Command::new("kill").args(["-TERM", &id]).status()?.success(), "cannot stop {id}");
        let status = self.child.wait()?;
        ensure!(status.success(), "it was asked to stop, and ended with {status}");
        self.child = spawn(&self.words)?;
        self.wait()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

fn spawn(words: &[String]) -> Result<Child> {
    let child = Command::new(&words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.with_context(|| format!("cannot start {}", words[0]))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs this process on the second core from now on. False if that cannot be done here.
pub(crate) fn pin_self() -> bool {
    let id = std::process::id().to_string();
    let status = Command::new("taskset").args(["-pc", "1", &id]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Seconds of CPU that a process has used, in the steps of the scheduler's clock.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("no process {pid}"))?;
    // The name before it may have spaces.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<f64>().ok()).context("an unknown format");
    // A hundred a second on every Linux that this runs on.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// Resident memory of a process in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<u64> {
    status_kib(pid, "VmRSS:")
}

/// The most resident memory that a process has had, in KiB.
pub(crate) fn peak_kib(pid: u32) -> Result<u64> {
    status_kib(pid, "VmHWM:")
}

/// Forgets the most memory so far, where the system allows it.
pub(crate) fn reset_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn status_kib(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("no process {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("an unknown format")?;
    line.split_whitespace().next().and_then(|text| text.parse().ok()).context("an unknown format")
}
