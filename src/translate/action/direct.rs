//! Answers that the configuration itself gives.

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::route::v3::DirectResponseAction;
use serde_json::json;

use super::{Action, Refusal};
use crate::translate::headers;

/// An answer as the `mocking` plugin gives it, which can come after the plugins that let requests pass or not.
pub(super) fn take(action: &DirectResponseAction) -> Result<Action, Refusal> {
    if !(200..=599).contains(&action.status) {
        return Err(("direct_response.status", format!("APISIX does not answer with the status {}", action.status)));
    }
    let body = match action.body.as_ref().and_then(|body| body.specifier.as_ref()) {
        None => String::new(),
        Some(Specifier::InlineString(text)) => text.clone(),
        Some(Specifier::InlineBytes(bytes)) => String::from_utf8(bytes.clone())
            .map_err(|_| ("direct_response.body", "a body that is not text".to_owned()))?,
        Some(_) => return Err(("direct_response.body", "a body from a file or variable of Envoy".into())),
    };
    let answer = json!({
        "response_status": action.status,
        "content_type": "text/plain",
        "response_example": headers::literal(&body),
        "with_mock_header": false,
        // Behind the plugins that authenticate, where Envoy's router is.
        "_meta": {"priority": 1},
    });
    Ok(Action { plugins: [("mocking", answer)].into(), ..Action::default() })
}
