//! What requests are hashed by.

use envoy_types::pb::envoy::config::route::v3::route_action::HashPolicy;
use envoy_types::pb::envoy::config::route::v3::route_action::hash_policy::PolicySpecifier;

use crate::translate::derived::HashKey;
use crate::translate::report::Notes;

/// Reads hash policies. None if there is none that APISIX has.
pub(super) fn take(policies: &[HashPolicy], notes: &mut Notes) -> Option<HashKey> {
    let mut keys = Vec::new();
    for policy in policies {
        if let Some(key) = key(policy, notes) {
            keys.push(key);
        } else {
            let reason = "APISIX does not hash by this";
            notes.not_expressible("hash_policy", reason, "requests are hashed by the other policies, if any");
        }
        if policy.terminal && !keys.is_empty() {
            // Later ones are for requests without what the ones before look at.
            break;
        }
    }
    if policies.len() > 1 && policies.iter().any(|policy| policy.terminal) {
        let reason = "APISIX has no order of policies";
        notes.approximate("hash_policy.terminal", reason, "only policies up to the first terminal one are used");
    }
    if !keys.is_empty() {
        let reason = "APISIX hashes requests without the key by the client's address, and places backends differently";
        notes.approximate("hash_policy", reason, "requests with the same key go to the same backend");
    }
    match keys.as_slice() {
        [] => None,
        [(on, key)] => Some(HashKey { on, key: key.clone() }),
        several => {
            let all = several.iter().map(|(on, key)| match *on {
                "header" => format!("$http_{}", key.to_ascii_lowercase().replace('-', "_")),
                "cookie" => format!("$cookie_{key}"),
                _ => format!("${key}"),
            });
            Some(HashKey { on: "vars_combinations", key: all.collect() })
        }
    }
}

/// What a policy looks at: the kind and the name.
fn key(policy: &HashPolicy, notes: &mut Notes) -> Option<(&'static str, String)> {
    let word = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    match policy.policy_specifier.as_ref()? {
        PolicySpecifier::Header(header) if word(&header.header_name, "-_") => {
            if header.regex_rewrite.is_some() {
                notes.approximate("hash_policy.header.regex_rewrite", "APISIX hashes the value as it is", "as it is");
            }
            Some(("header", header.header_name.clone()))
        }
        PolicySpecifier::Cookie(cookie) if word(&cookie.name, "_") => {
            if cookie.ttl.is_some() {
                let reason = "APISIX does not make the cookie";
                notes.approximate("hash_policy.cookie.ttl", reason, "requests without it are hashed by address");
            }
            Some(("cookie", cookie.name.clone()))
        }
        PolicySpecifier::ConnectionProperties(connection) if connection.source_ip => {
            Some(("vars", "remote_addr".into()))
        }
        PolicySpecifier::QueryParameter(query) if word(&query.name, "-_") => {
            Some(("vars", format!("arg_{}", query.name)))
        }
        _ => None,
    }
}
