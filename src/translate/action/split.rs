//! Clusters among which requests are split.

use envoy_types::pb::envoy::config::route::v3::WeightedCluster;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::cluster_weight::HostRewriteSpecifier;

use super::{Refusal, rewrite, subset};
use crate::translate::derived::{Difference, Host, Target};
use crate::translate::report::Notes;

/// Most clusters among which APISIX splits.
const MAX: usize = 20;

/// The clusters with their weights, each as different from its own upstream as `difference` says and its entry.
pub(super) fn targets(
    weighted: &WeightedCluster,
    difference: &Difference,
    notes: &mut Notes,
) -> Result<Vec<(Target, u32)>, Refusal> {
    let mut targets: Vec<(Target, u32)> = Vec::new();
    for entry in used(weighted) {
        if entry.name.is_empty() {
            return Err(("weighted_clusters", "a cluster that is named by a header of each request".into()));
        }
        let mut difference = difference.clone();
        match &entry.host_rewrite_specifier {
            None => {}
            Some(HostRewriteSpecifier::HostRewriteLiteral(host)) if rewrite::is_host(host) => {
                difference.host = Some(Host::Name(host.clone()));
            }
            Some(HostRewriteSpecifier::HostRewriteLiteral(_)) => {
                let reason = "APISIX takes no such host";
                notes.not_expressible("weighted_clusters.host_rewrite", reason, "the client's host is passed on");
            }
        }
        subset(entry.metadata_match.as_ref(), &mut difference);
        let target = Target { cluster: entry.name.clone(), difference };
        let weight = entry.weight.map_or(0, |weight| weight.value);
        // APISIX takes the last of two weights of one upstream.
        match targets.iter_mut().find(|(other, _)| *other == target) {
            Some((_, sum)) => *sum = sum.saturating_add(weight),
            None => targets.push((target, weight)),
        }
    }
    if targets.is_empty() {
        return Err(("weighted_clusters", "every weight is zero".into()));
    }
    if targets.len() > MAX {
        return Err(("weighted_clusters", format!("APISIX splits among {MAX} clusters at most")));
    }
    Ok(targets)
}

/// The clusters that get requests: APISIX splits evenly if every weight is zero.
fn used(weighted: &WeightedCluster) -> impl Iterator<Item = &ClusterWeight> {
    weighted.clusters.iter().filter(|entry| entry.weight.is_some_and(|weight| weight.value > 0))
}

/// What stands for all clusters that get requests, if their headers and filters are the same. With one cluster, or
/// several that are alike, it is as good as a part of the route.
pub(in crate::translate) fn common(weighted: &WeightedCluster) -> Option<&ClusterWeight> {
    let first = used(weighted).next()?;
    let alike = |entry: &ClusterWeight| {
        entry.request_headers_to_add == first.request_headers_to_add
            && entry.request_headers_to_remove == first.request_headers_to_remove
            && entry.response_headers_to_add == first.response_headers_to_add
            && entry.response_headers_to_remove == first.response_headers_to_remove
            && entry.typed_per_filter_config == first.typed_per_filter_config
    };
    used(weighted).all(alike).then_some(first)
}
