//! Subsets: the endpoints with the metadata that a route asks for.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::lb_subset_config::LbSubsetFallbackPolicy;

use super::super::endpoints::{Labels, labels_of};
use crate::apisix::Node;

/// How a cluster is divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subsets {
    /// Sets of names by which there are subsets.
    selectors: Vec<BTreeSet<String>>,
    /// Labels of the endpoints that are used where there is no such subset; none for no endpoints.
    otherwise: Option<Labels>,
}

pub(super) fn take(cluster: &Cluster) -> Option<Subsets> {
    let config = cluster.lb_subset_config.as_ref()?;
    let selectors = config.subset_selectors.iter().map(|selector| selector.keys.iter().cloned().collect()).collect();
    let otherwise = match config.fallback_policy() {
        LbSubsetFallbackPolicy::NoFallback => None,
        LbSubsetFallbackPolicy::AnyEndpoint => Some(Labels::new()),
        LbSubsetFallbackPolicy::DefaultSubset => config.default_subset.as_ref().map(labels_of),
    };
    Some(Subsets { selectors, otherwise })
}

impl Subsets {
    /// The nodes for requests that ask for `wanted`, where `with` gives those with some labels.
    pub(super) fn nodes(&self, wanted: &Labels, with: impl Fn(&Labels) -> Vec<Node>) -> Vec<Node> {
        let names: BTreeSet<_> = wanted.keys().cloned().collect();
        if self.selectors.contains(&names) {
            let nodes = with(wanted);
            if !nodes.is_empty() {
                return nodes;
            }
        }
        self.otherwise.as_ref().map_or_else(Vec::new, with)
    }
}
