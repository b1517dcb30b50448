//! Filter chains: what must hold of a connection for each of them.
//!
//! Envoy looks at one property after the other, takes the most particular value that fits, and never goes back. In
//! APISIX routes of several chains lie side by side, so that a chain's conditions also say what others have before it.

use envoy_types::pb::envoy::config::core::v3::CidrRange;
use envoy_types::pb::envoy::config::listener::v3::{FilterChain, FilterChainMatch, Listener};

use super::super::report::Notes;
use crate::apisix::Expr;
use crate::apisix::expr::{self, Op};

/// What a chain asks of one property of a connection after the other. None where it asks for nothing.
type Levels = Vec<Option<Level>>;

/// What a chain asks of a property.
#[derive(Clone, Debug, PartialEq)]
enum Level {
    Port(u32),
    /// Addresses of the variable.
    Networks(&'static str, Vec<String>),
    Names(Vec<String>),
    Tls(bool),
    SourcePorts(Vec<u32>),
}

impl Level {
    fn condition(&self) -> Expr {
        match self {
            Self::Port(port) => Expr::is("server_port", Op::Eq, port.to_string()),
            Self::Networks(var, networks) => Expr::is(*var, Op::IpMatch, networks.clone()),
            Self::Names(names) => {
                let names: Vec<_> = names.iter().map(|name| server_name(name)).collect();
                Expr::is("ssl_server_name", Op::MatchesAnyCase, format!("^(?:{})\\z", names.join("|")))
            }
            Self::Tls(tls) => Expr::is("scheme", Op::Eq, if *tls { "https" } else { "http" }),
            Self::SourcePorts(ports) => {
                Expr::is("remote_port", Op::In, ports.iter().map(u32::to_string).collect::<Vec<_>>())
            }
        }
    }

    /// What of this level is more particular than `other`, which is nothing or of the same property.
    fn ahead_of(&self, other: Option<&Self>) -> Option<Self> {
        let Some(other) = other else { return Some(self.clone()) };
        match (self, other) {
            (Self::Names(names), Self::Names(others)) => {
                let inside = |name: &&String| {
                    others.iter().any(|other| {
                        let suffix = other.strip_prefix('*');
                        *other != **name && suffix.is_some_and(|suffix| name.trim_start_matches('*').ends_with(suffix))
                    })
                };
                let names: Vec<_> = names.iter().filter(inside).cloned().collect();
                (!names.is_empty()).then_some(Self::Names(names))
            }
            (Self::Networks(var, networks), Self::Networks(_, others)) => {
                let length = |network: &String| -> u32 {
                    network.rsplit_once('/').and_then(|(_, length)| length.parse().ok()).unwrap_or(128)
                };
                let widest = others.iter().map(length).min().unwrap_or(0);
                let narrower = networks.iter().filter(|network| length(network) > widest && !others.contains(network));
                let narrower: Vec<_> = narrower.cloned().collect();
                (!narrower.is_empty()).then_some(Self::Networks(var, narrower))
            }
            // One value each, of which a connection has one.
            _ => None,
        }
    }
}

/// The chains of a listener with their conditions. None for those of which nothing can be served.
pub(super) fn all<'a>(listener: &'a Listener, notes: &mut Notes) -> Vec<(&'a FilterChain, Option<Vec<Expr>>)> {
    if listener.filter_chain_matcher.is_some() && listener.filter_chains.len() > 1 {
        let reason = "chains are chosen by a tree of matchers";
        notes.not_expressible("filter_chain_matcher", reason, "nothing is served for them");
        return Vec::new();
    }
    let levels: Vec<_> = listener.filter_chains.iter().map(|chain| levels(chain, notes)).collect();
    let known = || levels.iter().flatten();
    let mut out = Vec::new();
    for (chain, own) in listener.filter_chains.iter().zip(&levels) {
        let conditions = own.as_ref().map(|own| {
            let ahead = known().filter(|other| *other != own).filter_map(|other| before(other, own));
            conditions(own).into_iter().chain(ahead.map(|all| Expr::All(all).negated())).collect()
        });
        out.push((chain, conditions));
    }
    if let Some(chain) = &listener.default_filter_chain {
        // It has what no other chain takes, as far as these are known.
        let conditions: Option<Vec<_>> =
            levels.iter().map(|own| Some(Expr::All(conditions(own.as_ref()?)).negated())).collect();
        out.push((chain, conditions));
    }
    out
}

fn conditions(levels: &Levels) -> Vec<Expr> {
    levels.iter().flatten().map(Level::condition).collect()
}

/// What must hold of a connection for `other` to have it rather than `own`: the properties up to the first in which
/// `other` is more particular.
fn before(other: &Levels, own: &Levels) -> Option<Vec<Expr>> {
    let mut conditions = Vec::new();
    for (other, own) in other.iter().zip(own) {
        if other == own {
            conditions.extend(other.iter().map(Level::condition));
            continue;
        }
        let ahead = other.as_ref()?.ahead_of(own.as_ref())?;
        conditions.push(ahead.condition());
        return Some(conditions);
    }
    None
}

/// What a chain asks for. None if that cannot be said, so that nothing of it is served.
fn levels(chain: &FilterChain, notes: &mut Notes) -> Option<Levels> {
    let Some(found) = &chain.filter_chain_match else { return Some(vec![None; 7]) };
    // That HTTP is spoken inside is no condition for a gateway that speaks nothing else.
    let http = |name: &String| ["http/1.0", "http/1.1", "h2", "h2c", "istio-http/1.1"].contains(&name.as_str());
    let transport = match found.transport_protocol.as_str() {
        "tls" => Some(Some(Level::Tls(true))),
        "raw_buffer" => Some(Some(Level::Tls(false))),
        "" => Some(None),
        _ => None,
    };
    let rest = FilterChainMatch {
        destination_port: None,
        prefix_ranges: Vec::new(),
        direct_source_prefix_ranges: Vec::new(),
        source_prefix_ranges: Vec::new(),
        source_ports: Vec::new(),
        server_names: Vec::new(),
        transport_protocol: String::new(),
        application_protocols: Vec::new(),
        ..found.clone()
    };
    let (Some(transport), true) =
        (transport, rest == FilterChainMatch::default() && found.application_protocols.iter().all(http))
    else {
        let reason = "the chain is chosen by something that APISIX does not see";
        notes.not_expressible("filter_chains.filter_chain_match", reason, "nothing is served for the chain");
        return None;
    };
    let networks = |var, ranges: &[CidrRange]| {
        (!ranges.is_empty()).then(|| Level::Networks(var, ranges.iter().map(network).collect()))
    };
    Some(vec![
        found.destination_port.map(|port| Level::Port(port.value)),
        networks("server_addr", &found.prefix_ranges),
        (!found.server_names.is_empty()).then(|| Level::Names(found.server_names.clone())),
        transport,
        networks("realip_remote_addr", &found.direct_source_prefix_ranges),
        networks("remote_addr", &found.source_prefix_ranges),
        (!found.source_ports.is_empty()).then(|| Level::SourcePorts(found.source_ports.clone())),
    ])
}

/// A network as APISIX writes it.
pub(super) fn network(range: &CidrRange) -> String {
    let whole = if range.address_prefix.contains(':') { 128 } else { 32 };
    match range.prefix_len.map_or(0, |length| length.value) {
        length if length >= whole => range.address_prefix.clone(),
        length => format!("{}/{length}", range.address_prefix),
    }
}

fn server_name(name: &str) -> String {
    match name.strip_prefix("*.") {
        Some(suffix) => format!(".+\\.{}", expr::literal(suffix)),
        None if name == "*" => ".*".into(),
        None => expr::literal(name),
    }
}
