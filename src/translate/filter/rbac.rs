//! `envoy.filters.http.rbac`: who may do what, as conditions of the route and routes beside it that answer 403.
//!
//! What is allowed is bounded from below and what is denied from above, so that a condition without an equal in APISIX
//! never lets a request pass that Envoy would stop.

mod tree;

use envoy_types::pb::envoy::config::core::v3::CidrRange;
use envoy_types::pb::envoy::config::rbac::v3::permission::Rule;
use envoy_types::pb::envoy::config::rbac::v3::principal::Identifier;
use envoy_types::pb::envoy::config::rbac::v3::rbac::Action;
use envoy_types::pb::envoy::config::rbac::v3::{Permission, Policy, Principal, Rbac as Rules};
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::path_matcher::Rule as PathRule;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{PathMatcher, StringMatcher};
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;

use super::bound::{Bound, all, any, every, harden, none, not};
use super::{Branch, Effect, Plugins};
use crate::apisix::Expr;
use crate::apisix::expr::{self, Op};
use crate::translate::matchers::{self, Header, Text};
use crate::translate::report::Notes;

/// Envoy's body for what it does not let pass.
const DENIED: &str = "RBAC: access denied";

/// Reads rules. `port` is that of the listener, if it is known.
pub(in crate::translate) fn take(rules: &Rules, port: Option<u32>, notes: &mut Notes) -> Option<Effect> {
    let mut reader = Reader::at(port);
    let branches = match rules.action() {
        // Such rules only mark what they match.
        Action::Log => return None,
        Action::Allow => allow(reader.policies(rules, Bound::Lower))?,
        Action::Deny => match reader.policies(rules, Bound::Upper) {
            denied if denied == none() => return None,
            denied if denied == every() => vec![Branch::answer(403, DENIED)],
            denied => vec![Branch::answer_if(denied, 403, DENIED), Branch::pass(Plugins::new())],
        },
    };
    let effect = if rules.action() == Action::Allow { NOT_ALLOWED } else { "as if it held" };
    Some(reader.effect(branches, ("rbac.rules", effect), notes))
}

/// Reads a tree of matchers.
pub(in crate::translate) fn of_tree(tree: &Matcher, notes: &mut Notes) -> Option<Effect> {
    let mut reader = Reader::at(None);
    let branches = allow(reader.tree(tree))?;
    Some(reader.effect(branches, ("rbac.matcher", NOT_ALLOWED), notes))
}

/// What is done where something is missing of what is allowed.
const NOT_ALLOWED: &str = "what needs it is not allowed";

/// Lets only these requests pass; none if that is all of them.
fn allow(allowed: Expr) -> Option<Vec<Branch>> {
    match allowed {
        allowed if allowed == every() => None,
        allowed if allowed == none() => Some(vec![Branch::answer(403, DENIED)]),
        allowed => Some(vec![Branch::pass_if(allowed), Branch::answer(403, DENIED)]),
    }
}

struct Reader {
    port: Option<u32>,
    by_address: bool,
    /// Whether it goes by the path as it was sent.
    by_sent_path: bool,
    /// What cannot be expressed.
    missing: Vec<String>,
}

impl Reader {
    fn at(port: Option<u32>) -> Self {
        Self { port, by_address: false, by_sent_path: false, missing: Vec::new() }
    }

    fn effect(self, branches: Vec<Branch>, (field, effect): (&str, &str), notes: &mut Notes) -> Effect {
        for reason in self.missing {
            notes.not_expressible(field, &reason, effect);
        }
        if self.by_sent_path {
            let reason =
                "Envoy may normalise a path before it compares all of it, and APISIX compares it as it was sent";
            notes.approximate(field, reason, "a path with %, \\, // or /. is stopped");
        }
        Effect { by_address: self.by_address, ..Effect::of(branches) }
    }

    fn policies(&mut self, rules: &Rules, bound: Bound) -> Expr {
        let mut names: Vec<_> = rules.policies.keys().collect();
        names.sort();
        any(names.into_iter().map(|name| self.policy(&rules.policies[name], bound)))
    }

    fn policy(&mut self, policy: &Policy, bound: Bound) -> Expr {
        let permissions = any(policy.permissions.iter().map(|permission| self.permission(permission, bound)));
        let principals = any(policy.principals.iter().map(|principal| self.principal(principal, bound)));
        let condition = policy.condition.is_some() || policy.checked_condition.is_some();
        let condition = if condition { self.unknown("a condition in CEL", bound) } else { every() };
        all([permissions, principals, condition])
    }

    fn unknown(&mut self, what: &str, bound: Bound) -> Expr {
        let reason = format!("APISIX has no condition for {what}");
        if !self.missing.contains(&reason) {
            self.missing.push(reason);
        }
        bound.unknown()
    }

    fn permission(&mut self, permission: &Permission, bound: Bound) -> Expr {
        match permission.rule.as_ref() {
            None => self.unknown("an empty permission", bound),
            Some(Rule::Any(_)) => every(),
            Some(Rule::AndRules(set)) => all(set.rules.iter().map(|rule| self.permission(rule, bound))),
            Some(Rule::OrRules(set)) => any(set.rules.iter().map(|rule| self.permission(rule, bound))),
            Some(Rule::NotRule(rule)) => not(self.permission(rule, bound.inverted())),
            Some(Rule::Header(matcher)) => self.header(matcher, bound),
            Some(Rule::UrlPath(matcher)) => self.path(matcher, bound),
            Some(Rule::DestinationPort(port)) => self.ports(i64::from(*port)..i64::from(*port) + 1, bound),
            Some(Rule::DestinationPortRange(range)) => self.ports(i64::from(range.start)..i64::from(range.end), bound),
            Some(Rule::RequestedServerName(matcher)) => self.server_name(matcher, bound),
            Some(Rule::DestinationIp(_)) => self.unknown("the address that Envoy listens on", bound),
            #[expect(deprecated, reason = "control planes still send it")]
            Some(Rule::Metadata(_) | Rule::SourcedMetadata(_)) => self.unknown("what other filters found out", bound),
            Some(Rule::Matcher(_) | Rule::UriTemplate(_)) => self.unknown("a matcher that is an extension", bound),
        }
    }

    fn principal(&mut self, principal: &Principal, bound: Bound) -> Expr {
        match principal.identifier.as_ref() {
            None => self.unknown("an empty principal", bound),
            Some(Identifier::Any(_)) => every(),
            Some(Identifier::AndIds(set)) => all(set.ids.iter().map(|id| self.principal(id, bound))),
            Some(Identifier::OrIds(set)) => any(set.ids.iter().map(|id| self.principal(id, bound))),
            Some(Identifier::NotId(id)) => not(self.principal(id, bound.inverted())),
            Some(Identifier::Header(matcher)) => self.header(matcher, bound),
            Some(Identifier::UrlPath(matcher)) => self.path(matcher, bound),
            #[expect(deprecated, reason = "control planes still send it")]
            Some(Identifier::SourceIp(range) | Identifier::DirectRemoteIp(range)) => self.address(range, bound),
            Some(Identifier::RemoteIp(range)) => {
                self.by_address = true;
                self.address(range, bound)
            }
            Some(Identifier::Authenticated(by)) if by.principal_name.is_none() => {
                Expr::is("ssl_client_verify", Op::Eq, "SUCCESS")
            }
            Some(Identifier::Authenticated(_)) => self.unknown("the names in the client's certificate", bound),
            #[expect(deprecated, reason = "control planes still send it")]
            Some(Identifier::Metadata(_) | Identifier::SourcedMetadata(_) | Identifier::FilterState(_)) => {
                self.unknown("what other filters found out", bound)
            }
            Some(Identifier::Custom(_)) => self.unknown("a matcher that is an extension", bound),
        }
    }

    fn header(&mut self, matcher: &HeaderMatcher, bound: Bound) -> Expr {
        match matchers::header(matcher) {
            Ok(Header::Methods(methods)) => any(methods.into_iter().map(|m| Expr::is("request_method", Op::Eq, m))),
            Ok(Header::Condition(condition)) if matcher.name.eq_ignore_ascii_case(":path") => {
                self.by_sent_path = true;
                // What Envoy may have made another path of before it looks at it.
                let pattern = expr::pattern("^[^?]*(?:[%\\\\]|//|/\\.)");
                let changes = Expr::is("real_request_uri", Op::Matches, pattern);
                let condition = harden(condition, bound);
                match bound {
                    Bound::Lower => all([condition, harden(not(changes), bound)]),
                    Bound::Upper => any([condition, harden(changes, bound)]),
                }
            }
            Ok(Header::Condition(condition)) => harden(condition, bound),
            Err(reason) => self.unknown(&reason, bound),
        }
    }

    fn ports(&mut self, range: std::ops::Range<i64>, bound: Bound) -> Expr {
        match self.port {
            // The port of Envoy's listener, whatever APISIX listens on.
            Some(port) if range.contains(&i64::from(port)) => every(),
            Some(_) => none(),
            None => self.unknown("the port that Envoy listens on", bound),
        }
    }

    fn server_name(&mut self, matcher: &StringMatcher, bound: Bound) -> Expr {
        match Text::take(matcher) {
            Ok(text) if !text.takes_empty() => harden(text.of("ssl_server_name"), bound),
            Ok(_) => self.unknown("a server name that may be missing", bound),
            Err(reason) => self.unknown(&reason, bound),
        }
    }

    fn address(&mut self, range: &CidrRange, bound: Bound) -> Expr {
        let length = range.prefix_len.map_or(0, |length| length.value);
        let most = match range.address_prefix.parse() {
            Ok(std::net::IpAddr::V4(_)) => 32,
            Ok(std::net::IpAddr::V6(_)) => 128,
            Err(_) => return self.unknown("a range of addresses that is none", bound),
        };
        if length > most {
            return self.unknown("a range of addresses that is none", bound);
        }
        Expr::is("remote_addr", Op::IpMatch, vec![format!("{}/{length}", range.address_prefix)])
    }

    /// The path, both as APISIX normalises it and as it was sent: Envoy sees one or the other.
    fn path(&mut self, matcher: &PathMatcher, bound: Bound) -> Expr {
        let Some(PathRule::Path(path)) = &matcher.rule else { return self.unknown("an empty path", bound) };
        let (normal, raw) = match (Text::take(path), raw_path(path)) {
            (Ok(normal), Some(raw)) => (harden(normal.of("uri"), bound), harden(raw, bound)),
            (Err(reason), _) => return self.unknown(&reason, bound),
            (_, None) => return self.unknown("this matcher of paths", bound),
        };
        match bound {
            Bound::Lower => all([normal, raw]),
            Bound::Upper => any([normal, raw]),
        }
    }
}

/// The condition on a path as it was sent, before any query.
fn raw_path(path: &StringMatcher) -> Option<Expr> {
    let literal = expr::literal;
    let pattern = match path.match_pattern.as_ref()? {
        MatchPattern::Exact(text) => format!("^{}(?:\\?|\\z)", literal(text)),
        MatchPattern::Prefix(text) => format!("^{}", literal(text)),
        MatchPattern::Suffix(text) => format!("^[^?]*{}(?:\\?|\\z)", literal(text)),
        MatchPattern::Contains(text) => format!("^[^?]*{}", literal(text)),
        MatchPattern::SafeRegex(regex) => format!("^(?:{})(?:\\?|\\z)", regex.regex),
        MatchPattern::Custom(_) => return None,
    };
    let op = if path.ignore_case { Op::MatchesAnyCase } else { Op::Matches };
    Some(Expr::is("real_request_uri", op, expr::pattern(&pattern)))
}
