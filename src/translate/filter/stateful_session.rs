//! `envoy.filters.http.stateful_session`: requests of a session go to the backend that had the first of them, which Envoy
//! writes into a cookie or a header of the response.
//!
//! APISIX writes nothing, and chooses by a hash of what the client sends.

use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::StatefulSession;
use envoy_types::pb::envoy::extensions::http::stateful_session::cookie::v3::CookieBasedSessionState;
use envoy_types::pb::envoy::extensions::http::stateful_session::header::v3::HeaderBasedSessionState;

use crate::envoy::any;
use crate::translate::derived::HashKey;
use crate::translate::filters::Filter;
use crate::translate::report::Notes;

/// What the filter does, where it is on, or what a route has it do.
pub(in crate::translate) fn take(filter: &StatefulSession, notes: &mut Notes) -> Filter {
    let Some(state) = filter.session_state.as_ref().and_then(|state| state.typed_config.as_ref()) else {
        return Filter::Off;
    };
    let word = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let key = if let Some(state) = any::unpack::<CookieBasedSessionState>(state) {
        let cookie = state.cookie.unwrap_or_default();
        if !["", "/"].contains(&cookie.path.as_str()) {
            let effect = "so do those of other paths that bring the cookie";
            notes.approximate("stateful_session.cookie.path", "APISIX looks at the cookie whatever the path", effect);
        }
        word(&cookie.name, "_").then_some(HashKey { on: "cookie", key: cookie.name })
    } else if let Some(state) = any::unpack::<HeaderBasedSessionState>(state) {
        word(&state.name, "-_").then(|| HashKey { on: "header", key: state.name.to_ascii_lowercase() })
    } else {
        None
    };
    let Some(key) = key else {
        let reason = format!("a session that is kept by {}, or a name that APISIX does not see", any::type_of(state));
        notes.not_expressible("stateful_session", &reason, "requests of a session go to any backend");
        return Filter::Off;
    };
    let reason = "APISIX does not tell clients which backend they had";
    let effect = "requests that bring the same go to the same backend, others by the client's address";
    notes.approximate("stateful_session", reason, effect);
    if filter.strict {
        let reason = "APISIX goes to another backend when one is gone";
        notes.not_expressible("stateful_session.strict", reason, "such requests are served by another one");
    }
    Filter::Keeps(key)
}
