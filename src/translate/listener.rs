//! Listeners: which route configurations are served, where, and behind which filters.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::listener::v3::{FilterChain, FilterChainMatch, Listener as EnvoyListener};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    RouteSpecifier, StripPortMode,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_filter,
};

use super::filters::{self, Verdict};
use super::report::Notes;
use crate::apisix::Expr;
use crate::apisix::expr::{self, Op};
use crate::envoy::{ResourceType, any};

/// A listener in the terms of APISIX.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listener {
    pub(super) port: Option<u32>,
    pub(super) uses: Vec<Use>,
    /// Route configurations that are part of it, by a name that no other has.
    pub(super) inline: Vec<(String, RouteConfiguration)>,
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
    /// Whether a port in the Host header is ignored.
    pub(super) ignore_port: bool,
    /// Whether connections may become websockets unless a route says otherwise.
    pub(super) websocket: bool,
    /// Filters that protect all routes, by name. None if nothing is known of filters.
    pub(super) filters: Option<BTreeMap<String, Verdict>>,
}

/// Takes a listener apart.
pub(super) fn take(listener: &EnvoyListener) -> Listener {
    let mut notes = Notes::of(ResourceType::Listener, &listener.name);
    let mut taken = Listener { port: port(listener), uses: Vec::new(), inline: Vec::new(), notes: notes.clone() };
    for chain in listener.filter_chains.iter().chain(&listener.default_filter_chain) {
        let Some(conditions) = conditions(chain, &mut notes) else { continue };
        if chain.transport_socket.is_some() {
            let reason = "certificates of listeners are not translated yet";
            notes.not_expressible(
                "filter_chains.transport_socket",
                reason,
                "APISIX needs its certificates from elsewhere",
            );
        }
        for filter in &chain.filters {
            let Some(ConfigType::TypedConfig(config)) = &filter.config_type else { continue };
            if let Some(manager) = any::unpack::<HttpConnectionManager>(config) {
                taken.add(&listener.name, manager, conditions.clone(), &mut notes);
            } else {
                let reason = format!("network filters of the type {} are not translated", any::type_of(config));
                notes.not_expressible("filter_chains.filters", &reason, "nothing is served for it");
            }
        }
    }
    let api = listener.api_listener.as_ref().and_then(|api| any::unpack(api.api_listener.as_ref()?));
    if let Some(manager) = api {
        taken.add(&listener.name, manager, Vec::new(), &mut notes);
    }
    taken.notes = notes;
    taken
}

impl Listener {
    fn add(&mut self, name: &str, manager: HttpConnectionManager, conditions: Vec<Expr>, notes: &mut Notes) {
        let context = Context {
            conditions,
            ignore_port: matches!(manager.strip_port_mode, Some(StripPortMode::StripAnyHostPort(true)))
                || manager.strip_matching_host_port,
            websocket: manager.upgrade_configs.iter().any(|config| {
                config.upgrade_type.eq_ignore_ascii_case("websocket") && config.enabled.is_none_or(|on| on.value)
            }),
            filters: Some(filters(&manager, notes)),
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

/// The filters that protect routes, or are switched on by some of them. What is merely missed is noted.
fn filters(manager: &HttpConnectionManager, notes: &mut Notes) -> BTreeMap<String, Verdict> {
    let mut kept = BTreeMap::new();
    for filter in &manager.http_filters {
        let verdict = match &filter.config_type {
            Some(http_filter::ConfigType::TypedConfig(config)) => filters::verdict(config),
            // What is in it is not known, so that it may protect.
            Some(http_filter::ConfigType::ConfigDiscovery(_)) => Verdict::Protects(filter.name.clone()),
            None => Verdict::Harmless,
        };
        match &verdict {
            Verdict::Missed(name) => {
                let reason = format!("the filter {name} is not translated");
                notes.not_expressible("http_filters", &reason, "requests pass without it");
            }
            Verdict::Protects(_) | Verdict::Harmless | Verdict::Off => {}
        }
        kept.insert(filter.name.clone(), if filter.disabled { Verdict::Off } else { verdict });
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

/// What must hold of a connection to come by this chain. None if it cannot be said, so that nothing of it is served.
fn conditions(chain: &FilterChain, notes: &mut Notes) -> Option<Vec<Expr>> {
    let Some(found) = &chain.filter_chain_match else { return Some(Vec::new()) };
    let mut conditions = Vec::new();
    if !found.server_names.is_empty() {
        let names: Vec<_> = found.server_names.iter().map(|name| server_name(name)).collect();
        let names = format!("^(?:{})\\z", names.join("|"));
        conditions.push(Expr::is("ssl_server_name", Op::MatchesAnyCase, names));
    }
    match found.transport_protocol.as_str() {
        "tls" => conditions.push(Expr::is("scheme", Op::Eq, "https")),
        "raw_buffer" => conditions.push(Expr::is("scheme", Op::Eq, "http")),
        _ => {}
    }
    let rest = FilterChainMatch { server_names: Vec::new(), transport_protocol: String::new(), ..found.clone() };
    // That HTTP is spoken inside is no condition for a gateway that speaks nothing else.
    let http = |name: &String| ["http/1.0", "http/1.1", "h2", "h2c", "istio-http/1.1"].contains(&name.as_str());
    let rest = if rest.application_protocols.iter().all(http) {
        FilterChainMatch { application_protocols: Vec::new(), ..rest }
    } else {
        rest
    };
    if rest != FilterChainMatch::default() {
        let reason = "the chain is chosen by something that APISIX does not see";
        notes.not_expressible("filter_chains.filter_chain_match", reason, "nothing is served for the chain");
        return None;
    }
    Some(conditions)
}

fn server_name(name: &str) -> String {
    match name.strip_prefix("*.") {
        Some(suffix) => format!(".+\\.{}", expr::literal(suffix)),
        None => expr::literal(name),
    }
}
