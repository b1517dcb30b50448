//! Clusters: upstreams without their nodes.

use envoy_types::pb::envoy::config::cluster::v3::Cluster as EnvoyCluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::common_lb_config::LocalityConfigSpecifier;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, LbPolicy};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;

use super::derived::Target;
use super::endpoints::{self, Endpoints};
use super::ids;
use super::report::{Entry, Notes};
use crate::apisix::upstream::{KeepalivePool, Timeout};
use crate::apisix::{Node, Upstream};
use crate::envoy::{ResourceType, any, references};

/// Envoy's own times for what a cluster or route does not say, in seconds.
pub(super) const CONNECT_TIMEOUT: f64 = 5.0;
/// See [`CONNECT_TIMEOUT`].
pub(super) const ROUTE_TIMEOUT: f64 = 15.0;

/// A cluster in the terms of APISIX.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cluster {
    upstream: Upstream,
    nodes: Source,
    weigh_localities: bool,
    /// Whether the policy chooses a backend by a hash of the request.
    hashes: bool,
    notes: Notes,
}

/// Where the nodes come from.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    Inline(Endpoints),
    /// The endpoints of this name.
    Eds(String),
    /// Nowhere that APISIX knows of.
    None,
}

impl Cluster {
    /// The name of the endpoints that the cluster needs.
    pub(super) fn eds_name(&self) -> Option<&str> {
        match &self.nodes {
            Source::Eds(name) => Some(name),
            Source::Inline(_) | Source::None => None,
        }
    }

    /// What is not expressed exactly, of the cluster and of the endpoints that are part of it.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        let inline = match &self.nodes {
            Source::Inline(endpoints) => endpoints.notes.entries(),
            Source::Eds(_) | Source::None => &[],
        };
        self.notes.entries().iter().chain(inline)
    }

    /// The upstream for `target`, with `endpoints` as far as the cluster needs them.
    pub(super) fn upstream(&self, target: &Target, endpoints: Option<&Endpoints>) -> Upstream {
        let nodes = match &self.nodes {
            Source::Inline(endpoints) => endpoints.nodes(self.weigh_localities),
            Source::Eds(_) => endpoints.map_or_else(Vec::new, |endpoints| endpoints.nodes(self.weigh_localities)),
            Source::None => Vec::new(),
        };
        let retries = tries_to_reach_all_levels(&nodes);
        let upstream = Upstream { nodes, retries, ..self.upstream.clone() };
        target.difference.apply(target, upstream, self.hashes)
    }
}

/// Takes a cluster apart.
pub(super) fn take(cluster: &EnvoyCluster) -> Cluster {
    let mut notes = Notes::of(ResourceType::Cluster, &cluster.name);
    let connect = cluster.connect_timeout.as_ref().map(super::action::seconds).filter(|seconds| *seconds > 0.0);
    let timeout = Timeout { connect: connect.unwrap_or(CONNECT_TIMEOUT), send: ROUTE_TIMEOUT, read: ROUTE_TIMEOUT };
    let (algorithm, hashes) = algorithm(cluster, &mut notes);
    let upstream = Upstream {
        id: ids::upstream(&cluster.name),
        name: ids::name(&cluster.name),
        labels: ids::labels([("xds_cluster", &cluster.name)]),
        algorithm,
        scheme: scheme(cluster, &mut notes),
        timeout,
        keepalive_pool: keepalive(cluster),
        ..Upstream::default()
    };
    note_unsupported(cluster, &mut notes);
    let nodes = source(cluster, &mut notes);
    let weigh_localities = matches!(
        cluster.common_lb_config.as_ref().and_then(|config| config.locality_config_specifier.as_ref()),
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_))
    );
    Cluster { upstream, nodes, weigh_localities, hashes, notes }
}

fn source(cluster: &EnvoyCluster, notes: &mut Notes) -> Source {
    let kind = match &cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(*kind).unwrap_or(DiscoveryType::Static),
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            let reason = format!("clusters of the type {} have no equal", custom.name);
            notes.not_expressible("cluster_type", &reason, "the upstream has no nodes and answers 503");
            return Source::None;
        }
        None => DiscoveryType::Static,
    };
    match kind {
        DiscoveryType::Eds => {
            let resource = crate::envoy::Resource::Cluster(Box::new(cluster.clone()));
            if let Some((_, name)) = references(&resource).pop() {
                return Source::Eds(name);
            }
            let reason = "endpoints from another source than this stream";
            notes.not_expressible("eds_cluster_config", reason, "the upstream has no nodes and answers 503");
            Source::None
        }
        DiscoveryType::OriginalDst => {
            let reason = "APISIX cannot send a request to the address that the client had asked for";
            notes.not_expressible("type", reason, "the upstream has no nodes and answers 503");
            Source::None
        }
        DiscoveryType::Static | DiscoveryType::StrictDns | DiscoveryType::LogicalDns => {
            if kind == DiscoveryType::StrictDns {
                notes.approximate("type", "APISIX uses one address of a name at a time", "as LOGICAL_DNS");
            }
            let inner = Notes::of(ResourceType::Cluster, &cluster.name);
            let assignment = cluster.load_assignment.clone().unwrap_or_default();
            Source::Inline(endpoints::take(&assignment, inner))
        }
    }
}

/// The algorithm, and whether it is to be `chash` for routes that say what to hash by. For others Envoy chooses at
/// random, for which the upstream without a hash is.
fn algorithm(cluster: &EnvoyCluster, notes: &mut Notes) -> (&'static str, bool) {
    if let Some(policy) = &cluster.load_balancing_policy {
        for policy in &policy.policies {
            let config = policy.typed_extension_config.as_ref();
            let Some(any) = config.and_then(|config| config.typed_config.as_ref()) else { continue };
            let name = any::type_of(any);
            match name.rsplit('.').next().unwrap_or_default() {
                "RoundRobin" => return ("roundrobin", false),
                "LeastRequest" => return ("least_conn", false),
                "Random" => return (random(notes), false),
                "RingHash" | "Maglev" => return ("roundrobin", true),
                _ => {}
            }
        }
        let reason = "none of the policies has an equal";
        notes.approximate("load_balancing_policy", reason, "round robin");
        return ("roundrobin", false);
    }
    match cluster.lb_policy() {
        LbPolicy::LeastRequest => ("least_conn", false),
        LbPolicy::Random => (random(notes), false),
        LbPolicy::RingHash | LbPolicy::Maglev => ("roundrobin", true),
        LbPolicy::RoundRobin | LbPolicy::ClusterProvided | LbPolicy::LoadBalancingPolicyConfig => ("roundrobin", false),
    }
}

fn random(notes: &mut Notes) -> &'static str {
    notes.approximate("lb_policy", "APISIX does not choose at random", "round robin");
    "roundrobin"
}

fn scheme(cluster: &EnvoyCluster, notes: &mut Notes) -> &'static str {
    const HTTP: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    if !cluster.transport_socket_matches.is_empty() {
        let reason = "plain text and TLS cannot be mixed in an upstream";
        notes.not_expressible("transport_socket_matches", reason, "plain text, or TLS if transport_socket says so");
    }
    let http2 = cluster
        .typed_extension_protocol_options
        .get("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
        .is_some_and(|any| any::type_of(any) == HTTP && any::unpack(any).is_some_and(|o| is_http2(&o)));
    if http2 {
        notes.approximate("http2_protocol_options", "APISIX speaks HTTP/2 to gRPC backends only", "HTTP/1.1");
    }
    match &cluster.transport_socket {
        None => "http",
        Some(socket) if socket.name.contains("raw_buffer") => "http",
        Some(_) => {
            let reason = "APISIX does not verify the certificates of upstreams, nor present one from a secret";
            notes.approximate("transport_socket", reason, "TLS without verification");
            "https"
        }
    }
}

fn is_http2(options: &HttpProtocolOptions) -> bool {
    use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::UpstreamProtocolOptions;
    use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
    match &options.upstream_protocol_options {
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(config)) => {
            matches!(config.protocol_config, Some(ProtocolConfig::Http2ProtocolOptions(_)))
        }
        _ => false,
    }
}

fn keepalive(cluster: &EnvoyCluster) -> Option<KeepalivePool> {
    #[expect(deprecated, reason = "control planes still send it")]
    let requests = cluster.max_requests_per_connection?.value;
    (requests > 0).then_some(KeepalivePool { requests })
}

fn note_unsupported(cluster: &EnvoyCluster, notes: &mut Notes) {
    if !cluster.health_checks.is_empty() {
        notes.not_expressible("health_checks", "not translated yet", "backends are not probed");
    }
    if cluster.outlier_detection.is_some() {
        notes.not_expressible("outlier_detection", "not translated yet", "failing backends stay in use");
    }
    if cluster.lb_subset_config.is_some() {
        notes.not_expressible("lb_subset_config", "not translated yet", "all endpoints are used");
    }
}

/// Tries after the first that are needed to get from the first level of priority to the last: APISIX goes to the next
/// level only by a try. None with one level, where it would repeat what Envoy does not.
fn tries_to_reach_all_levels(nodes: &[Node]) -> u32 {
    let last = nodes.iter().map(|node| node.priority).min();
    let above = nodes.iter().filter(|node| Some(node.priority) != last).count();
    u32::try_from(above).unwrap_or(u32::MAX)
}
