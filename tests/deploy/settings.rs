//! The settings that a manifest gives to the program are settings, and the files that they name are mounted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::manifests::{Manifests, container, list};
use crate::support::tls::Authority;
use crate::{deploy, run};

/// Runs `confcast check` with what the container is given.
pub fn check(name: &str, manifests: &Manifests) {
    let workload = manifests.workload();
    let container = container(workload);
    let mounts: Vec<_> = list(&container["volumeMounts"]).iter().filter_map(|m| m["mountPath"].as_str()).collect();
    let text = &manifests.settings();
    let args: Vec<_> = list(&container["args"]).iter().filter_map(Value::as_str).collect();
    assert_eq!(args, ["serve", "--config", "/etc/confcast/confcast.toml"], "{name}");
    assert!(mounts.contains(&"/etc/confcast/confcast.toml"), "{name}: {mounts:?}");
    let environment = environment(container);
    check_text(name, text, &environment, |path| {
        assert!(mounts.iter().any(|mount| Path::new(path).starts_with(mount)), "{name}: {path} is not mounted");
    });
    let set: toml::Table = toml::from_str(text).expect("TOML");
    let port = |key: &str| set[key].as_str().expect("an address").rsplit_once(':').expect("a port").1.to_owned();
    for (name, key) in [("etcd", "listen"), ("admin", "admin_listen")] {
        let named = list(&container["ports"]).iter().find(|port| port["name"] == name).expect("a port");
        assert_eq!(named["containerPort"].to_string(), port(key), "{name}");
    }
    let seconds = |value: &Value| value.as_i64().unwrap_or_default();
    let drain = set.get("drain_seconds").and_then(toml::Value::as_integer).unwrap_or(10);
    let stop = seconds(&container["lifecycle"]["preStop"]["sleep"]["seconds"]) + drain;
    assert!(seconds(&workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]) > stop, "{name}");
    check_replicas(name, manifests, &set);
}

/// Only replicas of an etcd may be several.
fn check_replicas(name: &str, manifests: &Manifests, set: &toml::Table) {
    let workload = manifests.workload();
    let publishes = set.get("publish").and_then(toml::Value::as_bool) == Some(true);
    if publishes || set["source"].as_str() == Some("etcd") {
        let few = workload["spec"]["replicas"].as_i64() == Some(1);
        assert!(!few, "{name}: more than one for availability");
        return;
    }
    assert_eq!(workload["spec"]["replicas"], 1, "{name}: each would count revisions of its own");
    assert_eq!(workload["kind"], "StatefulSet", "{name}: a Deployment has two pods for a moment");
    assert!(set.contains_key("data_dir"), "{name}: clients would reload after a restart");
    assert!(manifests.kind("HorizontalPodAutoscaler").is_empty(), "{name}");
    assert!(manifests.kind("PodDisruptionBudget").is_empty(), "{name}: the node could not be drained");
}

/// The environment, with something in place of what only a cluster knows.
fn environment(container: &Value) -> BTreeMap<String, String> {
    let mut known = BTreeMap::new();
    for variable in list(&container["env"]) {
        let name = variable["name"].as_str().expect("a name");
        let value = variable["value"].as_str().map_or_else(
            || format!("some-{}", variable["valueFrom"]["fieldRef"]["fieldPath"].as_str().expect("a field")),
            str::to_owned,
        );
        let fill = |value: String, (name, other): (&String, &String)| value.replace(&format!("$({name})"), other);
        let value = known.iter().fold(value, fill);
        assert!(!value.contains("$("), "{name}={value} has what is not known before it");
        known.insert(name.to_owned(), value);
    }
    known
}

/// Runs `confcast check` with settings, and files made up for every path in them, which `seen` is told of.
pub fn check_text(name: &str, text: &str, environment: &BTreeMap<String, String>, seen: impl Fn(&str)) {
    let mut table: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let (certificate, key) = authority.sign("localhost");
    for (setting, value) in table.iter_mut().filter(|(setting, _)| is_path(setting)) {
        let values: Vec<&mut toml::Value> = match value {
            toml::Value::Array(values) => values.iter_mut().collect(),
            one => vec![one],
        };
        for value in values {
            let path = value.as_str().expect("a path").to_owned();
            assert!(path.starts_with('/'), "{name}: {setting} = {path}");
            seen(&path);
            let here = dir.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(here.parent().expect("a folder")).expect("made");
            match setting.as_str() {
                "data_dir" | "xds_file" => fs::create_dir_all(&here).expect("made"),
                _ if setting.ends_with("_ca") => fs::write(&here, authority.issuer.pem()).expect("written"),
                _ if setting.ends_with("_cert") => fs::write(&here, &certificate).expect("written"),
                _ if setting.ends_with("_key") => fs::write(&here, &key).expect("written"),
                "users_file" => drop(fs::copy(deploy("users.toml"), &here).expect("copied")),
                _ => fs::write(&here, "a secret of more than thirty-two bytes").expect("written"),
            }
            *value = toml::Value::String(here.display().to_string());
        }
    }
    let file = dir.path().join("confcast.toml");
    fs::write(&file, toml::to_string(&table).expect("TOML")).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_confcast"));
    run(command.args(["check", "--config"]).arg(file).envs(environment))
        .unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
}

#[test]
fn the_example_has_only_settings_also_in_its_comments() {
    let text = fs::read_to_string(deploy("confcast.toml")).expect("text");
    let commented = |line: &str| {
        let setting = line.strip_prefix("# ").filter(|line| line.split_once(" = ").is_some_and(|(k, _)| is_name(k)));
        setting.unwrap_or(line).to_owned()
    };
    let all: Vec<_> = text.lines().map(commented).collect();
    for text in [text.clone(), all.join("\n")] {
        check_text("confcast.toml", &text, &BTreeMap::new(), |_| {});
    }
    assert_ne!(text.trim(), all.join("\n"), "some are commented");
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Whether a setting names a file or a directory.
fn is_path(setting: &str) -> bool {
    let choices = ["client_cert"];
    let ends = ["_ca", "_cert", "_key", "_file", "_dir"];
    !choices.contains(&setting) && ends.iter().any(|end| setting.ends_with(end))
}
