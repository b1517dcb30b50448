//! A mesh under test: listeners with their routes, as JSON that can be cut down.

use confcast::envoy::{Resource, ResourceType};
use confcast::testing::mesh;
use serde_json::{Value, json};

use crate::support::envoy::ask;

/// The clusters. Nobody listens where they point to; the first and the third would be spoken to in HTTP/2.
pub const CLUSTERS: [&str; 4] = ["red", "green", "blue", "gray"];

/// The mesh.
#[derive(Clone, Debug)]
pub struct World {
    pub listeners: Vec<Listener>,
}

#[derive(Clone, Debug)]
pub struct Listener {
    pub port: u16,
    /// Fields of the connection manager, beside its routes.
    pub manager: Value,
    /// Whether the routes are part of the listener.
    pub inline: bool,
    /// The route configuration.
    pub routes: Value,
}

impl Listener {
    /// The routes, with one that tells the version, and headers that tell what Envoy did.
    fn routes(&self, version: Option<usize>) -> Value {
        let mut routes = self.routes.clone();
        routes["name"] = json!(format!("routes-{}", self.port));
        if let Some(version) = version {
            let answer = json!({"status": 200, "body": {"inline_string": version.to_string()}});
            let marker = json!({
                "name": "marker",
                "domains": ["marker.invalid"],
                "routes": [{"match": {"path": "/version"}, "direct_response": answer}],
            });
            routes["virtual_hosts"].as_array_mut().expect("a list").push(marker);
            // On the answers of Envoy itself too.
            let told = [("cluster", "%UPSTREAM_CLUSTER%"), ("path", "%REQ(:PATH)%"), ("host", "%REQ(:AUTHORITY)%")];
            let told: Vec<_> = told
                .iter()
                .map(|(name, value)| json!({"header": {"key": format!("x-oracle-{name}"), "value": value}}))
                .collect();
            routes["response_headers_to_add"] = json!(told);
        }
        routes
    }
}

impl World {
    /// What a control plane serves, marked as this version.
    pub fn resources(&self, version: usize) -> Vec<Resource> {
        self.build(Some(version))
    }

    /// What is translated, without marks.
    pub fn unmarked(&self) -> Vec<Resource> {
        self.build(None)
    }

    fn build(&self, version: Option<usize>) -> Vec<Resource> {
        let mut resources: Vec<_> = CLUSTERS.map(cluster).into();
        for listener in &self.listeners {
            let mut fields = listener.manager.clone();
            let routes = listener.routes(version);
            if listener.inline {
                fields["route_config"] = routes;
            } else {
                let source = json!({"ads": {}, "resource_api_version": "V3"});
                fields["rds"] = json!({"route_config_name": routes["name"], "config_source": source});
                resources.push(mesh::resource(ResourceType::Route, routes));
            }
            resources.push(mesh::listener_with(&format!("listener-{}", listener.port), listener.port, fields));
        }
        resources
    }

    /// The connection manager on a port.
    pub fn manager(&self, port: u16) -> &Value {
        &self.listeners.iter().find(|listener| listener.port == port).expect("a listener").manager
    }

    /// For people.
    pub fn text(&self) -> String {
        let line = |listener: &Listener| {
            format!("listener {} {} inline {}: {}", listener.port, listener.manager, listener.inline, listener.routes)
        };
        self.listeners.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn cluster(name: &str) -> Resource {
    let mut cluster = mesh::static_cluster(name, &[1]);
    if let Resource::Cluster(fields) = &mut cluster
        && ["red", "blue"].contains(&name)
    {
        #[expect(deprecated, reason = "shorter than the new form")]
        fields.http2_protocol_options.get_or_insert_default();
    }
    cluster
}

/// The version that is served on a port.
pub fn marker(port: u16) -> Option<usize> {
    ask(port, "GET", "marker.invalid", "/version", &[])?.text().parse().ok()
}
