//! Load balancing: which of a cluster's policies APISIX can follow.

use envoy_types::pb::envoy::config::cluster::v3::cluster::LbPolicy;
use envoy_types::pb::envoy::config::cluster::v3::cluster::common_lb_config::LocalityConfigSpecifier;
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, LoadBalancingPolicy};
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3::{
    LocalityLbConfig, locality_lb_config::LocalityConfigSpecifier as TypedLocality,
};
use envoy_types::pb::envoy::extensions::load_balancing_policies::least_request::v3::LeastRequest;
use envoy_types::pb::envoy::extensions::load_balancing_policies::override_host::v3::OverrideHost;
use envoy_types::pb::envoy::extensions::load_balancing_policies::round_robin::v3::RoundRobin;
use envoy_types::pb::envoy::extensions::load_balancing_policies::subset::v3::Subset;
use envoy_types::pb::envoy::extensions::load_balancing_policies::wrr_locality::v3::WrrLocality;
use envoy_types::pb::google::protobuf::Any;

use super::super::report::Notes;
use crate::envoy::any;

/// Deepest nesting of policies inside each other that is looked at.
const DEPTH: usize = 8;

/// How requests are spread over endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// APISIX's name of it.
    pub(super) algorithm: &'static str,
    /// Whether requests with the same hash go to the same endpoint, where a route says what is hashed.
    pub(super) hashed: bool,
    /// Whether localities share requests by their weight.
    pub(super) weigh_localities: bool,
}

impl Policy {
    const fn of(algorithm: &'static str) -> Self {
        Self { algorithm, hashed: false, weigh_localities: false }
    }
}

/// The policy of a cluster.
pub(super) fn take(cluster: &Cluster, notes: &mut Notes) -> Policy {
    let config = cluster.common_lb_config.as_ref();
    if config.is_some_and(|config| config.healthy_panic_threshold.is_some()) {
        let reason = "APISIX uses all nodes only when none is healthy";
        notes.approximate("common_lb_config.healthy_panic_threshold", reason, "as with a threshold of 0 %");
    }
    let locality = config.and_then(|config| config.locality_config_specifier.as_ref());
    if let Some(LocalityConfigSpecifier::ZoneAwareLbConfig(_)) = locality {
        zones(notes);
    }
    let weighed = matches!(locality, Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)));
    let policy = match &cluster.load_balancing_policy {
        Some(policies) => typed(policies, DEPTH, notes).unwrap_or_else(|| {
            let reason = "none of the policies has an equal";
            notes.approximate("load_balancing_policy", reason, "round robin");
            Policy::of("roundrobin")
        }),
        None => match cluster.lb_policy() {
            LbPolicy::LeastRequest => Policy::of("least_conn"),
            LbPolicy::Random => random(notes),
            LbPolicy::RingHash | LbPolicy::Maglev => hashed(),
            LbPolicy::RoundRobin | LbPolicy::ClusterProvided | LbPolicy::LoadBalancingPolicyConfig => {
                Policy::of("roundrobin")
            }
        },
    };
    Policy { weigh_localities: policy.weigh_localities || weighed, ..policy }
}

/// The first policy of a list that has an equal, as Envoy takes the first that it knows.
fn typed(policies: &LoadBalancingPolicy, depth: usize, notes: &mut Notes) -> Option<Policy> {
    let depth = depth.checked_sub(1)?;
    let configs = policies.policies.iter().filter_map(|policy| policy.typed_extension_config.as_ref());
    configs.filter_map(|config| config.typed_config.as_ref()).find_map(|config| one(config, depth, notes))
}

fn one(config: &Any, depth: usize, notes: &mut Notes) -> Option<Policy> {
    let name = any::type_of(config);
    match name.rsplit('.').next().unwrap_or_default() {
        "RoundRobin" => {
            let policy = any::unpack::<RoundRobin>(config).unwrap_or_default();
            slow_start(policy.slow_start_config.is_some(), notes);
            Some(with_localities("roundrobin", policy.locality_lb_config.as_ref(), notes))
        }
        "LeastRequest" => {
            let policy = any::unpack::<LeastRequest>(config).unwrap_or_default();
            slow_start(policy.slow_start_config.is_some(), notes);
            Some(with_localities("least_conn", policy.locality_lb_config.as_ref(), notes))
        }
        "Random" => Some(random(notes)),
        "RingHash" | "Maglev" => Some(hashed()),
        "ClientSideWeightedRoundRobin" => {
            let reason = "APISIX does not read load reports of backends";
            notes.approximate("load_balancing_policy", reason, "round robin by the configured weights");
            Some(Policy::of("roundrobin"))
        }
        "WrrLocality" => {
            let inner = any::unpack::<WrrLocality>(config)?.endpoint_picking_policy?;
            typed(&inner, depth, notes).map(|policy| Policy { weigh_localities: true, ..policy })
        }
        "Subset" => typed(&any::unpack::<Subset>(config)?.subset_lb_policy?, depth, notes),
        "OverrideHost" => {
            let inner = any::unpack::<OverrideHost>(config)?.fallback_policy?;
            let reason = "APISIX does not let a request name its backend";
            notes.not_expressible("load_balancing_policy.override_host", reason, "the fallback policy is used");
            typed(&inner, depth, notes)
        }
        // What the kind of the cluster says is noted there.
        "ClusterProvided" => Some(Policy::of("roundrobin")),
        _ => None,
    }
}

fn with_localities(algorithm: &'static str, config: Option<&LocalityLbConfig>, notes: &mut Notes) -> Policy {
    let specifier = config.and_then(|config| config.locality_config_specifier.as_ref());
    if let Some(TypedLocality::ZoneAwareLbConfig(_)) = specifier {
        zones(notes);
    }
    let weigh_localities = matches!(specifier, Some(TypedLocality::LocalityWeightedLbConfig(_)));
    Policy { weigh_localities, ..Policy::of(algorithm) }
}

fn zones(notes: &mut Notes) {
    notes.approximate("zone_aware_lb_config", "APISIX prefers no zone", "all zones are used alike");
}

fn slow_start(is: bool, notes: &mut Notes) {
    if is {
        notes.approximate("slow_start_config", "APISIX has no slow start", "new endpoints get their share at once");
    }
}

fn random(notes: &mut Notes) -> Policy {
    notes.approximate("lb_policy", "APISIX does not choose at random", "round robin");
    Policy::of("roundrobin")
}

/// A route with a hash policy gets an upstream that hashes. For others Envoy chooses at random.
fn hashed() -> Policy {
    Policy { hashed: true, ..Policy::of("roundrobin") }
}
