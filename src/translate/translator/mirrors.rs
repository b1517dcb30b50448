//! Addresses for the copies of requests: in APISIX they stand in the routes, in Envoy a route names a cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::Translator;
use crate::apisix::Node;
use crate::envoy::ResourceType;
use crate::translate::endpoints::Labels;
use crate::translate::report::{Entry, Notes};
use crate::translate::routes::Routes;

/// A cluster that gets copies of requests.
#[derive(Debug, Default)]
pub(super) struct Mirrored {
    /// The address in the routes that were made last.
    address: Option<String>,
    /// The route configurations that name it.
    routes: BTreeSet<String>,
}

impl Translator {
    /// Notes which clusters a route configuration mirrors to, and tells their addresses by their names.
    pub(super) fn mirror(&mut self, name: &str, entries: &mut Vec<Entry>) -> BTreeMap<String, String> {
        let clusters = self.routes.get(name).map(Routes::mirrors).unwrap_or_default();
        for (cluster, mirrored) in &mut self.mirrors {
            if !clusters.contains(cluster) {
                mirrored.routes.remove(name);
            }
        }
        self.mirrors.retain(|_, mirrored| !mirrored.routes.is_empty());
        let mut addresses = BTreeMap::new();
        for cluster in clusters {
            let address = self.address(&cluster);
            if let Some(Err(reason)) = &address {
                let mut notes = Notes::of(ResourceType::Route, name);
                notes.not_expressible("request_mirror_policies", reason, "no copies are sent");
                entries.extend_from_slice(notes.entries());
            }
            let address = address.and_then(Result::ok);
            addresses.extend(address.clone().map(|address| (cluster.clone(), address)));
            let mirrored = self.mirrors.entry(cluster).or_default();
            mirrored.address = address;
            mirrored.routes.insert(name.to_owned());
        }
        addresses
    }

    /// Has routes made anew whose copies go to another address. A change that leaves the address costs them nothing.
    pub(super) fn touch_mirrors(&mut self) {
        for (cluster, mirrored) in &self.mirrors {
            if self.dirty_clusters.contains(cluster) && self.address(cluster).and_then(Result::ok) != mirrored.address {
                self.dirty_routes.extend(mirrored.routes.iter().cloned());
            }
        }
    }

    /// The address of one backend of a cluster: the first of those that are asked first, so that it stays while it can.
    /// None without backends; the error says why APISIX would not take it.
    fn address(&self, name: &str) -> Option<Result<String, String>> {
        let cluster = self.clusters.get(name)?;
        // What there is to say of the nodes is said with the upstream.
        let nodes = self.nodes(name, &Labels::new(), &mut Notes::of(ResourceType::Cluster, name));
        let upstream = cluster.upstream(nodes, self.endpoints_of(cluster));
        let used = || upstream.nodes.iter().filter(|node| node.weight > 0);
        let most = used().map(|node| node.priority).max()?;
        let Node { host, port, .. } = used().find(|node| node.priority == most)?;
        let name = host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
        Some(match upstream.scheme {
            scheme @ ("http" | "https") if name => Ok(format!("{scheme}://{host}:{port}")),
            // All versions take neither gRPC nor IPv6 here.
            "http" | "https" => Err(format!("APISIX mirrors to no address like {host}")),
            _ => Err("APISIX mirrors requests of HTTP/1.1".to_owned()),
        })
    }
}
