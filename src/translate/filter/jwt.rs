//! `envoy.filters.http.jwt_authn`: requests need a token that a provider has signed.
//!
//! Expressed by the plugin `openid-connect`, which checks bearer tokens without asking anyone for each. Written after
//! the documentation of APISIX 3.18, the first that refuses a token when it does not know whom to trust, and only for
//! those who say that they have it: an older one passes over what it does not know of the plugin's configuration, and
//! an instance without the plugin over all of it.

mod keys;

use std::collections::{BTreeMap, HashMap};

use envoy_types::pb::envoy::config::route::v3::RouteMatch;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::jwt_provider::JwksSourceSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::jwt_requirement::RequiresType;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::requirement_rule::RequirementType;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::{
    JwtAuthentication, JwtProvider, JwtRequirement,
};
use serde_json::{Map, Value, json};

use super::{Branch, Effect, Plugins, TOKENS, header, is_word};
use crate::apisix::Expr;
use crate::apisix::expr::Op;
use crate::translate::action::seconds;
use crate::translate::filters::Filter;
use crate::translate::report::Notes;

/// The field of which the notes are.
const FIELD: &str = "jwt_authn";

/// Seconds by which clocks may differ, where nothing is said.
const SKEW: u32 = 60;

/// Where a token is looked for, as Envoy does it, in the terms of APISIX's variables.
type Places = Vec<String>;

/// Reads the filter: what it asks of all requests, and what routes may choose by name.
pub(in crate::translate) fn take(filter: &JwtAuthentication, notes: &mut Notes) -> Filter {
    let read = |requirement: &JwtRequirement, notes: &mut Notes| {
        let effect = effect(requirement, &filter.providers, notes)?;
        let Some(mut effect) = effect else { return Ok(Filter::Off) };
        if filter.bypass_cors_preflight {
            let preflight = ["http_origin", "http_access_control_request_method"].map(Expr::present);
            let options = Expr::is("request_method", Op::Eq, "OPTIONS");
            effect.branches.insert(0, Branch::pass_if(Expr::All([options].into_iter().chain(preflight).collect())));
        }
        Ok(Filter::Does(effect))
    };
    let or_closed = |read: Result<Filter, String>| read.unwrap_or_else(Filter::Protects);
    let named: BTreeMap<_, _> = filter
        .requirement_map
        .iter()
        .map(|(name, requirement)| (name.clone(), or_closed(read(requirement, notes))))
        .collect();
    let of_all = match filter.rules.first() {
        _ if filter.filter_state_rules.is_some() => Filter::Protects("jwt_authn by the state of other filters".into()),
        None => Filter::Off,
        Some(rule) if !rule.r#match.as_ref().is_some_and(takes_all) => {
            Filter::Protects("jwt_authn with rules for some paths".into())
        }
        Some(rule) => match &rule.requirement_type {
            None => Filter::Off,
            Some(RequirementType::Requires(requirement)) => or_closed(read(requirement, notes)),
            Some(RequirementType::RequirementName(name)) => {
                named.get(name).cloned().unwrap_or_else(|| Filter::Protects(format!("jwt_authn without {name}")))
            }
        },
    };
    Filter::Choice { of_all: Box::new(of_all), named }
}

/// Whether a rule is for every request.
fn takes_all(found: &RouteMatch) -> bool {
    let path = matches!(&found.path_specifier, Some(PathSpecifier::Prefix(prefix)) if prefix == "/");
    path && *found == RouteMatch { path_specifier: found.path_specifier.clone(), ..RouteMatch::default() }
}

/// What a requirement does to requests; none for nothing. The error says what cannot be asked for.
fn effect(
    requirement: &JwtRequirement,
    providers: &HashMap<String, JwtProvider>,
    notes: &mut Notes,
) -> Result<Option<Effect>, String> {
    let find = |name: &String| providers.get(name).ok_or_else(|| format!("jwt_authn without the provider {name}"));
    let single = |plugins: Plugins| Effect::of([Branch::pass(plugins)]);
    match &requirement.requires_type {
        // A token that is wrong or missing stops nobody.
        None | Some(RequiresType::AllowMissingOrFailed(_)) => Ok(None),
        Some(RequiresType::ProviderName(name)) => {
            let found = find(name)?;
            Ok(Some(single(plugins(found, &found.audiences, notes)?)))
        }
        Some(RequiresType::ProviderAndAudiences(both)) => {
            Ok(Some(single(plugins(find(&both.provider_name)?, &both.audiences, notes)?)))
        }
        Some(RequiresType::RequiresAll(all)) => match all.requirements.as_slice() {
            [only] => effect(only, providers, notes),
            _ => Err("jwt_authn with several tokens".into()),
        },
        Some(RequiresType::RequiresAny(any)) => {
            let kind = |requirement: &JwtRequirement| requirement.requires_type.clone();
            let kinds: Vec<_> = any.requirements.iter().filter_map(kind).collect();
            if kinds.iter().any(|kind| matches!(kind, RequiresType::AllowMissingOrFailed(_))) {
                return Ok(None);
            }
            let missing = |kind: &RequiresType| matches!(kind, RequiresType::AllowMissing(_));
            let may_miss = kinds.iter().any(missing);
            let mut needed = kinds.iter().filter(|kind| !missing(kind));
            let (Some(only), None) = (needed.next(), needed.next()) else {
                return Err("jwt_authn with a choice of providers".into());
            };
            let (found, audiences) = match only {
                RequiresType::ProviderName(name) => (find(name)?, None),
                RequiresType::ProviderAndAudiences(both) => (find(&both.provider_name)?, Some(&both.audiences)),
                _ => return Err("jwt_authn with requirements inside of others".into()),
            };
            let mut effect = single(plugins(found, audiences.unwrap_or(&found.audiences), notes)?);
            if may_miss {
                let absent = places(found)?.into_iter().map(Expr::absent).collect();
                effect.branches.insert(0, Branch::pass_if(Expr::All(absent)));
            }
            Ok(Some(effect))
        }
        Some(RequiresType::AllowMissing(_) | RequiresType::ExtractOnlyWithoutValidation(_)) => {
            Err("jwt_authn with tokens of any provider".into())
        }
    }
}

/// The plugins that check the tokens of a provider.
fn plugins(provider: &JwtProvider, audiences: &[String], notes: &mut Notes) -> Result<Plugins, String> {
    if provider.subjects.is_some() || provider.max_lifetime.is_some() {
        return Err("jwt_authn with bounds on subjects or life times".into());
    }
    if provider.issuer.is_empty() {
        return Err("jwt_authn for tokens of any issuer".into());
    }
    places(provider)?;
    let skew = if provider.clock_skew_seconds == 0 { SKEW } else { provider.clock_skew_seconds };
    let mut config = json!({
        "bearer_only": true,
        "client_id": audiences.first().map_or("none", String::as_str),
        "discovery": format!("{}/.well-known/openid-configuration", provider.issuer.trim_end_matches('/')),
        "ssl_verify": true,
        "accept_none_alg": false,
        "accept_unsupported_alg": false,
        "iat_slack": skew,
        "set_access_token_header": false,
        "set_id_token_header": false,
        "set_userinfo_header": false,
        "claim_validator": {"issuer": {"valid_issuers": [provider.issuer]}},
        "claim_schema": schema(provider, audiences),
    });
    match audiences {
        [] => {}
        // The only value that the plugin compares with an audience is the client's id.
        [_] => config["claim_validator"]["audience"] = json!({"required": true, "match_with_client_id": true}),
        _ => config["claim_validator"]["audience"] = json!({"required": true}),
    }
    match &provider.jwks_source_specifier {
        Some(JwksSourceSpecifier::RemoteJwks(remote)) => {
            if !provider.issuer.starts_with("https://") {
                return Err("jwt_authn with an issuer whose keys APISIX cannot ask for".into());
            }
            config["use_jwks"] = json!(true);
            let kept = remote.cache_duration.as_ref().map_or(300.0, seconds).max(1.0);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
            let kept = kept as u64;
            config["jwk_expires_in"] = json!(kept);
            let effect = "the keys are those that the issuer's discovery document names";
            notes.approximate("jwt_authn.remote_jwks", "APISIX does not ask for keys at an address of its own", effect);
        }
        Some(JwksSourceSpecifier::LocalJwks(local)) => {
            let key = keys::take(local).map_err(|reason| format!("jwt_authn with local_jwks: {reason}"))?;
            config["public_key"] = json!(key.pem);
            config["token_signing_alg_values_expected"] = json!(key.algorithm);
        }
        None => return Err("jwt_authn without keys".into()),
    }
    note_differences(provider, notes);
    let mut plugins = Plugins::from([(TOKENS, config)]);
    if !provider.forward {
        plugins.insert("proxy-rewrite", json!({"headers": {"remove": ["authorization"]}}));
    }
    Ok(plugins)
}

/// What claims must be like. Envoy takes a token with any of the audiences.
fn schema(provider: &JwtProvider, audiences: &[String]) -> Value {
    let mut required = vec!["iss"];
    let mut properties = Map::from_iter([("iss".to_owned(), json!({"enum": [provider.issuer]}))]);
    if provider.require_expiration {
        required.push("exp");
    }
    if !audiences.is_empty() {
        required.push("aud");
        let one = json!({"enum": audiences});
        properties.insert("aud".into(), json!({"anyOf": [one, {"type": "array", "contains": one}]}));
    }
    json!({"type": "object", "required": required, "properties": properties})
}

/// Where a provider's token may be. One that the plugin looks at must be among them.
fn places(provider: &JwtProvider) -> Result<Places, String> {
    let by_default =
        provider.from_headers.is_empty() && provider.from_params.is_empty() && provider.from_cookies.is_empty();
    if by_default {
        return Ok(vec!["http_authorization".into(), "arg_access_token".into()]);
    }
    let bearer = provider
        .from_headers
        .iter()
        .any(|found| found.name.eq_ignore_ascii_case("authorization") && found.value_prefix.trim_end() == "Bearer");
    if !bearer {
        return Err("jwt_authn with tokens elsewhere than in Authorization".into());
    }
    let headers = provider.from_headers.iter().map(|found| (&found.name, header(&found.name)));
    let params = provider.from_params.iter().map(|name| (name, format!("arg_{name}")));
    let cookies = provider.from_cookies.iter().map(|name| (name, format!("cookie_{name}")));
    let all: Vec<_> = headers.chain(params).chain(cookies).collect();
    match all.iter().find(|(name, _)| !is_word(name)) {
        Some((odd, _)) => Err(format!("jwt_authn with tokens in {odd}")),
        None => Ok(all.into_iter().map(|(_, var)| var).collect()),
    }
}

fn note_differences(provider: &JwtProvider, notes: &mut Notes) {
    let reason = "the plugin looks for tokens in Authorization and X-Access-Token";
    notes.approximate(FIELD, reason, "tokens elsewhere are refused, and a good one there is taken");
    let mut missed = |field: &str, is: bool| {
        if is {
            notes.not_expressible(field, "the plugin passes no claims on", "backends do not get them");
        }
    };
    missed("jwt_authn.forward_payload_header", !provider.forward_payload_header.is_empty());
    missed("jwt_authn.claim_to_headers", !provider.claim_to_headers.is_empty());
}
