//! Builders of small resources.

use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use serde_json::{Value, json};

use crate::envoy::json::{self as proto_json, Unknown};
use crate::envoy::{Resource, ResourceType};

/// A resource from its proto3 JSON.
///
/// # Panics
/// If it is none: tests write their resources themselves.
pub fn resource(kind: ResourceType, value: Value) -> Resource {
    proto_json::read(value, Some(kind), Unknown::Refused).unwrap_or_else(|error| panic!("{error}"))
}

/// A cluster whose endpoints come by EDS.
pub fn eds_cluster(name: &str) -> Resource {
    let eds = json!({"eds_config": {"ads": {}, "resource_api_version": "V3"}});
    let value = json!({"name": name, "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": eds});
    resource(ResourceType::Cluster, value)
}

/// A cluster that has its endpoints with it.
pub fn static_cluster(name: &str, ports: &[u16]) -> Resource {
    let assignment = assignment(name, ports);
    let value = json!({"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment});
    resource(ResourceType::Cluster, value)
}

/// Endpoints on loopback ports.
pub fn endpoints(name: &str, ports: &[u16]) -> Resource {
    resource(ResourceType::Endpoints, assignment(name, ports))
}

fn assignment(name: &str, ports: &[u16]) -> Value {
    let endpoint =
        |port: &u16| json!({"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}});
    let endpoints: Vec<_> = ports.iter().map(endpoint).collect();
    json!({"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]})
}

/// A listener on a port, whose routes come by RDS.
pub fn listener(name: &str, port: u16, routes: &str) -> Resource {
    let source = json!({"ads": {}, "resource_api_version": "V3"});
    listener_with(name, port, json!({"rds": {"route_config_name": routes, "config_source": source}}))
}

/// A listener on a port, whose connection manager has these fields.
pub fn listener_with(name: &str, port: u16, fields: Value) -> Resource {
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "http_filters": [{
            "name": "router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }],
    });
    if let (Value::Object(manager), Value::Object(fields)) = (&mut manager, fields) {
        manager.extend(fields);
    }
    let value = json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    });
    resource(ResourceType::Listener, value)
}

/// A route configuration with one virtual host for any host.
pub fn routes(name: &str, routes: &Value) -> Resource {
    let hosts = json!([{"name": "any", "domains": ["*"], "routes": routes}]);
    resource(ResourceType::Route, json!({"name": name, "virtual_hosts": hosts}))
}

/// A route configuration that sends each prefix to a cluster.
pub fn prefix_routes(name: &str, prefixes: &[(&str, &str)]) -> Resource {
    let list: Vec<_> = prefixes
        .iter()
        .map(|(prefix, cluster)| json!({"match": {"prefix": prefix}, "route": {"cluster": cluster}}))
        .collect();
    routes(name, &Value::Array(list))
}

/// The route configuration in a resource.
///
/// # Panics
/// If it is something else.
pub fn route_configuration(resource: Resource) -> RouteConfiguration {
    match resource {
        Resource::Route(routes) => *routes,
        other => panic!("a {:?} is no route configuration", other.resource_type()),
    }
}

/// The bytes of a resource.
pub fn encode(resource: &Resource) -> Vec<u8> {
    use prost::Message;
    match resource {
        Resource::Cluster(message) => message.encode_to_vec(),
        Resource::Endpoints(message) => message.encode_to_vec(),
        Resource::Listener(message) => message.encode_to_vec(),
        Resource::Route(message) => message.encode_to_vec(),
        Resource::Secret(message) => message.encode_to_vec(),
    }
}
