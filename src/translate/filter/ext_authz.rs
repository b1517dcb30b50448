//! `envoy.filters.http.ext_authz`: a server is asked whether a request may pass.
//!
//! Expressed by the plugin `forward-auth` for servers over HTTP, and only for those who say so: Envoy asks with the
//! method and the path of the request, the plugin with GET at one path, and tells both in `X-Forwarded-Method` and
//! `X-Forwarded-Uri`. A server that goes by the path it is asked at would answer about another request.

use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::check_settings::ServiceOverride;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz::Services;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{CheckSettings, ExtAuthz, HttpService};
use envoy_types::pb::envoy::r#type::matcher::v3::ListStringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use serde_json::{Map, Value, json};

use super::{ASKS, Effect};
use crate::translate::action::seconds;
use crate::translate::filter::limits::percent;
use crate::translate::filters::Filter;
use crate::translate::headers;
use crate::translate::report::Notes;

/// The field of which the notes are.
const FIELD: &str = "ext_authz";

/// Milliseconds that an answer may take, as the plugin takes them.
const TIME: std::ops::RangeInclusive<u64> = 1..=60_000;

/// What the filter does.
pub(in crate::translate) fn take(filter: &ExtAuthz, notes: &mut Notes) -> Filter {
    match plugin(filter, notes) {
        Ok(config) => Filter::Does(Effect::plugin(ASKS, config)),
        Err(reason) => Filter::Protects(format!("ext_authz {reason}")),
    }
}

/// What a route's own settings mean for the filter of the chain.
pub(in crate::translate) fn of_route(settings: &CheckSettings) -> Option<Filter> {
    let other =
        matches!(settings.service_override, Some(ServiceOverride::GrpcService(_) | ServiceOverride::HttpService(_)));
    // What is left has a meaning only for gRPC and for bodies, neither of which is asked with.
    (!other && settings.with_request_body.is_none()).then_some(Filter::Harmless)
}

fn plugin(filter: &ExtAuthz, notes: &mut Notes) -> Result<Value, String> {
    let Some(Services::HttpService(service)) = &filter.services else { return Err("over gRPC".into()) };
    if filter.with_request_body.is_some() {
        return Err("with bodies of requests".into());
    }
    if filter.filter_enabled_metadata.is_some() {
        return Err("for some requests, as other filters say".into());
    }
    if filter.filter_enabled.is_some() && percent(filter.filter_enabled.as_ref()) < 100 {
        return Err("for a share of requests".into());
    }
    let mut config = json!({
        "uri": uri(service)?,
        "request_method": "GET",
        "request_headers": sent(filter, service)?,
        "allow_degradation": false,
        "status_on_error": filter.status_on_error.as_ref().map_or(403, |status| status.code),
        "ssl_verify": true,
    });
    if let Some(time) = service.server_uri.as_ref().and_then(|uri| uri.timeout.as_ref()).map(seconds) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let milliseconds = (time * 1e3) as u64;
        config["timeout"] = json!(milliseconds.clamp(*TIME.start(), *TIME.end()));
    }
    let added = service.authorization_request.iter().flat_map(|request| &request.headers_to_add);
    let added: Map<_, _> = added.map(|header| (header.key.clone(), json!(headers::literal(&header.value)))).collect();
    if !added.is_empty() {
        notes.approximate(
            "ext_authz.headers_to_add",
            "APISIX adds headers from 3.14 on",
            "older ones ask without them",
        );
        config["extra_headers"] = Value::Object(added);
    }
    let answer = service.authorization_response.clone().unwrap_or_default();
    config["upstream_headers"] =
        json!(exact(answer.allowed_upstream_headers.as_ref(), "allowed_upstream_headers", notes));
    let client = exact(answer.allowed_client_headers.as_ref(), "allowed_client_headers", notes);
    config["client_headers"] = json!(client);
    note_differences(filter, service, notes);
    Ok(config)
}

/// Where the server is asked.
fn uri(service: &HttpService) -> Result<String, String> {
    let given = service.server_uri.as_ref().map_or("", |uri| uri.uri.as_str());
    let (scheme, rest) = given.split_once("://").unwrap_or_default();
    // Envoy does not ask at the path of it.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if !["http", "https"].contains(&scheme) || authority.is_empty() {
        return Err("without an address".into());
    }
    let path = if service.path_override.is_empty() { &service.path_prefix } else { &service.path_override };
    let path = if path.is_empty() { "/" } else { path.as_str() };
    Ok(format!("{scheme}://{authority}{path}"))
}

/// The headers of a request that the server is told. One that it is not told might have made it refuse.
#[expect(deprecated, reason = "control planes still send it")]
fn sent(filter: &ExtAuthz, service: &HttpService) -> Result<Vec<String>, String> {
    let old = service.authorization_request.as_ref().and_then(|request| request.allowed_headers.as_ref());
    let mut sent = vec!["authorization".to_owned()];
    for matcher in [filter.allowed_headers.as_ref(), old].into_iter().flatten().flat_map(|list| &list.patterns) {
        match &matcher.match_pattern {
            Some(MatchPattern::Exact(name)) => sent.push(name.to_ascii_lowercase()),
            _ => return Err("with headers by a pattern".into()),
        }
    }
    let kept_back = filter.disallowed_headers.iter().flat_map(|list| &list.patterns);
    let kept_back: Vec<_> = kept_back.collect();
    if !kept_back.is_empty() {
        return Err("with headers that are kept back".into());
    }
    sent.sort();
    sent.dedup();
    Ok(sent)
}

/// The names of a list, as far as they are names.
fn exact(list: Option<&ListStringMatcher>, field: &str, notes: &mut Notes) -> Vec<String> {
    let mut names = Vec::new();
    for matcher in list.into_iter().flat_map(|list| &list.patterns) {
        match &matcher.match_pattern {
            Some(MatchPattern::Exact(name)) => names.push(name.to_ascii_lowercase()),
            _ => notes.not_expressible(
                field,
                "the plugin takes names of headers",
                "those of a pattern are not passed on",
            ),
        }
    }
    names
}

fn note_differences(filter: &ExtAuthz, service: &HttpService, notes: &mut Notes) {
    let effect = "the server is told method, host and path by X-Forwarded-*, and each status below 300 lets pass";
    notes.approximate(FIELD, "the plugin asks by GET at one path, where it finds the server itself", effect);
    let answer = service.authorization_response.as_ref();
    let mut note = |field: &str, is: bool, effect: &str| {
        if is {
            notes.not_expressible(field, "the plugin does not do that", effect);
        }
    };
    note("ext_authz.failure_mode_allow", filter.failure_mode_allow, "without an answer requests are refused");
    note("ext_authz.clear_route_cache", filter.clear_route_cache, "the route is the one of the request as it came");
    let append = answer.is_some_and(|answer| answer.allowed_upstream_headers_to_append.is_some());
    note("ext_authz.allowed_upstream_headers_to_append", append, "they are not passed on");
    let success = answer.is_some_and(|answer| answer.allowed_client_headers_on_success.is_some());
    note("ext_authz.allowed_client_headers_on_success", success, "clients do not get them");
    let all = answer.is_none_or(|answer| answer.allowed_client_headers.is_none());
    note("ext_authz.allowed_client_headers", all, "clients get no headers of a refusal, but its status and body");
}
