//! Manifests of Kubernetes: each against Kubernetes' schemas, and all of a set against each other.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::run;
use crate::settings;
use crate::support::{Confcast, http, program};

/// Versions of Kubernetes that the manifests must be good for: the oldest that the chart allows, and the newest.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

/// The documents of one installation.
pub struct Manifests {
    name: String,
    text: String,
    pub all: Vec<Value>,
}

impl Manifests {
    pub fn new(name: &str, text: &str) -> Self {
        let all = serde_saphyr::from_multiple::<Value>(text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        let all = all.into_iter().filter(|document| !document.is_null()).collect();
        Self { name: name.into(), text: text.into(), all }
    }

    pub fn kind(&self, kind: &str) -> Vec<&Value> {
        self.all.iter().filter(|document| document["kind"] == kind).collect()
    }

    pub fn workload(&self) -> &Value {
        let found: Vec<_> = [self.kind("Deployment"), self.kind("StatefulSet")].concat();
        assert_eq!(found.len(), 1, "{}: one workload", self.name);
        found[0]
    }

    /// The text of the settings file.
    pub fn settings(&self) -> String {
        let maps = self.kind("ConfigMap");
        maps.iter().find_map(|map| map["data"]["confcast.toml"].as_str()).expect("settings").to_owned()
    }

    /// Everything that must hold of any installation.
    pub fn check(&self) {
        self.check_schemas();
        self.check_references();
        self.check_hardening();
        settings::check(&self.name, self);
    }

    fn check_schemas(&self) {
        let Some(libs) = program("CONFCAST_PYTHON_KUBERNETES_LIBS", "kubernetes-validate") else { return };
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("manifests.yaml");
        fs::write(&file, &self.text).expect("written");
        let mut command = Command::new("python3");
        command.args(["-m", "kubernetes_validate", "--strict"]).env("PYTHONPATH", libs);
        for version in VERSIONS {
            command.args(["-k", version]);
        }
        let said = run(command.arg(&file)).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        // It warns of what it has no schema for, which may be only what Prometheus Operator defines.
        let unknown = said.lines().filter(|line| line.contains("WARN") && !line.contains("monitoring.coreos.com/v1"));
        assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&str>::new(), "{}", self.name);
        let known = said.matches("passed").count();
        let ours = self.all.iter().filter(|document| document["apiVersion"] != "monitoring.coreos.com/v1").count();
        assert_eq!(known, ours * VERSIONS.len(), "{}: {said}", self.name);
    }

    /// What names something else in the set names what is there.
    fn check_references(&self) {
        let workload = self.workload();
        let (pod, container) = (&workload["spec"]["template"], container(workload));
        let labels = &pod["metadata"]["labels"];
        let has = |labels: &Value, selector: &Value| {
            let selector = selector.as_object().filter(|selector| !selector.is_empty()).expect("a selector");
            selector.iter().all(|(key, value)| labels[key] == *value)
        };
        let port = |name: &Value| list(&container["ports"]).iter().any(|port| port["name"] == *name);
        assert!(has(labels, &workload["spec"]["selector"]["matchLabels"]), "{}: the workload's pods", self.name);
        for service in self.kind("Service") {
            assert!(has(labels, &service["spec"]["selector"]), "{}: {service}", self.name);
            assert!(list(&service["spec"]["ports"]).iter().all(|p| port(&p["targetPort"])), "{}: {service}", self.name);
        }
        for budget in self.kind("PodDisruptionBudget") {
            assert!(has(labels, &budget["spec"]["selector"]["matchLabels"]), "{}: {budget}", self.name);
        }
        for policy in self.kind("NetworkPolicy") {
            assert!(has(labels, &policy["spec"]["podSelector"]["matchLabels"]), "{}: {policy}", self.name);
            let mut ports = list(&policy["spec"]["ingress"]).iter().flat_map(|rule| list(&rule["ports"]));
            assert!(ports.all(|p| port(&p["port"])), "{}: {policy}", self.name);
        }
        for scaler in self.kind("HorizontalPodAutoscaler") {
            let target = &scaler["spec"]["scaleTargetRef"];
            assert_eq!(target["kind"], workload["kind"], "{}", self.name);
            assert_eq!(target["name"], workload["metadata"]["name"], "{}", self.name);
            assert_eq!(workload["spec"]["replicas"], Value::Null, "{}: only one may decide", self.name);
        }
        for monitor in self.kind("ServiceMonitor") {
            let selector = &monitor["spec"]["selector"]["matchLabels"];
            let services = self.kind("Service");
            let of: Vec<_> = services.iter().filter(|service| has(&service["metadata"]["labels"], selector)).collect();
            assert_eq!(of.len(), 1, "{}: each pod is scraped once", self.name);
            let names: Vec<_> = list(&of[0]["spec"]["ports"]).iter().map(|port| &port["name"]).collect();
            for endpoint in list(&monitor["spec"]["endpoints"]) {
                assert!(names.contains(&&endpoint["port"]), "{}: {endpoint}", self.name);
                assert_eq!(endpoint["path"], "/metrics", "{}", self.name);
            }
        }
        for constraint in list(&pod["spec"]["topologySpreadConstraints"]) {
            assert!(has(labels, &constraint["labelSelector"]["matchLabels"]), "{}: {constraint}", self.name);
        }
        if workload["kind"] == "StatefulSet" {
            let name = &workload["spec"]["serviceName"];
            assert!(self.kind("Service").iter().any(|service| service["metadata"]["name"] == *name), "{}", self.name);
        }
        let account = &pod["spec"]["serviceAccountName"];
        assert!(self.kind("ServiceAccount").iter().any(|a| a["metadata"]["name"] == *account), "{}", self.name);
        let volumes = [list(&pod["spec"]["volumes"]), list(&workload["spec"]["volumeClaimTemplates"])].concat();
        for map in volumes.iter().filter_map(|volume| volume["configMap"]["name"].as_str()) {
            let ours = self.kind("ConfigMap").iter().any(|other| other["metadata"]["name"] == map);
            assert!(ours || !map.starts_with("confcast"), "{}: {map}", self.name);
        }
        let name = |volume: &Value| volume["name"].as_str().or(volume["metadata"]["name"].as_str()).map(str::to_owned);
        let mut given: Vec<_> = volumes.iter().filter_map(name).collect();
        let mut mounted: Vec<_> = list(&container["volumeMounts"]).iter().filter_map(name).collect();
        given.sort();
        mounted.sort();
        assert_eq!(given, mounted, "{}: each volume is mounted, and each mount has a volume", self.name);
    }

    fn check_hardening(&self) {
        let pod = &self.workload()["spec"]["template"]["spec"];
        let container = container(self.workload());
        let whole = &pod["securityContext"];
        assert_eq!(whole["runAsNonRoot"], true, "{}", self.name);
        assert!(whole["runAsUser"].as_u64().is_some_and(|user| user > 0), "{}", self.name);
        assert_eq!(whole["seccompProfile"]["type"], "RuntimeDefault", "{}", self.name);
        let own = &container["securityContext"];
        assert_eq!(own["readOnlyRootFilesystem"], true, "{}", self.name);
        assert_eq!(own["allowPrivilegeEscalation"], false, "{}", self.name);
        assert_eq!(own["capabilities"]["drop"], serde_json::json!(["ALL"]), "{}", self.name);
        assert_eq!(pod["automountServiceAccountToken"], false, "{}", self.name);
        for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/livez"), ("startupProbe", "/livez")] {
            assert_eq!(container[probe]["httpGet"]["path"], path, "{}", self.name);
            assert_eq!(container[probe]["httpGet"]["port"], "admin", "{}", self.name);
        }
        assert!(container["resources"]["requests"]["memory"].is_string(), "{}", self.name);
        assert!(container["resources"]["limits"]["memory"].is_string(), "{}", self.name);
    }
}

/// The container of a workload.
pub fn container(workload: &Value) -> &Value {
    let containers = list(&workload["spec"]["template"]["spec"]["containers"]);
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// A list, or an empty one.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[test]
fn what_probes_and_monitoring_ask_for_is_there() {
    let server = Confcast::serve(&["--source", "none"]).ready();
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(http::get(server.admin, path).status, 200, "{path}");
    }
}
