//! The names of other resources that a resource needs.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType as SocketConfig;
use envoy_types::pb::envoy::config::core::v3::{ConfigSource, TransportSocket};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, UpstreamTlsContext,
};
use prost::{Message, Name};

use super::any::unpack;
use super::resource::{Resource, ResourceType};

/// The resources that `resource` refers to and that come from the same stream, in the order in which they are named.
pub fn references(resource: &Resource) -> Vec<(ResourceType, String)> {
    match resource {
        Resource::Cluster(cluster) => {
            let endpoints = endpoints(cluster).map(|name| (ResourceType::Endpoints, name));
            let matches = cluster.transport_socket_matches.iter().filter_map(|found| found.transport_socket.as_ref());
            let sockets = cluster.transport_socket.iter().chain(matches);
            let contexts = sockets.filter_map(typed::<UpstreamTlsContext>).filter_map(|tls| tls.common_tls_context);
            // Backends' certificates are not checked, so that authorities are not needed.
            let names = contexts.flat_map(|context| certificates(&context).collect::<Vec<_>>());
            endpoints.into_iter().chain(names.map(|name| (ResourceType::Secret, name))).collect()
        }
        Resource::Listener(listener) => of_listener(listener),
        Resource::Endpoints(_) | Resource::Route(_) | Resource::Secret(_) => Vec::new(),
    }
}

/// The name of a cluster's endpoints, if they come from the same stream.
pub fn endpoints(cluster: &Cluster) -> Option<String> {
    let eds = cluster.cluster_discovery_type == Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32));
    let config = cluster.eds_cluster_config.as_ref();
    let from_stream = config.is_none_or(|config| is_stream(config.eds_config.as_ref()));
    let name = config.map(|config| &config.service_name).filter(|name| !name.is_empty());
    (eds && from_stream).then(|| name.unwrap_or(&cluster.name).clone())
}

/// The name of a secret, if it comes from the same stream.
pub fn secret(config: &SdsSecretConfig) -> Option<&str> {
    let from_stream = config.sds_config.is_some() && is_stream(config.sds_config.as_ref());
    from_stream.then_some(config.name.as_str())
}

/// The HTTP connection managers of a listener, over all its filter chains.
pub fn connection_managers(listener: &Listener) -> impl Iterator<Item = HttpConnectionManager> {
    let chains = listener.filter_chains.iter().chain(&listener.default_filter_chain);
    let api = listener.api_listener.iter().filter_map(|api| unpack(api.api_listener.as_ref()?));
    let filters = chains.flat_map(|chain| &chain.filters).filter_map(|filter| match &filter.config_type {
        Some(ConfigType::TypedConfig(any)) => unpack(any),
        Some(ConfigType::ConfigDiscovery(_)) | None => None,
    });
    filters.chain(api)
}

fn of_listener(listener: &Listener) -> Vec<(ResourceType, String)> {
    let mut names = Vec::new();
    for manager in connection_managers(listener) {
        if let Some(RouteSpecifier::Rds(rds)) = manager.route_specifier
            && is_stream(rds.config_source.as_ref())
        {
            names.push((ResourceType::Route, rds.route_config_name));
        }
    }
    for chain in listener.filter_chains.iter().chain(&listener.default_filter_chain) {
        if let Some(tls) = chain.transport_socket.as_ref().and_then(typed::<DownstreamTlsContext>)
            && let Some(common) = tls.common_tls_context
        {
            names.extend(secrets(&common).into_iter().map(|name| (ResourceType::Secret, name)));
        }
    }
    names
}

/// The secrets of a TLS context that come from the same stream.
fn secrets(context: &CommonTlsContext) -> Vec<String> {
    let validation = match &context.validation_context_type {
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => Some(config),
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            combined.validation_context_sds_secret_config.as_ref()
        }
        _ => None,
    };
    certificates(context).chain(validation.and_then(secret).map(str::to_owned)).collect()
}

/// The secrets with a TLS context's own certificates.
fn certificates(context: &CommonTlsContext) -> impl Iterator<Item = String> {
    context.tls_certificate_sds_secret_configs.iter().filter_map(secret).map(str::to_owned)
}

/// The configuration of a transport socket, if it is of this type.
fn typed<T: Message + Name + Default>(socket: &TransportSocket) -> Option<T> {
    match &socket.config_type {
        Some(SocketConfig::TypedConfig(any)) => unpack(any),
        None => None,
    }
}

/// Whether a source means the stream that the resource itself came by. One that is not given does.
fn is_stream(source: Option<&ConfigSource>) -> bool {
    match source.and_then(|source| source.config_source_specifier.as_ref()) {
        None | Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => true,
        Some(_) => false,
    }
}
