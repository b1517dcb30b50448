//! What the tests of the whole program share.
#![allow(clippy::print_stdout, dead_code, missing_docs, unreachable_pub, reason = "each test uses a part of it")]

pub mod envoy;
pub mod etcd;
pub mod frames;
pub mod history;
pub mod http;
pub mod memory;
pub mod proxy;
pub mod tls;
pub mod users;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A program that a test needs, from the variable that `cargo xtask test` sets or from the path. Without it the test
/// says so and is skipped.
pub fn program(variable: &str, name: &str) -> Option<PathBuf> {
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
    };
    let found = std::env::var_os(variable).map(PathBuf::from).or_else(on_path);
    if found.is_none() {
        println!("SKIPPED: no {name}; `cargo xtask test` fetches it");
    }
    found
}

/// A folder of recordings that is kept beside the repository. Without it the test says so and is skipped.
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("CONFCAST_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join(name);
    if path.is_dir() {
        return Some(path);
    }
    println!("SKIPPED: no {name} in the folder of shared recordings (CONFCAST_SHARED)");
    None
}

/// The program, running. Killed when it is dropped.
pub struct Confcast {
    child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    log: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Confcast {
    /// Starts `confcast serve` on free ports.
    pub fn serve(args: &[&str]) -> Self {
        let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        Self::start(&[&["serve"], args, &ports].concat())
    }

    /// Starts the program and waits until it says where it listens.
    pub fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_confcast"));
        command.args(["--log-format", "json"]).args(args);
        Self::launch(command).unwrap_or_else(|log| panic!("it ended: {log}"))
    }

    /// Starts the program in a way of the test's own. Returns what it logged if it has ended.
    pub fn launch(mut command: Command) -> Result<Self, String> {
        let started = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = started.expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut all = String::new();
        let (address, admin) = loop {
            let Some(Ok(line)) = lines.next() else {
                child.wait().expect("it ends");
                return Err(all);
            };
            all.push_str(&line);
            all.push('\n');
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if let (Some(listen), Some(admin)) = (entry["listen"].as_str(), entry["admin"].as_str()) {
                let address = |text: &str| text.parse().expect("an address");
                break (address(listen), address(admin));
            }
        };
        let log = std::sync::Arc::new(std::sync::Mutex::new(all));
        let keep = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = keep.lock().expect("not poisoned");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Ok(Self { child, address, admin, log })
    }

    /// Id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("not poisoned").clone()
    }

    /// Waits until it serves.
    pub fn ready(self) -> Self {
        until("ready", || http::get(self.admin, "/readyz").status == 200);
        self
    }

    /// Ends it at once, as a crash does.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Asks it to end, and returns whether it did so well.
    pub fn terminate(mut self) -> bool {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        self.child.wait().expect("it ends").success()
    }

    /// Runs etcdctl against it.
    pub fn etcdctl(&self, etcdctl: &Path, args: &[&str]) -> Output {
        self.etcdctl_command(etcdctl, args).output().expect("etcdctl runs")
    }

    pub fn etcdctl_command(&self, etcdctl: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(etcdctl);
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", self.address)).args(args);
        command
    }

    /// Keys and values below a prefix, as the gateway gives them, without the directories' placeholders.
    pub fn objects(&self) -> std::collections::BTreeMap<String, serde_json::Value> {
        let range = http::range(self.address, "/apisix/", "/apisix0");
        range.pairs.into_iter().filter_map(|(key, value)| Some((key, serde_json::from_slice(&value).ok()?))).collect()
    }

    /// A metric: all its series in sum, or the one that is written like this.
    pub fn metric(&self, name: &str) -> f64 {
        let text = http::get(self.admin, "/metrics").text();
        let values: Vec<f64> = text
            .lines()
            .filter_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{'])))
            .map(|rest| rest.rsplit_once(' ').expect("a value").1.parse().expect("a number"))
            .collect();
        assert!(!values.is_empty(), "no {name}");
        values.iter().sum()
    }

    /// How often something was refused by a limit.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    pub fn refused(&self, limit: &str) -> u64 {
        self.metric(&format!("confcast_refused_total{{limit=\"{limit}\"}}")) as u64
    }

    /// The current revision.
    pub fn revision(&self) -> i64 {
        http::range(self.address, "/none", "").revision
    }
}

impl Drop for Confcast {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A mirror that serves.
pub fn mirror(of: SocketAddr, flags: &[&str]) -> Confcast {
    let url = format!("http://{of}");
    let all: Vec<_> = ["--source", "etcd", "--upstream", &url].into_iter().chain(flags.iter().copied()).collect();
    Confcast::serve(&all).ready()
}

/// A mirror that answers no linearizable read while its etcd is away, on a port that stays the same.
pub fn strict_mirror(of: &[SocketAddr], port: u16, data: Option<&Path>) -> Confcast {
    let urls: Vec<_> = of.iter().map(|address| format!("http://{address}")).collect();
    let (urls, listen) = (urls.join(","), format!("127.0.0.1:{port}"));
    let mut args = vec!["serve", "--source", "etcd", "--upstream", &urls, "--when-upstream-away", "refuse"];
    args.extend(["--listen", &listen, "--admin-listen", "127.0.0.1:0"]);
    let data = data.map(|data| data.display().to_string());
    if let Some(data) = &data {
        args.extend(["--data-dir", data]);
    }
    Confcast::start(&args).ready()
}

/// Waits until something is so.
#[expect(clippy::disallowed_methods, reason = "tests of other processes wait in real time")]
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !is() {
        assert!(started.elapsed() < PATIENCE, "not {what} in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}
