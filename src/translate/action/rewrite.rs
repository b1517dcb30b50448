//! What becomes of the path and the host of a request that goes on.

use envoy_types::pb::envoy::config::route::v3::RouteAction;
use envoy_types::pb::envoy::config::route::v3::route_action::HostRewriteSpecifier;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use serde_json::{Map, Value, json};

use super::Refusal;
use crate::translate::derived::Host;
use crate::translate::matchers;
use crate::translate::report::Notes;

/// The fields of `proxy-rewrite` for a route whose paths match `matched`.
pub(super) fn path(action: &RouteAction, matched: &str, notes: &mut Notes) -> Result<Map<String, Value>, Refusal> {
    let mut rewrite = Map::new();
    if !action.prefix_rewrite.is_empty() {
        let (pattern, replacement) = prefix_rewrite(matched, &action.prefix_rewrite);
        rewrite.insert("regex_uri".into(), json!([pattern, replacement]));
    } else if let Some(regex) = &action.regex_rewrite {
        let (pattern, replacement) = regex_rewrite(regex).map_err(|reason| ("regex_rewrite", reason))?;
        notes.approximate("regex_rewrite", "APISIX replaces the first match only", "later matches stay");
        rewrite.insert("regex_uri".into(), json!([pattern, replacement]));
    } else if action.path_rewrite_policy.is_some() || !action.path_rewrite.is_empty() {
        return Err(("path_rewrite_policy", "paths are rewritten by an extension".into()));
    }
    Ok(rewrite)
}

/// A host for all requests of a route, or the difference that its upstreams need.
pub(super) fn host(
    specifier: Option<&HostRewriteSpecifier>,
    rewrite: &mut Map<String, Value>,
    notes: &mut Notes,
) -> Option<Host> {
    match specifier {
        None => {}
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) if is_host(host) => {
            rewrite.insert("host".into(), json!(host));
        }
        Some(HostRewriteSpecifier::AutoHostRewrite(auto)) => return auto.value.then_some(Host::Node),
        Some(_) => {
            let reason = "APISIX sets a host only to a name that is given";
            notes.not_expressible("host_rewrite", reason, "the client's host is passed on");
        }
    }
    None
}

/// The two parts of a `regex_uri` that put `to` in place of what `matched` finds at the beginning of the path. The
/// outcome always begins with a slash: APISIX answers 500 for an empty one.
pub(in crate::translate) fn prefix_rewrite(matched: &str, to: &str) -> (String, String) {
    let to = to.replace('$', "$$");
    if to.starts_with('/') {
        // As in Envoy, `/a/b` of which `/a` becomes `/` is `//b`.
        (format!("{matched}(.*)"), format!("{to}$1"))
    } else {
        (format!("{matched}/?(.*)"), format!("/{to}$1"))
    }
}

/// The two parts of a `regex_uri`.
pub(in crate::translate) fn regex_rewrite(rewrite: &RegexMatchAndSubstitute) -> Result<(String, String), String> {
    let pattern = rewrite.pattern.as_ref().map(|pattern| pattern.regex.as_str()).unwrap_or_default();
    matchers::full_match(pattern)?;
    let mut replacement = String::new();
    let mut rest = rewrite.substitution.chars();
    while let Some(c) = rest.next() {
        match c {
            '$' => replacement.push_str("$$"),
            '\\' => match rest.next() {
                Some(digit) if digit.is_ascii_digit() => replacement.extend(['$', '{', digit, '}']),
                Some(other) => replacement.push(other),
                None => {}
            },
            _ => replacement.push(c),
        }
    }
    Ok((pattern.to_owned(), replacement))
}

/// Whether APISIX takes a text as a host, with or without a port.
pub(in crate::translate) fn is_host(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
}
