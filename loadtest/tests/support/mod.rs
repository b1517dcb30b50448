//! Servers and runs of the tool.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses a part of it")]
#![allow(clippy::print_stdout, reason = "tests say what they skip")]
#![allow(clippy::disallowed_methods, reason = "processes take real time")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use confcast::testing::ports::free_port;

pub fn tool() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_confcast-loadtest"))
}

/// The server, which is built with the workspace.
pub fn confcast() -> PathBuf {
    let path = tool().with_file_name("confcast");
    assert!(path.is_file(), "{} is built with the workspace", path.display());
    path
}

/// An etcd, which `cargo xtask test` fetches. Without it the test says so and is skipped.
pub fn etcd() -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut on_path = std::env::split_paths(&path).map(|folder| folder.join("etcd"));
    let found = std::env::var_os("CONFCAST_ETCD").map(PathBuf::from).or_else(|| on_path.find(|path| path.is_file()));
    if found.is_none() {
        println!("SKIPPED: no etcd; `cargo xtask test` fetches it");
    }
    found.map(|path| path.display().to_string())
}

pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// A program that listens, killed when it is dropped.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
}

impl Running {
    /// Starts it; `args` come before `--listen`.
    pub fn start(program: &Path, args: &[&str]) -> Self {
        let address = free_address();
        let mut command = Command::new(program);
        command.args(args).args(["--listen", &address.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = Self { child: command.spawn().expect("it starts"), address };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = running.child.try_wait().expect("a child");
            assert!(ended.is_none(), "{} ended: {ended:?}", program.display());
            assert!(started.elapsed() < Duration::from_secs(20), "{} does not listen", program.display());
            std::thread::sleep(Duration::from_millis(10));
        }
        running
    }

    /// A server with these flags.
    pub fn confcast(args: &[&str]) -> Self {
        let fixed = ["serve", "--admin-listen", "off", "--log", "error"];
        let running = Self::start(&confcast(), &[&fixed, args].concat());
        let started = Instant::now();
        while !running.is_ready() {
            assert!(started.elapsed() < Duration::from_secs(20), "not ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }

    fn is_ready(&self) -> bool {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let request = b"GET /readyz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let mut answer = String::new();
        stream.write_all(request).and_then(|()| stream.read_to_string(&mut answer)).expect("an answer");
        answer.starts_with("HTTP/1.1 200")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the tool.
pub fn run(args: &[&str]) -> Output {
    Command::new(tool()).args(args).output().expect("it runs")
}

/// Runs the tool, which finds nothing wrong, and returns what it says.
pub fn run_well(args: &[&str]) -> String {
    let output = run(args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
