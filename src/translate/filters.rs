//! HTTP filters: what each of them means for a route.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::route::v3::FilterConfig;
use envoy_types::pb::envoy::extensions::common::matching::v3::ExtensionWithMatcher;
use envoy_types::pb::envoy::extensions::filters::http::api_key_auth::v3::{ApiKeyAuth, ApiKeyAuthPerRoute};
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::{Buffer, BufferPerRoute, buffer_per_route};
use envoy_types::pb::envoy::extensions::filters::http::compressor::v3::{
    Compressor, CompressorPerRoute, compressor_per_route,
};
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::{Cors, CorsPolicy};
use envoy_types::pb::envoy::extensions::filters::http::csrf::v3::CsrfPolicy;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{
    ExtAuthz, ExtAuthzPerRoute, ext_authz_per_route,
};
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use envoy_types::pb::envoy::extensions::filters::http::grpc_json_transcoder::v3::GrpcJsonTranscoder;
use envoy_types::pb::envoy::extensions::filters::http::grpc_web::v3::GrpcWeb;
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::{HeaderMutation, HeaderMutationPerRoute};
use envoy_types::pb::envoy::extensions::filters::http::health_check::v3::HealthCheck;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::{
    JwtAuthentication, PerRouteConfig, per_route_config,
};
use envoy_types::pb::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::{Rbac, RbacPerRoute};
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::{
    StatefulSession, StatefulSessionPerRoute, stateful_session_per_route,
};
use envoy_types::pb::google::protobuf::Any;

use super::derived::HashKey;
use super::filter::header_mutation::Mutations;
use super::filter::{
    Effect, api_key, cors, csrf, ext_authz, fault, grpc_web, header_mutation, health_check, jwt, limits, rbac,
    stateful_session, transcoder,
};
use super::report::Notes;
use crate::envoy::any;

/// What a filter's configuration means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filter {
    /// It does nothing that a request would miss.
    Harmless,
    /// It is missed, and reported.
    Missed(String),
    /// It protects something: without it the route must not be served.
    Protects(String),
    /// The filter is off here.
    Off,
    /// It is expressed.
    Does(Effect),
    /// It keeps requests with the same of this at one backend.
    Keeps(HashKey),
    /// It changes headers.
    Mutates(Mutations),
    /// What it does to requests of routes that say nothing of it, and what routes may choose by name.
    Choice { of_all: Box<Filter>, named: BTreeMap<String, Filter> },
    /// A route chooses this of the filter.
    Chosen(String),
    /// It is off where no route switches it on, and then it does this.
    Waits(Box<Filter>),
}

impl Filter {
    /// What it does to the requests of a route that says nothing of it.
    pub(super) fn of_all(&self) -> &Self {
        match self {
            Self::Choice { of_all, .. } => of_all,
            Self::Waits(_) => &Self::Off,
            other => other,
        }
    }

    /// What it does to the requests of a route that says this of it.
    pub(super) fn of<'a>(&'a self, own: &'a Self) -> &'a Self {
        match (own, self) {
            (_, Self::Waits(inner)) => inner.of(own),
            (Self::Chosen(name), Self::Choice { named, .. }) => named.get(name).unwrap_or(own),
            (
                Self::Off | Self::Protects(_) | Self::Does(_) | Self::Keeps(_) | Self::Mutates(_) | Self::Chosen(_),
                _,
            ) => own,
            // It is switched on, or something about it is said that does not matter here.
            (Self::Harmless | Self::Missed(_) | Self::Choice { .. } | Self::Waits(_), _) => self.of_all(),
        }
    }
}

/// Filters that nobody misses at a gateway: what they do is Envoy's own business.
const HARMLESS: [&str; 9] = [
    "envoy.extensions.filters.http.router.v3.Router",
    "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    "envoy.extensions.filters.http.on_demand.v3.OnDemand",
    "envoy.extensions.filters.http.set_filter_state.v3.Config",
    "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
    "envoy.extensions.filters.http.header_to_metadata.v3.Config",
    "io.istio.http.peer_metadata.Config",
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
    "stats.PluginConfig",
];

/// Parts of the names of filters that let requests pass or not by who sends them.
const PROTECTING: [&str; 10] = [
    ".rbac.",
    ".jwt_authn.",
    ".ext_authz.",
    ".oauth2.",
    ".basic_auth.",
    ".api_key_auth.",
    ".csrf.",
    ".credential_injector.",
    ".geoip.",
    // It runs any filters, as a tree of matchers says.
    ".composite.",
];

/// The type by which a route switches a filter on or off.
const SWITCH: &str = "envoy.config.route.v3.FilterConfig";

/// Whether a route switches a filter by it.
pub(super) fn is_switch(config: &Any) -> bool {
    any::type_of(config) == SWITCH
}

/// What the configuration of a filter means. `port` is that of the listener, if it is known.
pub(super) fn take(config: &Any, port: Option<u32>, notes: &mut Notes) -> Filter {
    let name = any::type_of(config);
    if name == SWITCH
        && let Some(wrapped) = any::unpack::<FilterConfig>(config)
    {
        return match wrapped.config {
            _ if wrapped.disabled => Filter::Off,
            // One inside of another, and so on without end, is nothing that Envoy would understand.
            Some(inner) if any::type_of(&inner) == name => Filter::Protects(name),
            // It only switches the filter on.
            Some(inner) if inner.type_url.is_empty() => Filter::Harmless,
            Some(inner) => take(&inner, port, notes),
            None => Filter::Harmless,
        };
    }
    if HARMLESS.contains(&name.as_str()) {
        return Filter::Harmless;
    }
    if let Some(wrapped) = any::unpack::<ExtensionWithMatcher>(config) {
        let inner = wrapped.extension_config.and_then(|extension| extension.typed_config);
        let inner = inner.filter(|inner| any::type_of(inner) != name).map(|inner| take(&inner, port, notes));
        // For which requests the filter is skipped is said by a tree of matchers.
        return match inner {
            Some(Filter::Harmless | Filter::Missed(_) | Filter::Keeps(_) | Filter::Mutates(_) | Filter::Off) => {
                Filter::Missed(name)
            }
            Some(Filter::Does(effect)) if !effect.protects() => Filter::Missed(name),
            _ => Filter::Protects(name),
        };
    }
    if let Some(known) = security(config, port, notes).or_else(|| traffic(config, notes)) {
        return known;
    }
    if PROTECTING.iter().any(|part| name.contains(part)) { Filter::Protects(name) } else { Filter::Missed(name) }
}

/// An effect, or none because there is nothing to do.
fn does(effect: Option<Effect>) -> Filter {
    effect.map_or(Filter::Off, Filter::Does)
}

/// Filters that let requests pass or not.
fn security(config: &Any, port: Option<u32>, notes: &mut Notes) -> Option<Filter> {
    let rbac = |filter: &Rbac, notes: &mut Notes| match (&filter.rules, &filter.matcher) {
        (None, None) => Filter::Off,
        (Some(rules), None) => does(rbac::take(rules, port, notes)),
        // Rules beside it are ignored.
        (_, Some(tree)) => does(rbac::of_tree(tree, notes)),
    };
    if let Some(filter) = any::unpack::<Rbac>(config) {
        return Some(rbac(&filter, notes));
    }
    if let Some(route) = any::unpack::<RbacPerRoute>(config) {
        return Some(route.rbac.map_or(Filter::Off, |filter| rbac(&filter, notes)));
    }
    if let Some(filter) = any::unpack::<JwtAuthentication>(config) {
        return Some(jwt::take(&filter, notes));
    }
    if let Some(route) = any::unpack::<PerRouteConfig>(config) {
        return match route.requirement_specifier {
            Some(per_route_config::RequirementSpecifier::Disabled(true)) => Some(Filter::Off),
            Some(per_route_config::RequirementSpecifier::RequirementName(name)) => Some(Filter::Chosen(name)),
            _ => None,
        };
    }
    if let Some(filter) = any::unpack::<ExtAuthz>(config) {
        return Some(ext_authz::take(&filter, notes));
    }
    if let Some(route) = any::unpack::<ExtAuthzPerRoute>(config) {
        return match &route.r#override {
            Some(ext_authz_per_route::Override::Disabled(true)) => Some(Filter::Off),
            Some(ext_authz_per_route::Override::CheckSettings(settings)) => ext_authz::of_route(settings),
            _ => None,
        };
    }
    if let Some(policy) = any::unpack::<CsrfPolicy>(config) {
        return Some(does(csrf::take(&policy, notes)));
    }
    let keys = any::unpack::<ApiKeyAuth>(config).map(|keys| (keys.credentials, keys.key_sources, Vec::new()));
    let keys = keys.or_else(|| {
        let route = any::unpack::<ApiKeyAuthPerRoute>(config)?;
        // What it leaves out is taken from the filter, which is not looked at from here.
        let whole = !route.credentials.is_empty() && !route.key_sources.is_empty();
        whole.then_some((route.credentials, route.key_sources, route.allowed_clients))
    });
    let (mut credentials, sources, clients) = keys?;
    credentials.retain(|credential| clients.is_empty() || clients.contains(&credential.client));
    api_key::take(&credentials, &sources).map(Filter::Does)
}

/// Filters that change, bound or delay.
fn traffic(config: &Any, notes: &mut Notes) -> Option<Filter> {
    if let Some(filter) = any::unpack::<HttpFault>(config) {
        return Some(does(fault::take(&filter, notes)));
    }
    if let Some(filter) = any::unpack::<HealthCheck>(config) {
        return Some(does(health_check::take(&filter, notes)));
    }
    if any::unpack::<Cors>(config).is_some() {
        // The policies are those of routes and virtual hosts.
        return Some(Filter::Harmless);
    }
    if let Some(policy) = any::unpack::<CorsPolicy>(config) {
        return Some(does(cors::take(&policy, notes)));
    }
    if let Some(filter) = any::unpack::<HeaderMutation>(config) {
        let inner_last = filter.most_specific_header_mutations_wins;
        return Some(Filter::Mutates(header_mutation::take(filter.mutations.as_ref(), inner_last, notes)));
    }
    if let Some(route) = any::unpack::<HeaderMutationPerRoute>(config) {
        return Some(Filter::Mutates(header_mutation::take(route.mutations.as_ref(), false, notes)));
    }
    if let Some(filter) = any::unpack::<StatefulSession>(config) {
        return Some(stateful_session::take(&filter, notes));
    }
    if let Some(route) = any::unpack::<StatefulSessionPerRoute>(config) {
        return Some(match &route.r#override {
            Some(stateful_session_per_route::Override::Disabled(true)) => Filter::Off,
            Some(stateful_session_per_route::Override::StatefulSession(own)) => stateful_session::take(own, notes),
            _ => Filter::Harmless,
        });
    }
    if let Some(filter) = any::unpack::<GrpcJsonTranscoder>(config) {
        return transcoder::take(&filter, notes);
    }
    if any::unpack::<GrpcWeb>(config).is_some() {
        return Some(Filter::Does(grpc_web::take(notes)));
    }
    if let Some(limit) = any::unpack::<LocalRateLimit>(config) {
        return Some(does(limits::rate(&limit, notes)));
    }
    if let Some(buffer) = any::unpack::<Buffer>(config) {
        return Some(does(limits::buffer(buffer, notes)));
    }
    if let Some(route) = any::unpack::<BufferPerRoute>(config) {
        return Some(match &route.r#override {
            Some(buffer_per_route::Override::Disabled(true)) => Filter::Off,
            Some(buffer_per_route::Override::Buffer(buffer)) => does(limits::buffer(*buffer, notes)),
            _ => Filter::Harmless,
        });
    }
    if let Some(compressor) = any::unpack::<Compressor>(config) {
        return Some(limits::compressor(&compressor).map_or_else(Filter::Missed, Filter::Does));
    }
    if let Some(route) = any::unpack::<CompressorPerRoute>(config) {
        let off = matches!(route.r#override, Some(compressor_per_route::Override::Disabled(true)));
        return Some(if off { Filter::Off } else { Filter::Harmless });
    }
    None
}

#[cfg(test)]
mod tests;
