//! `envoy.filters.http.csrf`: requests that change something must come from a page of the same host, or of one that is
//! named. APISIX cannot compare two headers, so that only those that are named may.

use envoy_types::pb::envoy::extensions::filters::http::csrf::v3::CsrfPolicy;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;

use super::bound::{Bound, all, any, harden, not};
use super::limits::percent;
use super::{Branch, Effect, Plugins};
use crate::apisix::Expr;
use crate::apisix::expr::{self, Op};
use crate::translate::matchers;
use crate::translate::report::Notes;

/// Reads a policy. None if it is off.
pub(in crate::translate) fn take(policy: &CsrfPolicy, notes: &mut Notes) -> Option<Effect> {
    if percent(policy.filter_enabled.as_ref()) == 0 {
        return None;
    }
    let trusted = policy.additional_origins.iter().filter_map(|matcher| {
        let literal = expr::literal;
        let host = match matcher.match_pattern.as_ref()? {
            MatchPattern::Exact(text) => literal(text),
            MatchPattern::Prefix(text) => format!("{}.*", literal(text)),
            MatchPattern::Suffix(text) => format!(".*{}", literal(text)),
            MatchPattern::Contains(text) => format!(".*{}.*", literal(text)),
            MatchPattern::SafeRegex(regex) => {
                matchers::full_match(&regex.regex).ok()?;
                format!("(?:{})", regex.regex)
            }
            MatchPattern::Custom(_) => return None,
        };
        let op = if matcher.ignore_case { Op::MatchesAnyCase } else { Op::Matches };
        Some(Expr::is("http_origin", op, expr::pattern(&format!("^[A-Za-z]+://{host}\\z"))))
    });
    let trusted = harden(any(trusted), Bound::Lower);
    let changes = Expr::is("request_method", Op::In, ["POST", "PUT", "DELETE", "PATCH"].map(str::to_owned).to_vec());
    notes.not_expressible(
        "csrf",
        "APISIX does not compare a request's origin with its host",
        "only additional origins",
    );
    let denied = all([changes, not(trusted)]);
    Some(Effect::of([Branch::answer_if(denied, 403, "Invalid origin"), Branch::pass(Plugins::new())]))
}
