//! How long a request may take, and how often it is tried.

use envoy_types::pb::envoy::config::route::v3::{RetryPolicy, RouteAction};

use super::seconds;
use crate::apisix::upstream::Timeout;
use crate::translate::cluster::{CONNECT_TIMEOUT, ROUTE_TIMEOUT};
use crate::translate::derived::Difference;
use crate::translate::report::Notes;

/// Time that stands for none, as APISIX takes no zero: a day.
const NO_TIMEOUT: f64 = 86_400.0;

/// Conditions on which APISIX tries again, or that contain one of those.
const TRIED_AGAIN: [&str; 8] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "refused-stream",
    "unavailable",
    "envoy-ratelimited",
];

/// Reads timeouts and retries: the times of the route, and what is different in its upstreams.
pub(super) fn take(
    action: &RouteAction,
    policy: Option<&RetryPolicy>,
    difference: &mut Difference,
    notes: &mut Notes,
) -> Option<Timeout> {
    let total = action.timeout.as_ref().map(seconds);
    let tries = policy.map_or(0, |policy| tries(policy, notes));
    if let Some(total) = total.filter(|total| *total > 0.0) {
        let reason = "APISIX has no time for the whole response";
        notes.approximate("timeout", reason, &format!("{total} s are the time between two reads or writes"));
    }
    if tries > 0 {
        difference.retries = Some(tries);
        let total = total.unwrap_or(ROUTE_TIMEOUT);
        if total > 0.0 {
            difference.retry_time = Some(milliseconds(total));
        }
    }
    let per_try = policy.and_then(|policy| policy.per_try_timeout.as_ref()).map(seconds).filter(|time| *time > 0.0);
    let idle = action.idle_timeout.as_ref().map(seconds).filter(|time| *time > 0.0);
    // Each bounds a single try; without a total time Envoy's own applies.
    let shortest = [total.or(Some(ROUTE_TIMEOUT)).filter(|time| *time > 0.0), per_try, idle];
    let shortest = shortest.into_iter().flatten().reduce(f64::min).unwrap_or(NO_TIMEOUT);
    (total.is_some() || per_try.is_some() || idle.is_some()).then(|| Timeout {
        connect: CONNECT_TIMEOUT.min(shortest),
        send: shortest,
        read: shortest,
    })
}

/// Further tries.
fn tries(policy: &RetryPolicy, notes: &mut Notes) -> u32 {
    let on: Vec<_> = policy.retry_on.split(',').map(str::trim).filter(|on| !on.is_empty()).collect();
    let tries = policy.num_retries.map_or(1, |tries| tries.value);
    if on.is_empty() || tries == 0 {
        return 0;
    }
    if !on.iter().any(|on| TRIED_AGAIN.contains(on)) {
        let reason = "APISIX tries again when a backend cannot be reached, not by its answer";
        notes.not_expressible("retry_policy.retry_on", reason, "there are no further tries");
        return 0;
    }
    if on.iter().any(|on| !["connect-failure", "refused-stream"].contains(on)) {
        let reason = "APISIX tries again when a backend cannot be reached or, but for requests such as POST, is silent";
        notes.approximate("retry_policy.retry_on", reason, "an answer is never a reason for a further try");
    }
    if !policy.retry_host_predicate.is_empty() || policy.retry_priority.is_some() {
        // The balancer of APISIX leaves out what it has tried, as such predicates ask for.
        notes.approximate(
            "retry_policy.retry_host_predicate",
            "APISIX has one way to choose",
            "backends not tried yet",
        );
    }
    tries
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be positive; saturates")]
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1e3).round().max(1.0) as u64
}
