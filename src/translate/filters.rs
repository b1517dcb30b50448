//! HTTP filters: which may be left out, which must not.

use envoy_types::pb::envoy::config::route::v3::FilterConfig;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::JwtAuthentication;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::google::protobuf::Any;

use crate::envoy::any;

/// What a filter's configuration means for a translation that has no equal of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It does nothing that a request would miss.
    Harmless,
    /// It is missed, and reported.
    Missed(String),
    /// It protects something: without it the route must not be served.
    Protects(String),
    /// The filter is off here.
    Off,
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
const PROTECTING: [&str; 9] = [
    ".rbac.",
    ".jwt_authn.",
    ".ext_authz.",
    ".oauth2.",
    ".basic_auth.",
    ".api_key_auth.",
    ".csrf.",
    ".credential_injector.",
    ".geoip.",
];

/// What the configuration of a filter means.
pub(super) fn verdict(config: &Any) -> Verdict {
    let name = any::type_of(config);
    if name == "envoy.config.route.v3.FilterConfig"
        && let Some(wrapped) = any::unpack::<FilterConfig>(config)
    {
        return match wrapped.config {
            _ if wrapped.disabled => Verdict::Off,
            Some(inner) => verdict(&inner),
            None => Verdict::Harmless,
        };
    }
    if HARMLESS.contains(&name.as_str()) || is_empty(config) {
        Verdict::Harmless
    } else if PROTECTING.iter().any(|part| name.contains(part)) {
        Verdict::Protects(name)
    } else {
        Verdict::Missed(name)
    }
}

/// Whether a protecting filter is told to let everything pass.
fn is_empty(config: &Any) -> bool {
    if let Some(rbac) = any::unpack::<Rbac>(config) {
        return rbac.rules.is_none() && rbac.matcher.is_none();
    }
    any::unpack::<JwtAuthentication>(config).is_some_and(|jwt| jwt.rules.is_empty() && jwt.filter_state_rules.is_none())
}
