//! Bounds that are a cluster's in Envoy and a route's in APISIX: how many requests there may be at once, and a share of
//! requests that is dropped.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster};
use envoy_types::pb::envoy::config::core::v3::RoutingPriority;
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::Policy;
use envoy_types::pb::google::protobuf::UInt32Value;
use serde_json::{Value, json};

use super::derived::Target;
use super::fraction;
use super::report::Notes;

/// A limit that is none, as control planes write it.
const UNLIMITED: u32 = 1 << 30;

/// Envoy's own limits for what thresholds do not say.
const DEFAULT: u32 = 1024;

/// The field of which the notes on shares are.
const DROPS: &str = "policy.drop_overloads";

/// What is asked of the routes to a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Most requests at once.
    pub(super) at_once: Option<u32>,
    /// How much of the requests is answered 503 instead, in percent.
    pub(super) dropped: u32,
    /// Whether its endpoints are spoken to in HTTP/2, as gRPC.
    pub(super) http2: bool,
}

/// Reads how many requests a cluster may have at once.
pub(super) fn at_once(cluster: &Cluster, http2: bool, notes: &mut Notes) -> Option<u32> {
    const FIELD: &str = "circuit_breakers";
    let breakers = cluster.circuit_breakers.as_ref()?;
    if breakers.per_host_thresholds.iter().any(is_bound) {
        let reason = "APISIX does not bound the requests to each backend";
        notes.not_expressible("circuit_breakers.per_host_thresholds", reason, "backends are not bounded");
    }
    if of(breakers, RoutingPriority::High).is_some_and(is_bound) {
        let reason = "APISIX counts requests of all priorities together";
        notes.not_expressible(FIELD, reason, "requests of high priority have the bound of the others");
    }
    let retries = of(breakers, RoutingPriority::Default).and_then(|found| found.max_retries);
    if retries.is_some_and(|retries| retries.value < DEFAULT) {
        notes.not_expressible("circuit_breakers.max_retries", "APISIX does not count retries", "they are not bounded");
    }
    let found = of(breakers, RoutingPriority::Default).filter(|found| is_bound(found))?;
    let value = |limit: Option<UInt32Value>| limit.map_or(DEFAULT, |limit| limit.value);
    let waiting = value(found.max_connections).saturating_add(value(found.max_pending_requests));
    let bound = if http2 { value(found.max_requests) } else { value(found.max_requests).min(waiting) };
    let reason = "APISIX counts the requests of each route on its own";
    notes.approximate(FIELD, reason, &format!("{bound} at once for each route to the cluster"));
    Some(bound)
}

fn of(breakers: &CircuitBreakers, priority: RoutingPriority) -> Option<&Thresholds> {
    breakers.thresholds.iter().find(|thresholds| thresholds.priority() == priority)
}

fn is_bound(found: &Thresholds) -> bool {
    let limits = [found.max_connections, found.max_pending_requests, found.max_requests];
    limits.into_iter().flatten().any(|limit| limit.value < UNLIMITED)
}

/// Reads how much of the requests to endpoints is dropped, in whole percents.
pub(super) fn dropped(policy: Option<&Policy>, notes: &mut Notes) -> u32 {
    let drops = policy.into_iter().flat_map(|policy| &policy.drop_overloads);
    let kept: f64 = drops.map(|drop| 1.0 - drop.drop_percentage.map_or(0.0, fraction::share)).product();
    let exact = (1.0 - kept) * 100.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
    let percent = exact.round().clamp(0.0, 100.0) as u32;
    if (exact - f64::from(percent)).abs() > 1e-6 {
        notes.approximate(DROPS, "APISIX knows whole percents", &format!("{percent} %"));
    }
    percent
}

/// Has a route keep the bounds of the clusters that it names.
pub(super) fn keep(
    targets: &[(Target, u32)],
    known: &BTreeMap<String, Bounds>,
    plugins: &mut BTreeMap<&'static str, Value>,
    notes: &mut Notes,
) {
    let bounds: Vec<_> =
        targets.iter().map(|(target, _)| known.get(&target.cluster).copied().unwrap_or_default()).collect();
    let Some((first, others)) = bounds.split_first() else { return };
    // Requests to several clusters are as many as all of them may have.
    let at_once: Option<u32> = bounds
        .iter()
        .map(|bounds| bounds.at_once)
        .try_fold(0_u32, |sum, bound| bound.map(|bound| sum.saturating_add(bound)));
    let alike = others.iter().all(|other| other.dropped == first.dropped);
    let dropped = match at_once {
        Some(0) => 100,
        _ if alike => first.dropped,
        _ => {
            let reason = "APISIX drops requests of a route, and not those to one of its clusters";
            notes.not_expressible(DROPS, reason, "all requests are served");
            0
        }
    };
    if dropped > 0 {
        drop_share(dropped, plugins, notes);
    }
    if let Some(at_once) = at_once.filter(|at_once| *at_once > 0) {
        // The name of the machine is the same for all requests.
        let config = json!({"conn": at_once, "burst": 0, "default_conn_delay": 0.1, "key": "hostname",
            "key_type": "var", "rejected_code": 503});
        plugins.insert("limit-conn", config);
    }
}

fn drop_share(percent: u32, plugins: &mut BTreeMap<&'static str, Value>, notes: &mut Notes) {
    let faults = plugins.entry("fault-injection").or_insert_with(|| json!({}));
    if faults.get("abort").is_some() {
        notes.not_expressible(DROPS, "the route answers some requests by its fault filter", "no others are dropped");
    } else {
        faults["abort"] = json!({"http_status": 503, "body": "drop overload", "percentage": percent});
    }
}
