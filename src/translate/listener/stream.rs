//! Connections that are passed on as they are: TCP proxies.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::listener::v3::{FilterChain, FilterChainMatch, Listener};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::ClusterSpecifier;

use super::super::filters::Filter;
use super::super::report::Notes;

/// Most clusters among which APISIX splits.
const MAX_SPLIT: usize = 20;

/// What is said of connections that are not passed on.
const CLOSED: &str = "its connections are not served";

/// Connections of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Stream {
    /// The chain's place in the listener, for an id that is its own.
    pub(in crate::translate) chain: String,
    pub(in crate::translate) port: u32,
    /// Names in the handshake; none for any connection.
    pub(in crate::translate) names: Vec<String>,
    /// Networks that clients must be in; none for any client.
    pub(in crate::translate) sources: Vec<String>,
    /// Clusters with their weights.
    pub(in crate::translate) clusters: Vec<(String, u32)>,
}

/// The connections of a chain that ends in a TCP proxy. None, with a note, if they cannot be passed on.
pub(super) fn take(
    listener: &Listener,
    chain: &FilterChain,
    proxy: &TcpProxy,
    port: Option<u32>,
    guards: &BTreeMap<String, Filter>,
    notes: &mut Notes,
) -> Option<Stream> {
    let mut refuse = |field: &str, reason: &str| {
        notes.not_expressible(field, reason, CLOSED);
        None
    };
    if let Some(name) = guards.keys().next() {
        return refuse("filter_chains.filters", &format!("the filter {name} protects it and is not translated"));
    }
    let Some(port) = port else { return refuse("address", "APISIX serves connections of a port") };
    let found = chain.filter_chain_match.clone().unwrap_or_default();
    let rest = FilterChainMatch {
        server_names: Vec::new(),
        source_prefix_ranges: Vec::new(),
        transport_protocol: String::new(),
        destination_port: None,
        ..found.clone()
    };
    if rest != FilterChainMatch::default() {
        return refuse("filter_chains.filter_chain_match", "the chain is chosen by something that APISIX does not see");
    }
    if chain.transport_socket.is_none() && (!found.server_names.is_empty() || found.transport_protocol == "tls") {
        return refuse("filter_chain_match.server_names", "APISIX sees names only where it ends TLS itself");
    }
    let alone = listener.filter_chains.len() + usize::from(listener.default_filter_chain.is_some()) == 1;
    if !alone && (found.server_names.is_empty() || !found.source_prefix_ranges.is_empty()) {
        return refuse("filter_chains", "APISIX does not order the chains of a port, but for their server names");
    }
    if proxy.tunneling_config.is_some() {
        return refuse("tcp_proxy.tunneling_config", "APISIX does not put connections into HTTP");
    }
    let clusters = match proxy.cluster_specifier.as_ref()? {
        ClusterSpecifier::Cluster(name) => vec![(name.clone(), 1)],
        ClusterSpecifier::WeightedClusters(weighted) => {
            let mut sums: BTreeMap<&str, u32> = BTreeMap::new();
            for cluster in weighted.clusters.iter().filter(|cluster| cluster.weight > 0) {
                let sum = sums.entry(&cluster.name).or_default();
                *sum = sum.saturating_add(cluster.weight);
            }
            sums.into_iter().map(|(name, weight)| (name.to_owned(), weight)).collect()
        }
    };
    if clusters.is_empty() || clusters.len() > MAX_SPLIT {
        return refuse("tcp_proxy.weighted_clusters", "no cluster, or more than APISIX splits among");
    }
    if clusters.len() > 1 {
        let reason = "APISIX splits by turns, and its older versions not at all for connections";
        notes.approximate("tcp_proxy.weighted_clusters", reason, "by turns");
    }
    if !proxy.hash_policy.is_empty() {
        notes.not_expressible("tcp_proxy.hash_policy", "not translated", "connections are spread over all endpoints");
    }
    let place = listener.filter_chains.iter().position(|other| std::ptr::eq(other, chain));
    let chain_name = match place {
        _ if !chain.name.is_empty() => format!("name {}", chain.name),
        Some(place) => format!("place {place}"),
        None => "default".to_owned(),
    };
    let sources = found.source_prefix_ranges.iter().map(super::chain::network).collect();
    Some(Stream { chain: chain_name, port, names: found.server_names, sources, clusters })
}
