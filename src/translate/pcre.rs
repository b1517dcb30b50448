//! What the PCRE of APISIX makes of regular expressions that are written for the RE2 of Envoy.

mod ambiguity;

use envoy_types::pb::envoy::config::route::v3::RouteMatch;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Largest form that is compiled, in bytes. PCRE's own bound is 64 KiB.
const LARGEST: u64 = 60_000;

/// Most ranges of a class that is not one that PCRE has a name for, such as all digits.
const RANGES: usize = 30;

/// Whether PCRE may not compile it for its size. Copies what is repeated, as PCRE does.
pub(super) fn is_too_large(pattern: &str) -> bool {
    regex_syntax::parse(pattern).is_ok_and(|hir| size(&hir) > LARGEST)
}

/// The size of the compiled form, rather too large than too small.
fn size(hir: &Hir) -> u64 {
    let bytes = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 4,
        HirKind::Literal(text) => 2 * bytes(text.0.len()),
        HirKind::Class(Class::Unicode(class)) if class.ranges().len() <= RANGES => {
            40 + 10 * bytes(class.ranges().len())
        }
        HirKind::Class(_) => 40,
        // Single characters are counted.
        HirKind::Repetition(found) if matches!(found.sub.kind(), HirKind::Class(_)) => size(&found.sub) + 8,
        HirKind::Repetition(found) => {
            let copies = found.max.unwrap_or(found.min.saturating_add(1)).max(1);
            u64::from(copies).saturating_mul(size(&found.sub) + 12)
        }
        HirKind::Capture(group) => size(&group.sub) + 12,
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().fold(0, |sum, part| sum.saturating_add(size(part)).saturating_add(6))
        }
    }
}

/// Whether there is a regular expression in a match for which PCRE, which goes back and tries again, may take a time that
/// grows exponentially with the text.
pub(super) fn is_slow(found: &RouteMatch) -> bool {
    let path = match &found.path_specifier {
        Some(PathSpecifier::SafeRegex(regex)) => Some(regex.regex.as_str()),
        _ => None,
    };
    #[expect(deprecated, reason = "control planes still send them")]
    let headers = found.headers.iter().filter_map(|header| match header.header_match_specifier.as_ref()? {
        HeaderMatchSpecifier::StringMatch(text) => of_text(text),
        HeaderMatchSpecifier::SafeRegexMatch(regex) => Some(regex.regex.as_str()),
        _ => None,
    });
    let queries = found.query_parameters.iter().filter_map(|query| {
        let Some(QueryParameterMatchSpecifier::StringMatch(text)) = &query.query_parameter_match_specifier else {
            return None;
        };
        of_text(text)
    });
    let mut all = path.into_iter().chain(headers).chain(queries);
    // Where there are too many ways to look at, one repetition inside of another is reason enough.
    let guess = |pattern: &str| regex_syntax::parse(pattern).is_ok_and(|hir| repeats(&hir, false));
    all.any(|pattern| ambiguity::is_exponential(pattern).unwrap_or_else(|| guess(pattern)))
}

fn of_text(text: &StringMatcher) -> Option<&str> {
    match text.match_pattern.as_ref()? {
        MatchPattern::SafeRegex(regex) => Some(&regex.regex),
        _ => None,
    }
}

/// Whether a repetition without an upper bound is inside of another one.
fn repeats(hir: &Hir, inside: bool) -> bool {
    match hir.kind() {
        HirKind::Repetition(found) => {
            let open = found.max.is_none();
            (inside && open) || repeats(&found.sub, inside || open)
        }
        HirKind::Capture(group) => repeats(&group.sub, inside),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(|part| repeats(part, inside)),
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) => false,
    }
}
