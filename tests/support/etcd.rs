//! A real etcd.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::envoy::free_port;
use super::{http, until};

/// A running etcd with an empty store. Killed when it is dropped.
pub struct Etcd {
    child: Child,
    pub address: SocketAddr,
    pub version: String,
    dir: tempfile::TempDir,
}

impl Etcd {
    pub fn start(binary: &Path) -> Self {
        // In memory where there is such a place, as every write is synced.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = dir.expect("a directory");
        let (port, peers) = (free_port(), free_port());
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
        let child = Command::new(binary)
            .arg("--data-dir")
            .arg(dir.path().join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .env("ETCD_UNSUPPORTED_ARCH", "arm64")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log")).expect("a file"))
            .spawn()
            .expect("etcd starts");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        until("etcd is healthy", || {
            std::net::TcpStream::connect(address).is_ok() && http::get(address, "/health").status == 200
        });
        let version = http::get(address, "/version").json()["etcdserver"].as_str().unwrap_or_default().to_owned();
        Self { child, address, version, dir }
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
