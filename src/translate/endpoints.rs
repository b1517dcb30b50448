//! Endpoints: the nodes of an upstream.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::HealthStatus;
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::socket_address::{PortSpecifier, Protocol};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LbEndpoint};

use super::report::Notes;
use crate::apisix::Node;

/// Largest weight of a node, which keeps APISIX's arithmetic exact.
const MAX_WEIGHT: u64 = 1 << 20;

/// Endpoints in the terms of APISIX, before it is known whether localities are weighted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Endpoints {
    localities: Vec<Locality>,
    pub(super) notes: Notes,
}

#[derive(Clone, Debug, PartialEq)]
struct Locality {
    weight: u32,
    nodes: Vec<Node>,
}

/// Takes the endpoints of a cluster apart. What is wrong is noted in `notes`.
pub(super) fn take(assignment: &ClusterLoadAssignment, mut notes: Notes) -> Endpoints {
    if assignment.policy.as_ref().is_some_and(|policy| !policy.drop_overloads.is_empty()) {
        notes.not_expressible("policy.drop_overloads", "APISIX drops no share of requests", "all requests are served");
    }
    let localities = assignment.endpoints.iter().map(|locality| Locality {
        weight: locality.load_balancing_weight.map_or(0, |weight| weight.value),
        nodes: locality
            .lb_endpoints
            .iter()
            .filter_map(|endpoint| node(endpoint, locality.priority, &mut notes))
            .collect(),
    });
    let localities = localities.collect();
    Endpoints { localities, notes }
}

impl Endpoints {
    /// The nodes, each address once in each priority, in an order of their own.
    pub(super) fn nodes(&self, weigh_localities: bool) -> Vec<Node> {
        let mut weights: BTreeMap<(i32, &str, u16), u64> = BTreeMap::new();
        let total: u64 = self.localities.iter().map(|locality| u64::from(locality.weight)).sum();
        for locality in &self.localities {
            let sum: u64 = locality.nodes.iter().map(|node| u64::from(node.weight)).sum();
            for node in &locality.nodes {
                // A locality's weight is its share of all requests, spread over its endpoints.
                let weight = if weigh_localities && total > 0 {
                    (u64::from(node.weight) * u64::from(locality.weight) * 1000).div_ceil(sum.max(1))
                } else {
                    u64::from(node.weight)
                };
                // APISIX uses the last of several nodes with one address.
                *weights.entry((-node.priority, &node.host, node.port)).or_default() += weight;
            }
        }
        weights.retain(|_, weight| *weight > 0);
        let divisor = weights.values().fold(0, |a, b| gcd(a, *b)).max(1);
        let divisor = if weigh_localities { divisor } else { 1 };
        weights
            .into_iter()
            .map(|((rank, host, port), weight)| Node {
                priority: -rank,
                host: host.to_owned(),
                port,
                weight: u32::try_from((weight / divisor).clamp(1, MAX_WEIGHT)).unwrap_or(1),
            })
            .collect()
    }
}

fn node(endpoint: &LbEndpoint, priority: u32, notes: &mut Notes) -> Option<Node> {
    let Some(HostIdentifier::Endpoint(inner)) = &endpoint.host_identifier else {
        notes.not_expressible("endpoint_name", "the endpoint is named and not given", "the endpoint is left out");
        return None;
    };
    let mut rank = i32::try_from(priority).unwrap_or(i32::MAX / 2).saturating_mul(-2);
    match HealthStatus::try_from(endpoint.health_status).unwrap_or(HealthStatus::Unknown) {
        HealthStatus::Unhealthy | HealthStatus::Draining | HealthStatus::Timeout => return None,
        // Used when no healthy one of its priority can be reached.
        HealthStatus::Degraded => rank -= 1,
        HealthStatus::Unknown | HealthStatus::Healthy => {}
    }
    let weight = endpoint.load_balancing_weight.map_or(1, |weight| weight.value);
    if weight == 0 {
        return None;
    }
    let mut skip = |reason: &str| {
        notes.not_expressible("endpoint.address", reason, "the endpoint is left out");
        None
    };
    let address = match inner.address.as_ref().and_then(|address| address.address.as_ref()) {
        Some(Address::SocketAddress(address)) => address,
        Some(Address::Pipe(_)) => return skip("a Unix socket"),
        Some(Address::EnvoyInternalAddress(_)) => return skip("a listener inside Envoy"),
        None => return skip("no address"),
    };
    if address.protocol() != Protocol::Tcp {
        return skip("a UDP address");
    }
    let port = match &address.port_specifier {
        Some(PortSpecifier::PortValue(port)) => *port,
        Some(PortSpecifier::NamedPort(_)) => return skip("a named port"),
        None => 0,
    };
    match u16::try_from(port) {
        Ok(port) if port > 0 && !address.address.is_empty() => {
            Some(Node { priority: rank, host: address.address.clone(), port, weight })
        }
        _ => skip("no address or no port"),
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
