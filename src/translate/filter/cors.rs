//! `envoy.filters.http.cors`: answers to browsers that ask for another origin.

use envoy_types::pb::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use serde_json::{Map, Value, json};

use super::Effect;
use super::limits::percent;
use crate::apisix::expr;
use crate::translate::matchers;
use crate::translate::report::Notes;

/// Methods that browsers send to other origins without asking: what they may do where a policy names none.
const SIMPLE: &str = "GET,HEAD,POST";

/// Reads a policy. None if it is off or lets no origin.
pub(in crate::translate) fn take(policy: &CorsPolicy, notes: &mut Notes) -> Option<Effect> {
    if policy.filter_enabled.is_some() && percent(policy.filter_enabled.as_ref()) == 0 {
        return None;
    }
    let credentials = policy.allow_credentials.is_some_and(|allow| allow.value);
    // With credentials a star means nothing to a browser, and APISIX refuses it.
    let plain = |text: &str, none: &str| match text.trim() {
        "" => none.to_owned(),
        "*" if credentials => none.to_owned(),
        text => text.split(',').map(str::trim).collect::<Vec<_>>().join(","),
    };
    let mut plugin = Map::new();
    plugin.insert("allow_credential".into(), json!(credentials));
    plugin.insert("allow_methods".into(), json!(plain(&policy.allow_methods, SIMPLE)));
    plugin.insert("allow_headers".into(), json!(plain(&policy.allow_headers, "")));
    plugin.insert("expose_headers".into(), json!(plain(&policy.expose_headers, "")));
    if let Ok(age) = policy.max_age.trim().parse::<i64>() {
        plugin.insert("max_age".into(), json!(age));
    }
    let (origin, value) = origins(&policy.allow_origin_string_match, credentials, notes)?;
    plugin.insert(origin.into(), value);
    notes.approximate("cors", "APISIX answers every OPTIONS request itself", "those of no browser are answered 200");
    Some(Effect::plugin("cors", Value::Object(plugin)))
}

fn origins(matchers: &[StringMatcher], credentials: bool, notes: &mut Notes) -> Option<(&'static str, Value)> {
    let star =
        |matcher: &StringMatcher| matches!(&matcher.match_pattern, Some(MatchPattern::Exact(text)) if text == "*");
    if matchers.iter().any(star) {
        return Some(("allow_origins", json!(if credentials { "**" } else { "*" })));
    }
    let patterns: Vec<_> = matchers.iter().filter_map(|matcher| pattern(matcher, notes)).collect();
    (!patterns.is_empty()).then(|| ("allow_origins_by_regex", json!(patterns)))
}

fn pattern(matcher: &StringMatcher, notes: &mut Notes) -> Option<String> {
    let case = if matcher.ignore_case { "(?i)" } else { "" };
    let literal = expr::literal;
    Some(match matcher.match_pattern.as_ref()? {
        MatchPattern::Exact(text) => format!("{case}^{}\\z", literal(text)),
        MatchPattern::Prefix(text) => format!("{case}^{}", literal(text)),
        MatchPattern::Suffix(text) => format!("{case}{}\\z", literal(text)),
        MatchPattern::Contains(text) => format!("{case}{}", literal(text)),
        MatchPattern::SafeRegex(regex) => match matchers::full_match(&regex.regex) {
            Ok(_) => format!("^(?:{})\\z", regex.regex),
            Err(reason) => {
                notes.not_expressible("cors.allow_origin_string_match", &reason, "such origins are not allowed");
                return None;
            }
        },
        MatchPattern::Custom(_) => {
            let reason = "a matcher of text that is an extension";
            notes.not_expressible("cors.allow_origin_string_match", reason, "such origins are not allowed");
            return None;
        }
    })
}
