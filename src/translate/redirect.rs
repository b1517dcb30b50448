//! Redirects.

use envoy_types::pb::envoy::config::route::v3::RedirectAction;
use envoy_types::pb::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
};
use serde_json::{Value, json};

use super::action::rewrite;

/// The `redirect` plugin for a redirect of paths that match `matched`. The error says why there is none.
pub(super) fn plugin(redirect: &RedirectAction, matched: &str) -> Result<Value, String> {
    let code = match redirect.response_code() {
        RedirectResponseCode::MovedPermanently => 301,
        RedirectResponseCode::Found => 302,
        RedirectResponseCode::SeeOther => 303,
        RedirectResponseCode::TemporaryRedirect => 307,
        RedirectResponseCode::PermanentRedirect => 308,
    };
    let scheme = match &redirect.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https".to_owned()),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => Some(scheme.to_ascii_lowercase()),
        Some(SchemeRewriteSpecifier::HttpsRedirect(false)) | None => None,
    };
    let port = match redirect.port_redirect {
        0 => String::new(),
        port => format!(":{port}"),
    };
    let host = &redirect.host_redirect;
    let origin = format!(
        "{}://{}",
        scheme.as_deref().unwrap_or("$scheme"),
        match (host.is_empty(), port.is_empty()) {
            (false, _) => format!("{}{port}", literal(host)),
            (true, false) => format!("$host{port}"),
            (true, true) => "$http_host".into(),
        }
    );
    match &redirect.path_rewrite_specifier {
        None if redirect.strip_query => Ok(json!({"uri": format!("{origin}$uri"), "ret_code": code})),
        // As it was sent, with its query; what other variables hold is decoded.
        None => Ok(json!({"uri": format!("{origin}$real_request_uri"), "ret_code": code})),
        Some(PathRewriteSpecifier::PathRedirect(path)) => {
            let append = !redirect.strip_query && !path.contains('?');
            Ok(json!({"uri": format!("{origin}{}", literal(path)), "ret_code": code, "append_query_string": append}))
        }
        Some(change) => {
            // APISIX takes no variable in a replacement; an address without an origin is relative to the request's.
            let origin = match (scheme, host.is_empty(), port.is_empty()) {
                (None, true, true) => String::new(),
                (Some(scheme), false, _) => format!("{scheme}://{host}{port}"),
                _ => return Err("APISIX cannot change the path and only a part of the address before it".into()),
            };
            let (pattern, replacement) = match change {
                PathRewriteSpecifier::PrefixRewrite(to) => rewrite::prefix_rewrite(matched, to),
                PathRewriteSpecifier::RegexRewrite(by) => rewrite::regex_rewrite(by)?,
                PathRewriteSpecifier::PathRedirect(_) | PathRewriteSpecifier::PathRewrite(_) => {
                    return Err("the new path is made by a formatter of Envoy".into());
                }
            };
            let regex_uri = json!([pattern, format!("{origin}{replacement}")]);
            let append = !redirect.strip_query;
            Ok(json!({"regex_uri": regex_uri, "ret_code": code, "append_query_string": append, "encode_uri": true}))
        }
    }
}

/// Text in which APISIX finds no variable: here it knows no other way to write a dollar sign.
fn literal(text: &str) -> String {
    text.replace('$', "%24")
}
