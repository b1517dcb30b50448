//! Rules as a list of matchers, of which the first that holds decides: what Envoy Gateway makes of its policies.

use envoy_types::pb::envoy::config::rbac::v3::Action as Named;
use envoy_types::pb::envoy::config::rbac::v3::rbac::Action;
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::extensions::matching::common_inputs::network::v3::{ServerNameInput, SourceIpInput};
use envoy_types::pb::envoy::extensions::matching::input_matchers::ip::v3::Ip;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{HttpRequestHeaderMatchInput, RegexMatcher, StringMatcher};
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::Predicate;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::predicate::single_predicate;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::predicate::{MatchType, SinglePredicate};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::on_match::OnMatch as Then;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherType, OnMatch};
use envoy_types::pb::xds::r#type::matcher::v3::string_matcher::MatchPattern as Pattern;
use envoy_types::pb::xds::r#type::matcher::v3::{Matcher, StringMatcher as XdsStringMatcher};
use prost::{Message, Name};

use super::Reader;
use crate::apisix::Expr;
use crate::envoy::any;
use crate::translate::filter::bound::{Bound, all, any, every, none, not};

/// Most levels of matchers inside of matchers.
const DEPTH: usize = 8;

impl Reader {
    /// What a tree lets pass, or less. Who is matched by nothing is denied.
    pub(super) fn tree(&mut self, tree: &Matcher) -> Expr {
        self.matcher(tree, DEPTH)
    }

    fn matcher(&mut self, matcher: &Matcher, depth: usize) -> Expr {
        let Some(depth) = depth.checked_sub(1) else {
            return self.unknown("as many matchers inside of each other", Bound::Lower);
        };
        let rest = matcher.on_no_match.as_ref().map_or_else(none, |then| self.then(then, depth));
        match &matcher.matcher_type {
            None => rest,
            Some(MatcherType::MatcherTree(_)) => self.unknown("a map of matchers", Bound::Lower),
            Some(MatcherType::MatcherList(list)) => list.matchers.iter().rev().fold(rest, |rest, field| {
                let (Some(predicate), Some(then)) = (&field.predicate, &field.on_match) else {
                    return self.unknown("half a matcher", Bound::Lower);
                };
                match action(then) {
                    // What the others let pass passes whether it holds or not.
                    Some(true) => or(self.predicate(predicate, Bound::Lower), rest),
                    Some(false) => and(not(self.predicate(predicate, Bound::Upper)), rest),
                    None => {
                        let inside = and(self.predicate(predicate, Bound::Lower), self.then(then, depth));
                        or(inside, and(not(self.predicate(predicate, Bound::Upper)), rest))
                    }
                }
            }),
        }
    }

    fn then(&mut self, then: &OnMatch, depth: usize) -> Expr {
        match (&then.on_match, action(then)) {
            (_, Some(true)) => every(),
            (_, Some(false)) => none(),
            // What becomes of what a matcher inside of another does not match is not the same in all versions of Envoy.
            (Some(Then::Matcher(inner)), None) if !then.keep_matching && inner.on_no_match.is_some() => {
                self.matcher(inner, depth)
            }
            _ => self.unknown("this action of a matcher", Bound::Lower),
        }
    }

    fn predicate(&mut self, predicate: &Predicate, bound: Bound) -> Expr {
        match &predicate.match_type {
            None => self.unknown("an empty matcher", bound),
            Some(MatchType::OrMatcher(list)) => any(list.predicate.iter().map(|one| self.predicate(one, bound))),
            Some(MatchType::AndMatcher(list)) => all(list.predicate.iter().map(|one| self.predicate(one, bound))),
            Some(MatchType::NotMatcher(one)) => not(self.predicate(one, bound.inverted())),
            Some(MatchType::SinglePredicate(single)) => self.single(single, bound),
        }
    }

    fn single(&mut self, single: &SinglePredicate, bound: Bound) -> Expr {
        let (input, matcher) = (single.input.as_ref(), single.matcher.as_ref());
        match matcher {
            Some(single_predicate::Matcher::ValueMatch(text)) => {
                let text = envoys(text);
                if let Some(header) = unpack::<HttpRequestHeaderMatchInput>(input) {
                    let specifier = Some(HeaderMatchSpecifier::StringMatch(text));
                    let name = header.header_name;
                    let matcher = HeaderMatcher { name, header_match_specifier: specifier, ..HeaderMatcher::default() };
                    return self.header(&matcher, bound);
                }
                if unpack::<ServerNameInput>(input).is_some() {
                    return self.server_name(&text, bound);
                }
            }
            Some(single_predicate::Matcher::CustomMatch(custom)) => {
                if let (Some(_), Some(ip)) = (unpack::<SourceIpInput>(input), unpack::<Ip>(Some(custom))) {
                    self.by_address = true;
                    return any(ip.cidr_ranges.iter().map(|range| self.address(range, bound)));
                }
            }
            None => {}
        }
        let of = input.and_then(|input| input.typed_config.as_ref()).map_or_else(String::new, any::type_of);
        self.unknown(&format!("what a matcher asks of {}", of.rsplit('.').next().unwrap_or_default()), bound)
    }
}

/// Whether requests pass by an action; none if it is another matcher, or nothing that is known.
fn action(then: &OnMatch) -> Option<bool> {
    match &then.on_match {
        Some(Then::Action(config)) if !then.keep_matching => {
            let named = unpack::<Named>(Some(config))?;
            // Who is logged passes.
            Action::try_from(named.action).ok().map(|action| action != Action::Deny)
        }
        _ => None,
    }
}

/// One of both holds; many of them are one list.
fn or(first: Expr, rest: Expr) -> Expr {
    match rest {
        Expr::Any(rest) => any(std::iter::once(first).chain(rest)),
        rest => any([first, rest]),
    }
}

/// Both hold; many of them are one list.
fn and(first: Expr, rest: Expr) -> Expr {
    match rest {
        Expr::All(rest) => all(std::iter::once(first).chain(rest)),
        rest => all([first, rest]),
    }
}

/// The message of an extension.
fn unpack<T: Message + Name + Default>(config: Option<&TypedExtensionConfig>) -> Option<T> {
    any::unpack(config?.typed_config.as_ref()?)
}

/// The same matcher in Envoy's own type.
fn envoys(matcher: &XdsStringMatcher) -> StringMatcher {
    let pattern = matcher.match_pattern.as_ref().map(|pattern| match pattern.clone() {
        Pattern::Exact(text) => MatchPattern::Exact(text),
        Pattern::Prefix(text) => MatchPattern::Prefix(text),
        Pattern::Suffix(text) => MatchPattern::Suffix(text),
        Pattern::Contains(text) => MatchPattern::Contains(text),
        Pattern::SafeRegex(regex) => {
            MatchPattern::SafeRegex(RegexMatcher { regex: regex.regex, ..RegexMatcher::default() })
        }
        Pattern::Custom(custom) => MatchPattern::Custom(custom),
    });
    StringMatcher { match_pattern: pattern, ignore_case: matcher.ignore_case }
}
