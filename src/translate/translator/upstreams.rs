//! Upstreams, made of clusters and what these are made of.

use std::collections::{BTreeMap, BTreeSet};

use super::object::object;
use super::{Made, Source, Translator};
use crate::apisix::upstream::{ClientCertificate, Timeout};
use crate::apisix::{Kind, Node, Object, ObjectKey, Ssl, Upstream};
use crate::envoy::ResourceType;
use crate::translate::cluster::{CONNECT_TIMEOUT, Cluster, ROUTE_TIMEOUT};
use crate::translate::derived::Target;
use crate::translate::endpoints::{Endpoints, Labels};
use crate::translate::ids;
use crate::translate::report::Notes;
use crate::translate::secret::{Pair, Secret};
use crate::translate::tls::Given;

/// Most clusters that one can be put together of, over all levels.
const MAX_PARTS: usize = 1000;

/// Most levels. Without a bound a chain costs the square of its length, as each of its clusters is made of all below it.
pub(super) const MAX_DEPTH: usize = 16;

/// Lowest priority of a node. APISIX takes any number, and arithmetic stays far from the bounds of its own.
const LOWEST: i32 = -1_000_000;

impl Translator {
    pub(super) fn make_upstream(&mut self, name: &str, before: &mut BTreeMap<ObjectKey, Option<Object>>) {
        let mut made = Made::default();
        let mut objects = Vec::new();
        let of = (ResourceType::Cluster, name);
        let mut notes = Notes::of(of.0, of.1);
        let mut targets: BTreeSet<Target> =
            self.targets.get(name).map(|targets| targets.keys().cloned().collect()).unwrap_or_default();
        let cluster = self.clusters.get(name);
        let mut presented = None;
        if let Some(cluster) = cluster {
            made.entries.extend(cluster.entries().cloned());
            let endpoints = self.endpoints_of(cluster);
            made.entries.extend(endpoints.into_iter().flat_map(|endpoints| endpoints.notes.entries()).cloned());
            targets.insert(Target::plain(name));
            if let Some(pair) = self.client_certificate(name, cluster, &mut notes) {
                let id = ids::id([b"client certificate".as_ref(), name.as_bytes()]);
                let ssl = Ssl::client(id, ids::labels([("xds_cluster", name)]), pair.cert.clone(), pair.key.clone());
                let ssl = object((Kind::Ssl, &ssl.id), &ssl, of, self.options.apisix, &mut made.entries);
                presented = ssl.as_ref().map(|ssl| ClientCertificate { client_cert_id: ssl.key.id.clone() });
                objects.extend(ssl);
            }
        }
        for target in targets {
            let upstream = match cluster {
                Some(cluster) => {
                    let nodes = self.nodes(name, &target.difference.subset, &mut notes);
                    let upstream = cluster.upstream(nodes, self.endpoints_of(cluster));
                    let upstream = target.difference.apply(&target, upstream, cluster.hashes());
                    Upstream { tls: presented.clone(), ..upstream }
                }
                None => target.difference.apply(&target, unknown(name), false),
            };
            objects.extend(object(
                (Kind::Upstream, &upstream.id),
                &upstream,
                of,
                self.options.apisix,
                &mut made.entries,
            ));
        }
        made.entries.extend_from_slice(notes.entries());
        self.replace(Source::Cluster(name.to_owned()), made, objects, before);
    }

    pub(super) fn endpoints_of(&self, cluster: &Cluster) -> Option<&Endpoints> {
        cluster.eds_name().and_then(|name| self.endpoints.get(name))
    }

    /// The nodes of a cluster with the metadata of a subset; those of its parts, if it is put together of others, with
    /// each part below the one before it.
    pub(super) fn nodes(&self, name: &str, subset: &Labels, notes: &mut Notes) -> Vec<Node> {
        let mut parts = Vec::new();
        self.collect_parts(name, 0, &mut BTreeSet::new(), &mut parts, notes);
        let mut nodes: BTreeMap<(i32, String, u16), u32> = BTreeMap::new();
        let mut top = 0;
        for part in parts {
            let mut lowest = 0;
            for node in part.nodes(subset, self.endpoints_of(part), notes) {
                lowest = lowest.min(node.priority);
                let weight = nodes.entry((-(node.priority + top).max(LOWEST), node.host, node.port)).or_default();
                *weight = weight.saturating_add(node.weight);
            }
            top = (top + lowest - 2).max(LOWEST);
        }
        let node =
            |((rank, host, port), weight): ((i32, String, u16), u32)| Node { priority: -rank, host, port, weight };
        nodes.into_iter().map(node).collect()
    }

    /// The clusters that have endpoints of their own among those that a cluster is put together of, each once.
    fn collect_parts<'a>(
        &'a self,
        name: &str,
        depth: usize,
        seen: &mut BTreeSet<String>,
        parts: &mut Vec<&'a Cluster>,
        notes: &mut Notes,
    ) {
        let Some(cluster) = self.clusters.get(name) else { return };
        if !seen.insert(name.to_owned()) || seen.len() > MAX_PARTS || depth > MAX_DEPTH {
            let reason = "a cluster that it is put together of comes twice, or there are too many, or too many levels";
            notes.not_expressible("cluster_type", reason, "what comes later is left out");
            return;
        }
        if cluster.parts().is_empty() {
            parts.push(cluster);
        }
        for part in cluster.parts() {
            self.collect_parts(part, depth + 1, seen, parts, notes);
        }
    }

    /// The certificate that a cluster presents, if it is at hand.
    fn client_certificate<'a>(&'a self, name: &str, cluster: &'a Cluster, notes: &mut Notes) -> Option<&'a Pair> {
        let missing = match cluster.client_certificate()? {
            Given::Inline(pair) => return Some(pair),
            Given::Elsewhere(reason) => reason.clone(),
            Given::Secret(secret) => match self.secrets.get(secret) {
                Some(Secret::Certificate(Ok(pair))) => return Some(pair),
                Some(Secret::Certificate(Err(reason))) => reason.clone(),
                Some(Secret::Authority(_) | Secret::Other) => format!("the secret {secret} is no certificate"),
                None => format!("the secret {secret} of cluster {name} has not come"),
            },
        };
        notes.not_expressible("transport_socket.tls_certificates", &missing, "backends are shown no certificate");
        None
    }
}

/// The upstream of a cluster that is named and not known: Envoy answers 503 for it, as APISIX does without nodes.
fn unknown(cluster: &str) -> Upstream {
    Upstream {
        id: ids::upstream(cluster),
        name: ids::name(cluster),
        labels: ids::labels([("xds_cluster", cluster)]),
        algorithm: "roundrobin",
        scheme: "http",
        timeout: Timeout { connect: CONNECT_TIMEOUT, send: ROUTE_TIMEOUT, read: ROUTE_TIMEOUT },
        ..Upstream::default()
    }
}
