//! Listeners: which route configurations are served, where, and behind which filters.

mod chain;
mod downstream;
mod settings;
mod stream;

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::listener::v3::Listener as EnvoyListener;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    PathWithEscapedSlashesAction, RouteSpecifier, StripPortMode,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_filter,
};

use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::google::protobuf::Any;

use super::filters::{self, Filter};
use super::hosts::Strip;
use super::raw_path::Normalisation;
use super::report::Notes;
use crate::apisix::Expr;
use crate::envoy::{ResourceType, any};
pub(super) use downstream::Downstream;
pub(super) use stream::Stream;

/// A listener in the terms of APISIX.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listener {
    pub(super) port: Option<u32>,
    pub(super) uses: Vec<Use>,
    /// Route configurations that are part of it, by a name that no other has.
    pub(super) inline: Vec<(String, RouteConfiguration)>,
    /// What its chains present to clients.
    pub(super) tls: Vec<Downstream>,
    /// Connections that it passes on as they are.
    pub(super) streams: Vec<Stream>,
    pub(super) notes: Notes,
}

/// A use of a route configuration by a connection manager.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Use {
    /// Name of the route configuration.
    pub(super) routes: String,
    pub(super) context: Context,
}

/// What a connection manager adds to every route that it serves.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Context {
    /// What must hold of the connection.
    pub(super) conditions: Vec<Expr>,
    /// Which port in the Host header is ignored.
    pub(super) strip: Strip,
    /// What is done to paths before routes are looked for. None if it is not known.
    pub(super) normalisation: Option<Normalisation>,
    /// Whether connections may become websockets unless a route says otherwise.
    pub(super) websocket: bool,
    /// The filters with their names, in their order. None if nothing is known of filters.
    pub(super) filters: Option<Vec<(String, Filter)>>,
    /// Whether the client's address is that of the connection, as it is to APISIX when it chooses a route.
    pub(super) direct: bool,
}

/// Takes a listener apart.
pub(super) fn take(listener: &EnvoyListener) -> Listener {
    let mut notes = Notes::of(ResourceType::Listener, &listener.name);
    let mut taken = Listener {
        port: port(listener),
        uses: Vec::new(),
        inline: Vec::new(),
        tls: Vec::new(),
        streams: Vec::new(),
        notes: notes.clone(),
    };
    for (chain, conditions) in chain::all(listener, &mut notes) {
        let Some(conditions) = conditions else { continue };
        let Ok(tls) = downstream::take(chain, &mut notes) else { continue };
        taken.tls.extend(tls);
        let mut guards = BTreeMap::new();
        for filter in &chain.filters {
            let config = match &filter.config_type {
                Some(ConfigType::TypedConfig(config)) => config,
                Some(ConfigType::ConfigDiscovery(_)) => {
                    guards.insert(filter.name.clone(), Filter::Protects(filter.name.clone()));
                    continue;
                }
                None => continue,
            };
            if let Some(manager) = any::unpack::<HttpConnectionManager>(config) {
                taken.add(&listener.name, manager, conditions.clone(), &guards, &mut notes);
            } else if let Some(proxy) = any::unpack::<TcpProxy>(config) {
                let stream = stream::take(listener, chain, &proxy, taken.port, &guards, &mut notes);
                taken.streams.extend(stream);
            } else {
                // What a filter in front does not let pass must not pass here either.
                match network(config) {
                    Filter::Protects(name) => drop(guards.insert(filter.name.clone(), Filter::Protects(name))),
                    Filter::Missed(name) => {
                        let reason = format!("network filters of the type {name} are not translated");
                        notes.not_expressible("filter_chains.filters", &reason, "connections pass without it");
                    }
                    Filter::Harmless
                    | Filter::Off
                    | Filter::Does(_)
                    | Filter::Keeps(_)
                    | Filter::Mutates(_)
                    | Filter::Choice { .. }
                    | Filter::Chosen(_)
                    | Filter::Waits(_) => {}
                }
            }
        }
    }
    let api = listener.api_listener.as_ref().and_then(|api| any::unpack(api.api_listener.as_ref()?));
    if let Some(manager) = api {
        taken.add(&listener.name, manager, Vec::new(), &BTreeMap::new(), &mut notes);
    }
    taken.notes = notes;
    taken
}

impl Listener {
    fn add(
        &mut self,
        name: &str,
        manager: HttpConnectionManager,
        conditions: Vec<Expr>,
        guards: &BTreeMap<String, Filter>,
        notes: &mut Notes,
    ) {
        settings::remark(&manager, notes);
        let guards = guards.iter().map(|(name, filter)| (format!("network filter {name}"), filter.clone()));
        let filters = guards.chain(filters(&manager, self.port, notes)).collect();
        let normalisation = Normalisation {
            normalised: manager.normalize_path.is_some_and(|on| on.value),
            merged: manager.merge_slashes,
            unescaped: matches!(
                manager.path_with_escaped_slashes_action(),
                PathWithEscapedSlashesAction::UnescapeAndRedirect | PathWithEscapedSlashesAction::UnescapeAndForward
            ),
        };
        if let Some((field, effect)) = normalisation.remark() {
            notes.approximate(field, "nginx normalises every path before APISIX looks for a route", effect);
        }
        let strip = match (&manager.strip_port_mode, self.port) {
            (Some(StripPortMode::StripAnyHostPort(true)), _) => Strip::Any,
            (_, Some(port)) if manager.strip_matching_host_port => Strip::Port(port),
            _ => Strip::Never,
        };
        if strip != Strip::Never {
            let effect = "upstreams get the port in the Host header, and so do clients in redirects if it is the \
                          listener's port that is to be stripped";
            notes.approximate("strip_port_mode", "APISIX passes the Host header on as it came", effect);
        }
        let context = Context {
            conditions,
            strip,
            normalisation: Some(normalisation),
            websocket: manager.upgrade_configs.iter().any(|config| {
                config.upgrade_type.eq_ignore_ascii_case("websocket") && config.enabled.is_none_or(|on| on.value)
            }),
            filters: Some(filters),
            direct: manager.use_remote_address.is_some_and(|used| used.value)
                && manager.xff_num_trusted_hops == 0
                && manager.original_ip_detection_extensions.is_empty(),
        };
        let routes = match manager.route_specifier {
            Some(RouteSpecifier::Rds(rds)) => rds.route_config_name,
            Some(RouteSpecifier::RouteConfig(routes)) => {
                // Inline route configurations need no name, and may share one with others.
                let name = format!("{name}#{}{}", self.inline.len(), if routes.name.is_empty() { "" } else { "/" });
                let name = format!("{name}{}", routes.name);
                self.inline.push((name.clone(), routes));
                name
            }
            Some(RouteSpecifier::ScopedRoutes(_)) => {
                notes.not_expressible("scoped_routes", "APISIX has one set of routes", "nothing is served for it");
                return;
            }
            None => return,
        };
        self.uses.push(Use { routes, context });
    }
}

/// The filters. What is merely missed is noted.
fn filters(manager: &HttpConnectionManager, port: Option<u32>, notes: &mut Notes) -> Vec<(String, Filter)> {
    let mut kept = Vec::new();
    for filter in &manager.http_filters {
        let taken = match &filter.config_type {
            Some(http_filter::ConfigType::TypedConfig(config)) => filters::take(config, port, notes),
            // What is in it is not known, so that it may protect.
            Some(http_filter::ConfigType::ConfigDiscovery(_)) => Filter::Protects(filter.name.clone()),
            None => Filter::Harmless,
        };
        if let Filter::Missed(name) = &taken {
            let reason = format!("the filter {name} is not translated");
            notes.not_expressible("http_filters", &reason, "requests pass without it");
        }
        kept.push((filter.name.clone(), if filter.disabled { Filter::Waits(Box::new(taken)) } else { taken }));
    }
    kept
}

fn port(listener: &EnvoyListener) -> Option<u32> {
    match listener.address.as_ref()?.address.as_ref()? {
        Address::SocketAddress(address) => match address.port_specifier {
            Some(PortSpecifier::PortValue(port)) => Some(port),
            _ => None,
        },
        _ => None,
    }
}

/// What a network filter in front of the last one means.
fn network(config: &Any) -> Filter {
    let name = any::type_of(config);
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    if has(&["metadata_exchange", "istio.", "stats.PluginConfig", ".set_filter_state.", ".sni_cluster."]) {
        Filter::Harmless
    } else if has(&[".connection_limit.", ".local_ratelimit.", ".ratelimit.", ".tcp_bandwidth_limit."]) {
        Filter::Missed(name)
    } else {
        Filter::Protects(name)
    }
}
