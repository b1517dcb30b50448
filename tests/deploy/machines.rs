//! What runs without Kubernetes: the image, the compose file and the unit of systemd.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::manifests::list;
use crate::support::program;
use crate::{deploy, run};

fn read(path: &str) -> String {
    fs::read_to_string(deploy(path)).expect("text")
}

/// Has the program look at the flags of `serve`.
fn check(args: &[String]) {
    let (serve, flags) = args.split_first().expect("a command");
    assert_eq!(serve, "serve");
    run(Command::new(env!("CARGO_BIN_EXE_confcast")).arg("check").args(flags))
        .unwrap_or_else(|error| panic!("{error}"));
}

/// The instructions of a container file with this name, those of the last stage only.
fn instructions(text: &str, name: &str) -> Vec<String> {
    let stage = text.rsplit_once("\nFROM ").expect("two stages").1;
    let found = stage.lines().filter_map(|line| line.strip_prefix(name));
    found.map(|rest| rest.trim().to_owned()).collect()
}

#[test]
fn the_image_is_small_and_runs_as_nobody_special() {
    let text = read("Containerfile");
    let user = instructions(&text, "USER ");
    assert_eq!(
        user,
        ["10001:10001"],
        "the user of the manifests, as a number, so that Kubernetes sees that it is not root"
    );
    assert!(instructions(&text, "RUN ").is_empty(), "nothing is there that could be run");
    let command: Vec<String> = serde_json::from_str(&instructions(&text, "CMD ")[0]).expect("a list");
    check(&command);
    for (flag, port) in [("--listen", "2379"), ("--admin-listen", "9379")] {
        let at = command.iter().position(|word| word == flag).expect(flag);
        assert_eq!(command[at + 1].rsplit_once(':').expect("a port").1, port);
        assert!(instructions(&text, "EXPOSE ")[0].split(' ').any(|exposed| exposed == port));
    }
    let at = command.iter().position(|word| word == "--data-dir").expect("a directory");
    assert_eq!(instructions(&text, "VOLUME "), [command[at + 1].clone()]);
    assert!(instructions(&text, "COPY --from=build --chown=10001:10001 ")[0].ends_with(&command[at + 1]));
    let health = instructions(&text, "HEALTHCHECK ");
    assert!(health[0].ends_with(r#"CMD ["confcast", "status"]"#), "{health:?}");
    // As old a compiler as the project says that it needs.
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert!(text.contains(&format!("/rust:{rust}-")), "{rust}");
}

#[test]
fn nothing_is_to_be_said_about_the_container_file() {
    let Some(hadolint) = program("CONFCAST_HADOLINT", "hadolint") else { return };
    run(Command::new(hadolint).arg(deploy("Containerfile"))).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_compose_file_fits_together() {
    let compose: Value = serde_saphyr::from_str(&read("compose/compose.yaml")).expect("YAML");
    let services = compose["services"].as_object().expect("services");
    assert_eq!(services.keys().collect::<Vec<_>>(), ["apisix", "confcast", "etcd"]);
    for (name, service) in services {
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            assert_eq!(how["condition"], "service_healthy", "{name}");
            assert!(services[other]["healthcheck"]["test"].is_array(), "{name} waits for {other}");
        }
        let (image, tag) = service["image"].as_str().expect("an image").rsplit_once(':').expect("a version");
        assert!(tag != "latest" && !image.is_empty(), "{name}");
        for volume in list(&service["volumes"]).iter().filter_map(Value::as_str) {
            let source = volume.split(':').next().expect("a source");
            let named = compose["volumes"].as_object().is_some_and(|volumes| volumes.contains_key(source));
            assert!(named || deploy("compose").join(source).is_file(), "{name}: {volume}");
        }
        for port in list(&service["ports"]).iter().filter_map(Value::as_str) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is for this machine only");
        }
    }
    let ours = &services["confcast"];
    assert_eq!(ours["image"], format!("confcast:{}", env!("CARGO_PKG_VERSION")));
    let build = &ours["build"];
    let context = deploy("compose").join(build["context"].as_str().expect("a folder"));
    assert!(context.join(build["dockerfile"].as_str().expect("a file")).is_file());
    assert_eq!(ours["read_only"], true);
    assert_eq!(ours["cap_drop"], serde_json::json!(["ALL"]));
    let command: Vec<_> = list(&ours["command"]).iter().map(|word| word.as_str().expect("text").to_owned()).collect();
    check(&command);
    let flag = |name: &str| {
        let start = format!("--{name}=");
        command.iter().find_map(|word| word.strip_prefix(&start)).unwrap_or_else(|| panic!("no {start}")).to_owned()
    };
    // Each goes to the next, at the port where that listens.
    let etcd = list(&services["etcd"]["command"]).iter().filter_map(Value::as_str);
    let advertised = etcd.filter_map(|word| word.strip_prefix("--advertise-client-urls=")).collect::<Vec<_>>();
    assert_eq!(advertised, [flag("upstream")]);
    assert!(advertised[0].starts_with("http://etcd:"));
    let apisix: Value = serde_saphyr::from_str(&read("compose/apisix.yaml")).expect("YAML");
    let port = flag("listen").rsplit_once(':').expect("a port").1.to_owned();
    assert_eq!(apisix["deployment"]["etcd"]["host"], serde_json::json!([format!("http://confcast:{port}")]));
}

/// The values of a key in a unit.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let all = unit.lines().filter_map(|line| line.split_once('='));
    all.filter(|(found, _)| *found == key).map(|(_, value)| value).collect()
}

#[test]
fn the_unit_fits_the_settings() {
    let unit = read("systemd/confcast.service");
    let settings: toml::Table = toml::from_str(&read("confcast.toml")).expect("TOML");
    assert_eq!(values(&unit, "ExecStart"), ["/usr/bin/confcast serve --config /etc/confcast/confcast.toml"]);
    assert_eq!(values(&unit, "ExecStartPre"), ["/usr/bin/confcast check --config /etc/confcast/confcast.toml"]);
    assert_eq!(values(&unit, "ExecReload"), ["/bin/kill -HUP $MAINPID"]);
    let state = format!("/var/lib/{}", values(&unit, "StateDirectory")[0]);
    assert_eq!(settings["data_dir"].as_str(), Some(state.as_str()));
    let stop: i64 = values(&unit, "TimeoutStopSec")[0].parse().expect("seconds");
    assert!(settings["drain_seconds"].as_integer().expect("seconds") < stop);
}

#[test]
fn systemd_takes_the_unit_and_finds_little_exposed() {
    let Some(analyze) = program("CONFCAST_SYSTEMD_ANALYZE", "systemd-analyze") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("confcast.service");
    // The program must be there.
    let unit = read("systemd/confcast.service").replace("/usr/bin/confcast", env!("CARGO_BIN_EXE_confcast"));
    fs::write(&file, unit).expect("written");
    let output = Command::new(&analyze).args(["verify", "--man=no"]).arg(&file).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // What it does not know it only warns of.
    let about_it: Vec<_> = said.lines().filter(|line| line.contains("confcast.service")).collect();
    assert!(output.status.success() && about_it.is_empty(), "{said}");
    // In tenths; a unit without hardening has 96.
    let security = ["security", "--offline=true", "--no-pager", "--threshold=15"];
    run(Command::new(&analyze).args(security).arg(&file)).unwrap_or_else(|error| panic!("{error}"));
}
