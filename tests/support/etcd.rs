//! A real etcd.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::envoy::free_port;
use super::{http, program, until};

/// Debian's etcd and 3.5, as far as they are there.
pub fn etcds() -> Vec<PathBuf> {
    let newer = std::env::var_os("CONFCAST_ETCD35").map(PathBuf::from);
    program("CONFCAST_ETCD", "etcd").into_iter().chain(newer).collect()
}

/// A running etcd with an empty store. Killed when it is dropped.
pub struct Etcd {
    child: Child,
    pub address: SocketAddr,
    pub version: String,
    dir: tempfile::TempDir,
    binary: PathBuf,
    peers: u16,
}

impl Etcd {
    pub fn start(binary: &Path) -> Self {
        // In memory where there is such a place, as every write is synced.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = dir.expect("a directory");
        let (port, peers) = (free_port(), free_port());
        let child = Self::spawn(binary, dir.path(), port, peers);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self::wait(address);
        let version = http::get(address, "/version").json()["etcdserver"].as_str().unwrap_or_default().to_owned();
        Self { child, address, version, dir, binary: binary.into(), peers }
    }

    /// Ends it at once, as a crash does.
    pub fn stop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Loses everything, while it is stopped.
    pub fn wipe(&self) {
        std::fs::remove_dir_all(self.dir.path().join("data")).expect("removed");
    }

    /// Starts it where it was before.
    pub fn start_again(&mut self) {
        self.child = Self::spawn(&self.binary, self.dir.path(), self.address.port(), self.peers);
        Self::wait(self.address);
    }

    fn wait(address: SocketAddr) {
        until("etcd is healthy", || {
            std::net::TcpStream::connect(address).is_ok() && http::get(address, "/health").status == 200
        });
    }

    fn spawn(binary: &Path, dir: &Path, port: u16, peers: u16) -> Child {
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
        Command::new(binary)
            .arg("--data-dir")
            .arg(dir.join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .env("ETCD_UNSUPPORTED_ARCH", "arm64")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).expect("a file"))
            .spawn()
            .expect("etcd starts")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            let from = log.find("panic").unwrap_or_else(|| log.len().saturating_sub(2000));
            println!("etcd {} has ended, {status}: {}", self.version, &log[from..log.len().min(from + 2000)]);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
