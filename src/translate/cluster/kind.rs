//! Kinds of clusters: where their endpoints come from.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, CustomClusterType, DiscoveryType};
use envoy_types::pb::envoy::extensions::clusters::aggregate::v3::ClusterConfig;
use envoy_types::pb::envoy::extensions::clusters::dns::v3::DnsCluster;

use super::super::endpoints::{self, Endpoints};
use super::super::report::Notes;
use super::transport::Transport;
use crate::envoy::{ResourceType, any, references};

/// What is said of an upstream that gets no nodes.
const NONE: &str = "the upstream has no nodes and answers 503";

/// Where the nodes come from.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::translate) enum Members {
    /// The cluster has them.
    Inline(Endpoints),
    /// The endpoints of this name.
    Eds(String),
    /// Other clusters, the preferred one first.
    Clusters(Vec<String>),
    /// Nowhere that APISIX knows of.
    None,
}

pub(super) fn take(cluster: &Cluster, transport: &Transport, notes: &mut Notes) -> Members {
    if let Some(reason) = transport.refusal() {
        notes.not_expressible("transport_socket", reason, NONE);
        return Members::None;
    }
    let kind = match &cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(*kind).unwrap_or(DiscoveryType::Static),
        Some(ClusterDiscoveryType::ClusterType(custom)) => return extension(cluster, custom, notes),
        None => DiscoveryType::Static,
    };
    match kind {
        DiscoveryType::Eds => references::endpoints(cluster).map_or_else(
            || {
                let reason = "endpoints from another source than this stream";
                notes.not_expressible("eds_cluster_config", reason, NONE);
                Members::None
            },
            Members::Eds,
        ),
        DiscoveryType::OriginalDst => {
            let reason = "APISIX cannot send a request to the address that the client had asked for";
            notes.not_expressible("type", reason, NONE);
            Members::None
        }
        DiscoveryType::StrictDns => {
            notes.approximate("type", "APISIX uses one address of a name at a time", "as LOGICAL_DNS");
            inline(cluster)
        }
        DiscoveryType::Static | DiscoveryType::LogicalDns => inline(cluster),
    }
}

fn inline(cluster: &Cluster) -> Members {
    let notes = Notes::of(ResourceType::Cluster, &cluster.name);
    Members::Inline(endpoints::take(&cluster.load_assignment.clone().unwrap_or_default(), notes))
}

/// Kinds that are extensions of Envoy.
fn extension(cluster: &Cluster, custom: &CustomClusterType, notes: &mut Notes) -> Members {
    let config = custom.typed_config.as_ref();
    if let Some(aggregate) = config.and_then(any::unpack::<ClusterConfig>) {
        notes.approximate("cluster_type", "APISIX goes to the next level by a try that failed", "one level a cluster");
        return Members::Clusters(aggregate.clusters);
    }
    if let Some(dns) = config.and_then(any::unpack::<DnsCluster>) {
        if !dns.all_addresses_in_single_endpoint {
            notes.approximate("cluster_type", "APISIX uses one address of a name at a time", "as LOGICAL_DNS");
        }
        return inline(cluster);
    }
    let reason = format!("clusters of the type {} have no equal", custom.name);
    notes.not_expressible("cluster_type", &reason, NONE);
    Members::None
}
