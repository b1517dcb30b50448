//! A real etcd.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::tls::Authority;
use super::{http, program, until};
use confcast::testing::ports::free_port;

/// Debian's etcd, which is 3.4, 3.5 and 3.6, as far as they are there.
pub fn etcds() -> Vec<PathBuf> {
    Release::ALL.into_iter().filter_map(Release::program).collect()
}

/// A release of etcd.
#[derive(Clone, Copy)]
pub enum Release {
    Debian,
    V35,
    V36,
}

impl Release {
    const ALL: [Self; 3] = [Self::Debian, Self::V35, Self::V36];

    /// Its program. Where it is missing, this says so.
    pub fn program(self) -> Option<PathBuf> {
        match self {
            Self::Debian => program("CONFCAST_ETCD", "etcd"),
            Self::V35 => program("CONFCAST_ETCD35", "etcd-3.5"),
            Self::V36 => program("CONFCAST_ETCD36", "etcd-3.6"),
        }
    }
}

/// A running etcd with an empty store. Killed when it is dropped.
pub struct Etcd {
    child: Option<Child>,
    pub address: SocketAddr,
    pub version: String,
    dir: tempfile::TempDir,
    binary: PathBuf,
    member: Member,
    secure: Option<Secure>,
    /// Further flags.
    flags: Vec<String>,
}

/// A second address, under TLS.
struct Secure {
    port: u16,
    flags: Vec<String>,
}

/// Who a member of a cluster is.
#[derive(Clone)]
struct Member {
    name: String,
    peers: u16,
    /// All of its cluster, as etcd's flag has them.
    cluster: String,
}

impl Member {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peers)
    }
}

impl Etcd {
    pub fn start(binary: &Path) -> Self {
        Self::start_with_flags(binary, &[])
    }

    pub fn start_with_flags(binary: &Path, flags: &[&str]) -> Self {
        let member = Member { name: "default".into(), peers: free_port(), cluster: String::new() };
        let member = Member { cluster: format!("default={}", member.url()), ..member };
        let mut etcd = Self::prepare(binary, member);
        etcd.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        etcd.start_again();
        let version = http::get(etcd.address, "/version").json()["etcdserver"].as_str().unwrap_or_default().to_owned();
        etcd.version.push_str(&version);
        etcd
    }

    /// As [`start`](Self::start), also under TLS with the certificate `etcd`, where clients may have to show one, too.
    pub fn start_with_tls(binary: &Path, authority: &Authority, asks_certificates: bool) -> Self {
        let member = Member { name: "default".into(), peers: free_port(), cluster: String::new() };
        let member = Member { cluster: format!("default={}", member.url()), ..member };
        let mut flags = vec!["--cert-file".to_owned(), authority.text("etcd.pem")];
        flags.extend(["--key-file".to_owned(), authority.text("etcd.key")]);
        if asks_certificates {
            flags.extend(["--client-cert-auth".to_owned(), "--trusted-ca-file".to_owned(), authority.text("ca.pem")]);
        }
        let mut etcd = Self::prepare(binary, member);
        etcd.secure = Some(Secure { port: free_port(), flags });
        etcd.start_again();
        etcd
    }

    /// Its URL under TLS.
    pub fn secure_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.secure.as_ref().expect("it was started so").port)
    }

    /// Three members of one cluster.
    pub fn cluster(binary: &Path) -> Vec<Self> {
        let member = |number| Member { name: format!("m{number}"), peers: free_port(), cluster: String::new() };
        let members: Vec<_> = (1..=3).map(member).collect();
        let all: Vec<_> = members.iter().map(|member| format!("{}={}", member.name, member.url())).collect();
        let one = |member| Self::prepare(binary, Member { cluster: all.join(","), ..member });
        let mut cluster: Vec<_> = members.into_iter().map(one).collect();
        for etcd in &mut cluster {
            etcd.child = Some(etcd.spawn());
        }
        cluster.iter().for_each(|etcd| Self::wait(etcd.address));
        cluster
    }

    /// Whether it leads its cluster.
    pub fn leads(&self) -> bool {
        let answer = super::history::wire::post(self.address, "/v3/maintenance/status", &serde_json::json!({}));
        answer.is_ok_and(|(_, body)| body["leader"].is_string() && body["leader"] == body["header"]["member_id"])
    }

    fn prepare(binary: &Path, member: Member) -> Self {
        // In memory where there is such a place, as every write is synced.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = dir.expect("a directory");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (child, version, secure, flags) = Default::default();
        Self { child, address, version, dir, binary: binary.into(), member, secure, flags }
    }

    /// Ends it at once, as a crash does.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    /// Sends it a signal, such as STOP or CONT.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.as_ref().expect("it runs").id().to_string())
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Loses everything, while it is stopped.
    pub fn wipe(&self) {
        std::fs::remove_dir_all(self.dir.path().join("data")).expect("removed");
    }

    /// Saves all that it has.
    pub fn save(&self, etcdctl: &Path) -> PathBuf {
        let file = self.dir.path().join("snapshot");
        let _ = std::fs::remove_file(&file);
        self.etcdctl(etcdctl, &["snapshot", "save", &file.display().to_string()]);
        file
    }

    /// Puts what was saved in the place of what it has, while it is stopped.
    pub fn restore(&self, etcdctl: &Path, file: &Path) {
        self.wipe();
        let (data, file) = (self.dir.path().join("data").display().to_string(), file.display().to_string());
        let Member { name, cluster, .. } = &self.member;
        let args = ["--data-dir", &data, "--name", name, "--initial-cluster", cluster];
        let peers = ["--initial-advertise-peer-urls", &self.member.url()];
        self.etcdctl(etcdctl, &[["snapshot", "restore", &file].as_slice(), &args, &peers].concat());
    }

    fn etcdctl(&self, etcdctl: &Path, args: &[&str]) {
        let mut command = Command::new(etcdctl);
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", self.address)).args(args);
        let output = command.output().expect("etcdctl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts it where it was before.
    pub fn start_again(&mut self) {
        self.child = Some(self.spawn());
        Self::wait(self.address);
    }

    fn wait(address: SocketAddr) {
        until("etcd is healthy", || {
            std::net::TcpStream::connect(address).is_ok() && http::get(address, "/health").status == 200
        });
    }

    fn spawn(&self) -> Child {
        let (client, peer, dir) = (format!("http://{}", self.address), self.member.url(), self.dir.path());
        let listen = match &self.secure {
            None => client.clone(),
            Some(_) => format!("{client},{}", self.secure_url()),
        };
        Command::new(&self.binary)
            .arg("--data-dir")
            .arg(dir.join("data"))
            .args(["--listen-client-urls", &listen, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--name", &self.member.name, "--initial-cluster", &self.member.cluster])
            .args(&self.flags)
            .args(self.secure.iter().flat_map(|secure| &secure.flags))
            .env("ETCD_UNSUPPORTED_ARCH", "arm64")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).expect("a file"))
            .spawn()
            .expect("etcd starts")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        if let Ok(Some(status)) = child.try_wait() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            let from = log.find("panic").unwrap_or_else(|| log.len().saturating_sub(2000));
            println!("etcd {} has ended, {status}: {}", self.version, &log[from..log.len().min(from + 2000)]);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}
