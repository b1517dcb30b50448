//! `envoy.filters.http.health_check`: requests that a load balancer in front asks how the gateway is. The gateway answers
//! them itself.

use envoy_types::pb::envoy::extensions::filters::http::health_check::v3::HealthCheck;

use super::bound::{Bound, all, harden};
use super::{Branch, Effect, Plugins};
use crate::apisix::Expr;
use crate::apisix::expr::Op;
use crate::translate::matchers::{self, Header};
use crate::translate::report::Notes;

/// Reads the filter. None if it answers nothing itself: then the backends are asked, as without it.
pub(in crate::translate) fn take(filter: &HealthCheck, notes: &mut Notes) -> Option<Effect> {
    if filter.pass_through_mode.is_none_or(|pass| pass.value) {
        if filter.cache_time.is_some() {
            let reason = "APISIX does not remember what a backend said of its health";
            notes.approximate("health_check.cache_time", reason, "each request of this kind goes to a backend");
        }
        return None;
    }
    let mut conditions = Vec::new();
    for matcher in &filter.headers {
        match matchers::header(matcher) {
            Ok(Header::Condition(condition)) => conditions.push(condition),
            Ok(Header::Methods(methods)) => conditions.push(Expr::is("request_method", Op::In, methods)),
            Err(reason) => {
                notes.not_expressible("health_check.headers", &reason, "such requests go to the backends");
                return None;
            }
        }
    }
    if !filter.cluster_min_healthy_percentages.is_empty() {
        let reason = "APISIX does not know how many of an upstream's nodes are healthy when it answers";
        notes.approximate("health_check.cluster_min_healthy_percentages", reason, "the answer is 200 always");
    }
    // What is not surely such a request goes on: an answer in place of a backend's would be lost requests.
    let asked = harden(all(conditions), Bound::Lower);
    Some(Effect::of([Branch::answer_if(asked, 200, ""), Branch::pass(Plugins::new())]))
}
