//! Clusters: upstreams without their nodes.

mod health;
mod kind;
mod policy;
mod protocol;
mod subset;
mod transport;

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::cluster::v3::Cluster as EnvoyCluster;

use super::bounds::{self, Bounds};
use super::endpoints::Endpoints;
use super::ids;
use super::report::{Entry, Notes};
use super::secret::Pair;
use super::tls::Given;
use crate::apisix::upstream::Timeout;
use crate::apisix::{Node, Upstream};
use crate::envoy::ResourceType;
pub(super) use kind::Members;
use policy::Policy;
use subset::Subsets;
use transport::Transport;

/// Envoy's own times for what a cluster or route does not say, in seconds.
pub(super) const CONNECT_TIMEOUT: f64 = 5.0;
/// See [`CONNECT_TIMEOUT`].
pub(super) const ROUTE_TIMEOUT: f64 = 15.0;

/// A cluster in the terms of APISIX.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cluster {
    upstream: Upstream,
    members: Members,
    policy: Policy,
    subsets: Option<Subsets>,
    transport: Transport,
    /// Whether it speaks HTTP/2 to its endpoints.
    http2: bool,
    /// Most requests at once.
    at_once: Option<u32>,
    notes: Notes,
}

impl Cluster {
    /// The name of the endpoints that the cluster needs.
    pub(super) fn eds_name(&self) -> Option<&str> {
        match &self.members {
            Members::Eds(name) => Some(name),
            Members::Inline(_) | Members::Clusters(_) | Members::None => None,
        }
    }

    /// The clusters that it is put together of, the preferred one first.
    pub(super) fn parts(&self) -> &[String] {
        match &self.members {
            Members::Clusters(names) => names,
            Members::Inline(_) | Members::Eds(_) | Members::None => &[],
        }
    }

    /// What it presents to its endpoints.
    pub(super) fn client_certificate(&self) -> Option<&Given<Pair>> {
        self.transport.client_certificate()
    }

    /// What is not expressed exactly, of the cluster and of the endpoints that are part of it.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        let inline = match &self.members {
            Members::Inline(endpoints) => endpoints.notes.entries(),
            Members::Eds(_) | Members::Clusters(_) | Members::None => &[],
        };
        self.notes.entries().iter().chain(inline)
    }

    /// Whether requests with the same hash go to the same endpoint, where a route says what is hashed.
    pub(super) fn hashes(&self) -> bool {
        self.policy.hashed
    }

    /// The nodes with the metadata of a subset, with `endpoints` as far as the cluster needs them. What they make
    /// inexact is noted.
    pub(super) fn nodes(
        &self,
        subset: &BTreeMap<String, String>,
        endpoints: Option<&Endpoints>,
        notes: &mut Notes,
    ) -> Vec<Node> {
        let Some(endpoints) = self.endpoints(endpoints) else { return Vec::new() };
        if self.transport.tls(endpoints).is_none() {
            let reason = "its endpoints speak plain text and TLS, or forms of TLS, and an upstream has one";
            notes.not_expressible("transport_socket_matches", reason, "the upstream has no nodes and answers 503");
            return Vec::new();
        }
        match &self.subsets {
            // Where there are no subsets, a route cannot ask for one.
            None => endpoints.nodes(self.policy.weigh_localities, &BTreeMap::new()),
            Some(subsets) => subsets.nodes(subset, |subset| endpoints.nodes(self.policy.weigh_localities, subset)),
        }
    }

    /// What is asked of the routes to it, with `endpoints` as far as the cluster needs them.
    pub(super) fn bounds(&self, endpoints: Option<&Endpoints>) -> Bounds {
        let dropped = self.endpoints(endpoints).map_or(0, |endpoints| endpoints.dropped);
        Bounds { at_once: self.at_once, dropped, http2: self.http2 }
    }

    fn endpoints<'a>(&'a self, given: Option<&'a Endpoints>) -> Option<&'a Endpoints> {
        match &self.members {
            Members::Inline(endpoints) => Some(endpoints),
            Members::Eds(_) => given,
            Members::Clusters(_) | Members::None => None,
        }
    }

    /// The upstream with these nodes. `endpoints` tell which transport is used.
    pub(super) fn upstream(&self, nodes: Vec<Node>, endpoints: Option<&Endpoints>) -> Upstream {
        let tls = self.endpoints(endpoints).and_then(|endpoints| self.transport.tls(endpoints));
        let tls = tls.unwrap_or_else(|| self.transport.is_tls());
        let scheme = match (self.http2, tls) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "grpc",
            (true, true) => "grpcs",
        };
        let retries = tries_to_reach_all_levels(&nodes);
        Upstream { nodes, retries, scheme, ..self.upstream.clone() }
    }
}

/// Takes a cluster apart.
pub(super) fn take(cluster: &EnvoyCluster) -> Cluster {
    let mut notes = Notes::of(ResourceType::Cluster, &cluster.name);
    let connect = cluster.connect_timeout.as_ref().map(super::action::seconds).filter(|seconds| *seconds > 0.0);
    let timeout = Timeout { connect: connect.unwrap_or(CONNECT_TIMEOUT), send: ROUTE_TIMEOUT, read: ROUTE_TIMEOUT };
    let options = protocol::options(cluster);
    let policy = policy::take(cluster, &mut notes);
    let transport = transport::take(cluster, options.as_ref(), &mut notes);
    let upstream = Upstream {
        id: ids::upstream(&cluster.name),
        name: ids::name(&cluster.name),
        labels: ids::labels([("xds_cluster", &cluster.name)]),
        algorithm: policy.algorithm,
        timeout,
        keepalive_pool: protocol::keepalive(cluster, options.as_ref()),
        checks: health::take(cluster, transport.is_tls(), &mut notes),
        ..Upstream::default()
    };
    let http2 = protocol::http2(cluster, options.as_ref(), &mut notes);
    let at_once = bounds::at_once(cluster, http2, &mut notes);
    protocol::note_others(cluster, &mut notes);
    let members = kind::take(cluster, &transport, &mut notes);
    let subsets = subset::take(cluster);
    Cluster { upstream, members, policy, subsets, transport, http2, at_once, notes }
}

/// Tries after the first that are needed to get from the first level of priority to the last: APISIX goes to the next
/// level only by a try. None with one level, where it would repeat what Envoy does not.
fn tries_to_reach_all_levels(nodes: &[Node]) -> u32 {
    let last = nodes.iter().map(|node| node.priority).min();
    let above = nodes.iter().filter(|node| Some(node.priority) != last).count();
    u32::try_from(above).unwrap_or(u32::MAX)
}
