//! The Helm chart: with its defaults, and with each file of values in `deploy/helm/examples`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::manifests::{Manifests, container};
use crate::support::program;
use crate::{deploy, names, run};

/// Values that are for another chart.
const OTHER: &str = "prometheus-adapter.yaml";

fn template(helm: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(helm);
    // A Helm that was built from source does not know which Kubernetes it is for.
    command.args(["template", "confcast"]).arg(deploy("helm/confcast")).args(["--namespace", "gateway"]);
    run(command.args(["--kube-version", "1.37"]).args(args))
}

fn example(helm: &Path, name: &str) -> Manifests {
    let values = deploy("helm/examples").join(name).display().to_string();
    Manifests::new(name, &template(helm, &["--values", &values]).unwrap_or_else(|error| panic!("{error}")))
}

#[test]
fn every_example_is_an_installation() {
    let Some(helm) = program("CONFCAST_HELM", "helm") else { return };
    Manifests::new("defaults", &template(&helm, &[]).expect("rendered")).check();
    let examples: Vec<_> = names("helm/examples").into_iter().filter(|name| name != OTHER).collect();
    assert!(examples.len() >= 5, "{examples:?}");
    for name in examples {
        example(&helm, &name).check();
    }
}

#[test]
fn nothing_is_to_be_said_about_the_chart() {
    let Some(helm) = program("CONFCAST_HELM", "helm") else { return };
    let said = run(Command::new(helm).args(["lint", "--strict"]).arg(deploy("helm/confcast"))).expect("good");
    assert!(!said.contains("[WARNING]") && !said.contains("[ERROR]"), "{said}");
}

#[test]
fn istio_gets_its_token_ca_and_node_identity() {
    let Some(helm) = program("CONFCAST_HELM", "helm") else { return };
    for name in ["istio.yaml", "publisher.yaml"] {
        let manifests = example(&helm, name);
        let pod = &manifests.workload()["spec"]["template"];
        assert_eq!(pod["metadata"]["labels"]["sidecar.istio.io/inject"], "false");
        let text = pod["spec"]["volumes"].to_string();
        assert!(text.contains(r#""audience":"istio-ca""#) && text.contains("istio-ca-root-cert"), "{text}");
        let environment = container(manifests.workload())["env"].to_string();
        assert!(
            environment.contains("router~$(POD_IP)~$(POD_NAME).gateway~gateway.svc.cluster.local"),
            "{environment}"
        );
        let settings: toml::Table = toml::from_str(&manifests.settings()).expect("TOML");
        assert_eq!(settings["xds_node_metadata"]["NAMESPACE"].as_str(), Some("gateway"));
        assert_eq!(settings["xds_node_metadata"]["LABELS"]["istio"].as_str(), Some("ingressgateway"));
    }
}

#[test]
fn the_admin_port_has_the_secrets_that_are_named() {
    let Some(helm) = program("CONFCAST_HELM", "helm") else { return };
    let settings = |manifests: &Manifests| toml::from_str::<toml::Table>(&manifests.settings()).expect("TOML");
    let named = ["admin_tls_cert", "admin_tls_key", "admin_client_ca", "admin_token_file"];
    let plain = Manifests::new("defaults", &template(&helm, &[]).expect("rendered"));
    assert!(named.iter().all(|name| !settings(&plain).contains_key(*name)));
    assert!(container(plain.workload())["readinessProbe"]["httpGet"]["scheme"].is_null());
    let manifests = example(&helm, "mirror.yaml");
    let settings = settings(&manifests);
    let path = |name: &str| settings[name].as_str().expect("a path").to_owned();
    assert_eq!(path("admin_token_file"), "/etc/confcast/admin-token/token");
    assert!(named.iter().all(|name| path(name).starts_with("/etc/confcast/admin-")));
    for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
        assert_eq!(container(manifests.workload())[probe]["httpGet"]["scheme"], "HTTPS");
    }
    let endpoint = &manifests.kind("ServiceMonitor")[0]["spec"]["endpoints"][0];
    assert_eq!(
        (&endpoint["scheme"], &endpoint["tlsConfig"]["serverName"]),
        (&"https".into(), &"confcast-admin".into())
    );
}

#[test]
fn values_of_every_type_become_settings_of_that_type() {
    let Some(helm) = program("CONFCAST_HELM", "helm") else { return };
    let manifests = example(&helm, "control-plane.yaml");
    let settings: toml::Table = toml::from_str(&manifests.settings()).expect("TOML");
    let expected = serde_json::json!({
        "zone": "a", "shard": 3, "weights": {"blue": 1.5}, "features": ["canary", "quo\"te"]
    });
    assert_eq!(serde_json::to_value(&settings["xds_node_metadata"]).expect("JSON"), expected);
    assert_eq!(settings["drain_seconds"].as_integer(), Some(10));
}

#[test]
fn values_that_cannot_go_together_are_refused_with_the_reason() {
    let Some(helm) = program("CONFCAST_HELM", "helm") else { return };
    let cases: [(&[&str], &str); 10] = [
        (&["mode=direct"], "mode direct needs istio.enabled, xds.servers or files.configMap"),
        (&["mode=publisher", "istio.enabled=true", "etcd.endpoints=null"], "mode publisher needs etcd.endpoints"),
        (&["mode=direct", "istio.enabled=true", "files.configMap=a"], "files.configMap is instead of"),
        (&["etcd.auth.user=a"], "etcd.auth.user needs etcd.auth.secret"),
        (&["tls.clientCaSecret=a"], "tls.clientCaSecret needs tls.secret"),
        (&["admin.clientCaSecret=a"], "admin.clientCaSecret needs admin.tlsSecret"),
        (&["admin.tlsSecret=a", "serviceMonitor.enabled=true"], "serviceMonitor.tlsConfig is needed"),
        (&["settings.drain_seconds=60"], "terminationGracePeriodSeconds must be more"),
        (&["podDisruptionBudget.minAvailable=3"], "no node could be drained"),
        (&["replica=3"], "replica"),
    ];
    for (values, reason) in cases {
        let args: Vec<_> = values.iter().flat_map(|value| ["--set", value]).collect();
        let error = template(&helm, &args).expect_err("refused");
        assert!(error.contains(reason), "{values:?}: {error}");
    }
}

#[test]
fn the_chart_is_for_this_version_and_every_value_is_explained() {
    let read = |path: &str| fs::read_to_string(deploy(path)).expect("text");
    let chart: Value = serde_saphyr::from_str(&read("helm/confcast/Chart.yaml")).expect("YAML");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let values = read("helm/confcast/values.yaml");
    let schema: Value = serde_json::from_str(&read("helm/confcast/values.schema.json")).expect("JSON");
    let (mut commented, mut above, mut free) = (0, "", false);
    for line in values.lines() {
        let depth = line.len() - line.trim_start().len();
        let key = line.trim_start().split_once(':').map(|(key, _)| key);
        let Some(key) = key.filter(|_| !line.trim_start().starts_with(['#', '-'])) else {
            above = line;
            continue;
        };
        if depth == 0 {
            let known = &schema["properties"][key];
            assert!(known.is_object(), "{key} is not in the schema");
            // What Kubernetes defines, and labels, are explained as a whole.
            free = known["properties"].is_null() && known["$ref"].is_null();
        }
        if depth == 0 || (depth == 2 && !free) {
            assert!(above.trim_start().starts_with('#'), "no comment: {line}");
            commented += 1;
        }
        above = line;
    }
    assert!(commented > 60, "{commented}");
}
