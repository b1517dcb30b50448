//! Endpoints: the nodes of an upstream.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::socket_address::{PortSpecifier, Protocol};
use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Metadata};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LbEndpoint};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use serde_json::json;

use super::bounds;
use super::report::Notes;
use crate::apisix::Node;

/// Largest weight of a node, which keeps APISIX's arithmetic exact.
const MAX_WEIGHT: u64 = 1 << 20;

/// Labels by which a cluster chooses among transport sockets, or subsets: names, and values as JSON.
pub(super) type Labels = BTreeMap<String, String>;

/// Endpoints in the terms of APISIX, before it is known whether localities are weighted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Endpoints {
    localities: Vec<Locality>,
    /// Every set of labels for transport sockets that an endpoint has.
    labels: BTreeSet<Labels>,
    /// How much of the requests is dropped, in percent.
    pub(super) dropped: u32,
    pub(super) notes: Notes,
}

#[derive(Clone, Debug, PartialEq)]
struct Locality {
    weight: u32,
    nodes: Vec<Member>,
}

#[derive(Clone, Debug, PartialEq)]
struct Member {
    node: Node,
    /// Labels for subsets, which few endpoints have.
    subset: Option<Box<Labels>>,
}

/// Takes the endpoints of a cluster apart. What is wrong is noted in `notes`.
pub(super) fn take(assignment: &ClusterLoadAssignment, mut notes: Notes) -> Endpoints {
    let dropped = bounds::dropped(assignment.policy.as_ref(), &mut notes);
    if !assignment.named_endpoints.is_empty() {
        notes.approximate("named_endpoints", "endpoints that are not part of a locality", "they are left out");
    }
    let mut labels = BTreeSet::new();
    let mut localities = Vec::new();
    for locality in &assignment.endpoints {
        let mut nodes = Vec::new();
        for endpoint in &locality.lb_endpoints {
            let Some(node) = node(endpoint, locality.priority, &mut notes) else { continue };
            labels.insert(metadata(TRANSPORT, endpoint.metadata.as_ref()));
            let subset = metadata(SUBSET, endpoint.metadata.as_ref());
            nodes.push(Member { node, subset: (!subset.is_empty()).then(|| Box::new(subset)) });
        }
        if locality.lb_config.is_some() {
            let reason = "endpoints that are found in another way than being listed";
            notes.not_expressible("endpoints.lb_config", reason, "they are left out");
        }
        localities.push(Locality { weight: locality.load_balancing_weight.map_or(0, |weight| weight.value), nodes });
    }
    Endpoints { localities, labels, dropped, notes }
}

/// Key of the metadata by which transport sockets are chosen.
const TRANSPORT: &str = "envoy.transport_socket_match";
/// Key of the metadata by which subsets are made.
const SUBSET: &str = "envoy.lb";

fn metadata(key: &str, metadata: Option<&Metadata>) -> Labels {
    metadata.and_then(|metadata| metadata.filter_metadata.get(key)).map(labels_of).unwrap_or_default()
}

/// The labels that a structure is. Lists and structures in it are no labels.
pub(super) fn labels_of(fields: &Struct) -> Labels {
    let label = |value: &Value| match &value.kind {
        Some(Kind::StringValue(text)) => json!(text).to_string(),
        Some(Kind::NumberValue(number)) => json!(number).to_string(),
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::NullValue(_) | Kind::ListValue(_) | Kind::StructValue(_)) | None => "null".to_owned(),
    };
    fields.fields.iter().map(|(name, value)| (name.clone(), label(value))).collect()
}

impl Endpoints {
    /// Every set of labels for transport sockets that an endpoint has.
    pub(super) fn labels(&self) -> impl Iterator<Item = &Labels> {
        self.labels.iter()
    }

    /// The nodes that have the labels of a subset, each address once in each priority, in an order of their own.
    pub(super) fn nodes(&self, weigh_localities: bool, subset: &Labels) -> Vec<Node> {
        let fits = |member: &&Member| {
            let has = |(name, value): (&String, &String)| {
                member.subset.as_ref().is_some_and(|labels| labels.get(name) == Some(value))
            };
            subset.iter().all(has)
        };
        let mut weights: BTreeMap<(i32, &str, u16), u64> = BTreeMap::new();
        let total: u64 = self.localities.iter().map(|locality| u64::from(locality.weight)).sum();
        for locality in &self.localities {
            let nodes: Vec<_> = locality.nodes.iter().filter(fits).map(|member| &member.node).collect();
            let sum: u64 = nodes.iter().map(|node| u64::from(node.weight)).sum();
            for node in nodes {
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
    if inner.health_check_config.as_ref().is_some_and(|config| config.port_value != 0) {
        let reason = "APISIX probes all nodes at one port, or each at its own";
        notes.approximate("endpoint.health_check_config.port_value", reason, "the port of the endpoint is probed");
    }
    let mut skip = |reason: &str| {
        notes.not_expressible("endpoint.address", reason, "the endpoint is left out");
        None
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
