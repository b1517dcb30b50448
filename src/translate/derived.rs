//! Upstreams that routes need in a form of their own.
//!
//! APISIX keeps in an upstream some of what Envoy keeps in a route: how often to try again, what to hash by, which host
//! a backend is told. So a route names a [`Target`], a cluster and a [`Difference`], and each that is named becomes an
//! upstream: with the nodes of the cluster, and different only in what the difference says.

use std::collections::BTreeMap;

use super::ids;
use crate::apisix::Upstream;

/// A cluster as a route uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    /// Name of the cluster.
    pub(super) cluster: String,
    /// What is different from the cluster's own upstream.
    pub(super) difference: Difference,
}

/// What is different from a cluster's own upstream. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Difference {
    /// Further tries after a failed one; more if the cluster has levels of priority to get through.
    pub(super) retries: Option<u32>,
    /// Milliseconds after which no further try begins.
    pub(super) retry_time: Option<u64>,
    /// What requests are hashed by, if the cluster's policy hashes at all.
    pub(super) hash: Option<HashKey>,
    /// What keeps requests at one backend, whatever the cluster's policy.
    pub(super) session: Option<HashKey>,
    /// The host that a backend is told, if not the client's.
    pub(super) host: Option<Host>,
    /// Only endpoints with this metadata (of `envoy.lb`), if the cluster has subsets: names and values as JSON.
    pub(super) subset: BTreeMap<String, String>,
    /// Whether connections are passed on as they are, rather than requests.
    pub(super) stream: bool,
}

/// What requests are hashed by, in APISIX's terms.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HashKey {
    /// `vars`, `header`, `cookie` or `vars_combinations`.
    pub(super) on: &'static str,
    /// Name of the variable, header or cookie, or variables after dollar signs.
    pub(super) key: String,
}

/// A host that a backend is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Host {
    /// The name of the backend.
    Node,
    /// This one.
    Name(String),
}

impl Target {
    /// A cluster as it is.
    pub(super) fn plain(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), difference: Difference::default() }
    }

    /// The id of the upstream.
    pub(super) fn id(&self) -> String {
        let difference = self.difference.parts();
        if difference.is_empty() {
            return ids::upstream(&self.cluster);
        }
        let parts = [b"upstream".to_vec(), self.cluster.clone().into_bytes()];
        let parts: Vec<_> = parts.into_iter().chain(difference.into_iter().map(String::into_bytes)).collect();
        ids::id(parts.iter().map(Vec::as_slice))
    }
}

impl Difference {
    /// What is different, in texts that do not change when there is more that can be different.
    fn parts(&self) -> Vec<String> {
        let retries = self.retries.map(|retries| format!("retries={retries}"));
        let time = self.retry_time.map(|time| format!("retry_time={time}"));
        let hash = self.hash.as_ref().map(|hash| format!("hash={}={}", hash.on, hash.key));
        let session = self.session.as_ref().map(|hash| format!("session={}={}", hash.on, hash.key));
        let host = self.host.as_ref().map(|host| match host {
            Host::Node => "host_of_node".to_owned(),
            Host::Name(name) => format!("host={name}"),
        });
        let subset = self.subset.iter().map(|(name, value)| format!("subset={name}={value}"));
        let stream = self.stream.then(|| "stream".to_owned());
        [retries, time, hash, session, host, stream].into_iter().flatten().chain(subset).collect()
    }

    /// Makes an upstream of a cluster different; but for its subset, as only the cluster's own code knows the metadata
    /// of endpoints. `hashes` tells whether the cluster's policy is one that hashes.
    pub(super) fn apply(&self, target: &Target, mut upstream: Upstream, hashes: bool) -> Upstream {
        upstream.id = target.id();
        if let Some(retries) = self.retries {
            upstream.retries = upstream.retries.max(retries);
        }
        if let Some(milliseconds) = self.retry_time {
            #[expect(clippy::cast_precision_loss, reason = "times of configurations are far below 2^52 milliseconds")]
            let seconds = milliseconds as f64 / 1e3;
            upstream.retry_timeout = Some(seconds);
        }
        if let Some(hash) = self.session.as_ref().or(self.hash.as_ref().filter(|_| hashes)) {
            upstream.algorithm = "chash";
            upstream.hash_on = Some(hash.on);
            upstream.key = Some(hash.key.clone());
        }
        if self.stream {
            upstream.scheme = if matches!(upstream.scheme, "https" | "grpcs") { "tls" } else { "tcp" };
        }
        match &self.host {
            None => {}
            Some(Host::Name(name)) => {
                upstream.pass_host = Some("rewrite");
                upstream.upstream_host = Some(name.clone());
            }
            Some(Host::Node) => {
                // APISIX adds the port to the name of a node, which Envoy does not.
                let mut names = upstream.nodes.iter().map(|node| &node.host);
                let first = names.next().filter(|first| names.all(|other| other == *first));
                match first.filter(|host| !host.contains(':')).cloned() {
                    Some(host) => {
                        upstream.pass_host = Some("rewrite");
                        upstream.upstream_host = Some(host);
                    }
                    None => upstream.pass_host = Some("node"),
                }
            }
        }
        upstream
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apisix::Node;

    #[test]
    fn ids_tell_differences_apart_and_nothing_is_the_cluster_itself() {
        let with = |change: fn(&mut Difference)| {
            let mut target = Target::plain("c");
            change(&mut target.difference);
            target.id()
        };
        assert_eq!(Target::plain("c").id(), ids::upstream("c"));
        let all = [
            with(|_| {}),
            with(|d| d.retries = Some(0)),
            with(|d| d.retries = Some(2)),
            with(|d| d.retry_time = Some(2)),
            with(|d| d.host = Some(Host::Node)),
            with(|d| d.host = Some(Host::Name("h".into()))),
            with(|d| d.hash = Some(HashKey { on: "header", key: "x".into() })),
            with(|d| d.session = Some(HashKey { on: "header", key: "x".into() })),
            with(|d| drop(d.subset.insert("v".into(), "\"1\"".into()))),
            Target::plain("d").id(),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn an_upstream_is_changed_only_where_it_is_different() {
        let node = |host: &str| Node { priority: 0, host: host.into(), port: 80, weight: 1 };
        let base = Upstream { algorithm: "roundrobin", retries: 1, nodes: vec![node("a.test")], ..Upstream::default() };
        let apply = |difference: Difference, base: &Upstream, hashes| {
            let target = Target { cluster: "c".into(), difference };
            target.difference.apply(&target, base.clone(), hashes)
        };
        let hash = Difference {
            hash: Some(HashKey { on: "header", key: "x".into() }),
            retries: Some(0),
            ..Difference::default()
        };
        let hashed = apply(hash.clone(), &base, true);
        assert_eq!((hashed.algorithm, hashed.hash_on, hashed.retries), ("chash", Some("header"), 1));
        assert_eq!(apply(hash, &base, false).algorithm, "roundrobin", "a policy that does not hash stays as it is");
        let node_host = Difference { host: Some(Host::Node), retry_time: Some(1500), ..Difference::default() };
        let named = apply(node_host.clone(), &base, false);
        assert_eq!((named.pass_host, named.upstream_host.as_deref()), (Some("rewrite"), Some("a.test")));
        assert_eq!(named.retry_timeout, Some(1.5));
        let several = Upstream { nodes: vec![node("a.test"), node("b.test")], ..base };
        assert_eq!(apply(node_host, &several, false).pass_host, Some("node"));
    }
}
