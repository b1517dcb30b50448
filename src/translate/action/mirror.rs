//! Requests that are sent to a second backend as well, whose answers nobody waits for.

use envoy_types::pb::envoy::config::route::v3::route_action::RequestMirrorPolicy;

use crate::translate::fraction;
use crate::translate::report::Notes;

/// Where copies of requests go.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::translate) struct Mirror {
    pub(in crate::translate) cluster: String,
    /// Which share of the requests, above 0 and up to 1.
    pub(in crate::translate) share: f64,
}

/// The field of which the notes are.
const FIELD: &str = "request_mirror_policies";

/// The smallest share that APISIX takes.
const SMALLEST: f64 = 0.000_01;

/// Reads the policies of the innermost level that has any.
pub(super) fn take(policies: &[RequestMirrorPolicy], notes: &mut Notes) -> Option<Mirror> {
    let mut mirrors = policies.iter().filter_map(|policy| one(policy, notes));
    let first = mirrors.next()?;
    if mirrors.next().is_some() {
        notes.not_expressible(FIELD, "APISIX has one mirror for a route", "only the first has copies");
    }
    let effect = "one of the cluster's backends has all the copies, and a host without `-shadow`";
    notes.approximate(FIELD, "APISIX mirrors to one address", effect);
    Some(first)
}

fn one(policy: &RequestMirrorPolicy, notes: &mut Notes) -> Option<Mirror> {
    let share = policy.runtime_fraction.as_ref().and_then(|fraction| fraction.default_value.as_ref());
    let share = share.copied().map_or(1.0, fraction::share);
    if share < SMALLEST {
        return None;
    }
    if policy.cluster.is_empty() {
        let reason = "the mirror's cluster is named by a header of each request";
        notes.not_expressible(FIELD, reason, "no copies are sent");
        return None;
    }
    if !policy.host_rewrite_literal.is_empty() {
        let reason = "APISIX sends copies with the request's host";
        notes.approximate(FIELD, reason, "the mirror is not told the host that is set for it");
    }
    if !policy.request_headers_mutations.is_empty() {
        let reason = "APISIX sends copies with the request's headers";
        notes.approximate(FIELD, reason, "the headers of copies are not changed");
    }
    Some(Mirror { cluster: policy.cluster.clone(), share })
}
