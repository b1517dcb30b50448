//! The kustomize base, and each overlay.

use std::process::Command;

use crate::manifests::{Manifests, container, list};
use crate::support::program;
use crate::{deploy, names, run};

fn build(folder: &str) -> Option<Manifests> {
    let kustomize = program("CONFCAST_KUSTOMIZE", "kustomize")?;
    let folder = deploy("kustomize").join(folder);
    let text = run(Command::new(kustomize).arg("build").arg(&folder)).unwrap_or_else(|error| panic!("{error}"));
    Some(Manifests::new(&folder.display().to_string(), &text))
}

#[test]
fn every_overlay_is_an_installation() {
    let Some(base) = build("base") else { return };
    base.check();
    let overlays = names("kustomize/overlays");
    assert_eq!(overlays, ["etcd", "istio", "publisher"]);
    for overlay in overlays {
        build(&format!("overlays/{overlay}")).expect("kustomize is there").check();
    }
}

#[test]
fn the_node_is_where_the_settings_say() {
    for overlay in ["istio", "publisher"] {
        let Some(manifests) = build(&format!("overlays/{overlay}")) else { return };
        let settings: toml::Table = toml::from_str(&manifests.settings()).expect("TOML");
        let namespace = settings["xds_node_metadata"]["NAMESPACE"].as_str();
        assert_eq!(namespace, manifests.workload()["metadata"]["namespace"].as_str());
        let account = settings["xds_node_metadata"]["SERVICE_ACCOUNT"].as_str();
        assert_eq!(account, manifests.workload()["spec"]["template"]["spec"]["serviceAccountName"].as_str());
        let url = format!("http://confcast.{}.svc:2379", namespace.expect("a namespace"));
        assert_eq!(settings["client_url"].as_str(), Some(url.as_str()));
    }
}

#[test]
fn replicas_that_publish_have_names() {
    let Some(manifests) = build("overlays/publisher") else { return };
    let name = list(&container(manifests.workload())["env"]).iter().find(|v| v["name"] == "CONFCAST_PUBLISH_NAME");
    assert_eq!(name.expect("set")["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
}
