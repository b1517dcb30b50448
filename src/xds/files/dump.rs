//! Configuration dumps: what Envoy's `/config_dump` and `istioctl proxy-config all -o json` print.

use serde_json::{Map, Value};

/// Lists of a dump, and the fields in which an item of them holds its resource, in both spellings of proto3 JSON.
const LISTS: [(&str, &[&str]); 16] = [
    ("static_clusters", &["cluster"]),
    ("dynamic_active_clusters", &["cluster"]),
    ("static_listeners", &["listener"]),
    ("dynamic_listeners", &["active_state", "listener"]),
    ("static_route_configs", &["route_config"]),
    ("dynamic_route_configs", &["route_config"]),
    ("static_endpoint_configs", &["endpoint_config"]),
    ("dynamic_endpoint_configs", &["endpoint_config"]),
    ("staticClusters", &["cluster"]),
    ("dynamicActiveClusters", &["cluster"]),
    ("staticListeners", &["listener"]),
    ("dynamicListeners", &["activeState", "listener"]),
    ("staticRouteConfigs", &["routeConfig"]),
    ("dynamicRouteConfigs", &["routeConfig"]),
    ("staticEndpointConfigs", &["endpointConfig"]),
    ("dynamicEndpointConfigs", &["endpointConfig"]),
];

/// Whether a document is a dump.
pub(super) fn is_dump(fields: &Map<String, Value>) -> bool {
    fields.get("configs").is_some_and(Value::is_array)
}

/// The resources of a dump, each once: Envoy lists inline route configurations again beside their listener, without a
/// name, and those that it was told twice. Secrets are left out, as a dump does not have their keys.
pub(super) fn resources(mut fields: Map<String, Value>) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    let Some(Value::Array(configs)) = fields.remove("configs") else { return found };
    for config in configs {
        let Value::Object(mut config) = config else { continue };
        for (list, path) in LISTS {
            let Some(Value::Array(items)) = config.remove(list) else { continue };
            for item in items {
                let inner = path.iter().try_fold(item, |value, field| match value {
                    Value::Object(mut fields) => fields.remove(*field),
                    _ => None,
                });
                let Some(resource) = inner else { continue };
                if name(&resource).is_some_and(|own| !own.is_empty()) && !found.iter().any(|old| same(old, &resource)) {
                    found.push(resource);
                }
            }
        }
    }
    found
}

fn same(one: &Value, other: &Value) -> bool {
    one.get("@type") == other.get("@type") && name(one) == name(other)
}

fn name(resource: &Value) -> Option<&str> {
    ["name", "cluster_name", "clusterName"].iter().find_map(|field| resource.get(field)?.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_resources_in_both_spellings_and_each_once() {
        let cluster =
            |name: &str| json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": name});
        let dump = json!({"configs": [
            {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {}},
            {"static_clusters": [{"cluster": cluster("a")}], "dynamic_active_clusters": [{"cluster": cluster("b")}]},
            {"dynamicActiveClusters": [{"cluster": cluster("b")}, {"error": "x"}]},
            {"dynamic_listeners": [{"name": "l", "active_state": {"listener": {"name": "l"}}}, {"name": "w"}]},
            {"static_route_configs": [{"route_config": {"virtual_hosts": []}}]},
        ]});
        let Value::Object(fields) = dump else { panic!("an object") };
        assert!(is_dump(&fields));
        let names: Vec<_> = resources(fields).iter().filter_map(|value| name(value).map(str::to_owned)).collect();
        assert_eq!(names, ["a", "b", "l"]);
    }
}
