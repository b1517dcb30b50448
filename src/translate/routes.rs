//! A route configuration: its virtual hosts and their routes, put together for each use of it.

mod mutations;
mod sessions;
mod ways;
mod web;

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use serde_json::{Value, json};

use self::web::Round;
use super::bounds::{self, Bounds};
use super::derived::Target;
use super::filter::{Outcome, Plugins, Way};
use super::hosts::{self, Hosts, Strip};
use super::listener::Context;
use super::order;
use super::report::Notes;
use super::route::{self, Route};
use super::{Options, action, headers, ids};
use crate::apisix::{Expr, Route as ApisixRoute};
use crate::envoy::ResourceType;

/// A route configuration in the terms of APISIX.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Routes {
    name: String,
    ignore_port: bool,
    hosts: Vec<VirtualHost>,
    pub(super) notes: Notes,
}

#[derive(Clone, Debug, PartialEq)]
struct VirtualHost {
    name: String,
    domains: Vec<String>,
    routes: Vec<Route>,
}

/// A place where a route configuration is served.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) context: Context,
    /// The ports, if routes are tied to them.
    pub(super) ports: BTreeSet<u32>,
}

/// What routes depend on beside their own configuration.
pub(super) struct Around<'a> {
    /// Addresses for copies of requests, by cluster.
    pub(super) mirrors: BTreeMap<String, String>,
    /// Bounds of clusters that have any.
    pub(super) bounds: &'a BTreeMap<String, Bounds>,
    /// How it is translated.
    pub(super) options: Options,
    /// Whether there may be routes of others that take what this configuration leaves, which Envoy would not let them
    /// have.
    pub(super) wider: bool,
}

/// Takes a route configuration apart.
pub(super) fn take(name: &str, configuration: &RouteConfiguration) -> Routes {
    let mut notes = Notes::of(ResourceType::Route, name);
    if configuration.vhds.is_some() {
        notes.not_expressible("vhds", "virtual hosts on demand", "only those that are given are served");
    }
    let hosts = configuration.virtual_hosts.iter().map(|host| {
        if host.matcher.is_some() {
            notes.not_expressible("virtual_hosts.matcher", "not translated", "no route of it is served");
        }
        let routes = host.routes.iter().filter_map(|route| route::take(route, host, configuration, &mut notes));
        let mut routes: Vec<_> = routes.collect();
        if host.require_tls != 0 {
            let reason = "APISIX would have to redirect before it looks for a route";
            notes.not_expressible("virtual_hosts.require_tls", reason, "its requests are answered 403");
            for route in &mut routes {
                route.action = forbidden();
            }
        }
        VirtualHost { name: host.name.clone(), domains: host.domains.clone(), routes }
    });
    let hosts = hosts.collect();
    Routes { name: name.to_owned(), ignore_port: configuration.ignore_port_in_host_matching, hosts, notes }
}

impl Routes {
    /// The clusters that the routes name, as they use them at these places.
    pub(super) fn targets(&self, places: &[Place], around: &Around<'_>) -> BTreeSet<Target> {
        let mut targets = BTreeSet::new();
        for place in places {
            let assembly = Assembly { routes: self, place, around, alone: false };
            let routes = self.hosts.iter().flat_map(|host| &host.routes);
            targets.extend(routes.flat_map(|route| assembly.targets(route)).map(|(target, _)| target));
        }
        targets
    }

    /// The clusters that get copies of requests.
    pub(super) fn mirrors(&self) -> BTreeSet<String> {
        let routes = self.hosts.iter().flat_map(|host| &host.routes);
        routes.filter_map(|route| route.action.mirror.as_ref()).map(|mirror| mirror.cluster.clone()).collect()
    }

    /// The routes of APISIX for all places, and what to say of them.
    pub(super) fn assemble(&self, places: &[Place], around: &Around<'_>) -> (Vec<ApisixRoute>, Notes) {
        let mut notes = self.notes.clone();
        let mut out = Vec::new();
        for place in places {
            let same = |other: &&Place| other.context.conditions == place.context.conditions;
            let alone = places.iter().filter(same).count() > 1;
            let assembly = Assembly { routes: self, place, around, alone };
            assembly.run(&mut out, &mut notes);
        }
        (out, notes)
    }
}

/// A route on its way to its place among the others.
struct Candidate<'a> {
    route: &'a Route,
    host: &'a VirtualHost,
    /// Conditions of its host, beside its own.
    conditions: Vec<Expr>,
    /// Conditions of the way through the filters that it stands for, and what happens on it.
    way: Way,
}

impl<'a> Candidate<'a> {
    fn new(route: &'a Route, host: &'a VirtualHost, conditions: Vec<Expr>) -> Self {
        Self { route, host, conditions, way: (Vec::new(), Outcome::Pass(Plugins::new())) }
    }
}

/// The putting together for one place.
struct Assembly<'a> {
    routes: &'a Routes,
    place: &'a Place,
    around: &'a Around<'a>,
    /// Whether only the ports tell this place from another one.
    alone: bool,
}

impl Assembly<'_> {
    fn run(&self, out: &mut Vec<ApisixRoute>, notes: &mut Notes) {
        let port = if self.routes.ignore_port { &Strip::Any } else { &self.place.context.strip };
        let terminal = Route::terminal();
        let hosts: Vec<(&VirtualHost, Hosts)> = self
            .routes
            .hosts
            .iter()
            .map(|host| {
                let (hosts, refused) = hosts::take(&host.domains, port);
                for domain in refused {
                    let reason = format!("APISIX has no such host: {domain}");
                    notes.not_expressible("virtual_hosts.domains", &reason, "nothing is served for it");
                }
                (host, hosts)
            })
            .collect();
        // Envoy commits to the virtual host that fits best; APISIX goes on to wider ones.
        let wild = |hosts: &Hosts| {
            hosts.any || !hosts.prefixes.is_empty() || hosts.named.values().flatten().any(|name| name.starts_with('*'))
        };
        let wider = self.around.wider || hosts.iter().any(|(_, hosts)| wild(hosts));
        for (host, hosts) in &hosts {
            for (rule, names) in &hosts.named {
                let conditions = rule.conditions();
                let routes = host.routes.iter().chain(wider.then_some(&terminal));
                let candidates: Vec<_> = routes.map(|route| Candidate::new(route, host, conditions.clone())).collect();
                self.emit(&candidates, names, &rule.key(), out, notes);
            }
        }
        self.emit(&hostless(&hosts, &terminal), &[], "", out, notes);
    }

    /// Makes routes of candidates that share a table of hosts, in their order.
    fn emit(
        &self,
        candidates: &[Candidate<'_>],
        names: &[String],
        key: &str,
        out: &mut Vec<ApisixRoute>,
        notes: &mut Notes,
    ) {
        let web = candidates.iter().any(|candidate| self.translates_web(candidate.route, notes));
        let rounds: &[_] = if web { &[Round::Others, Round::Web] } else { &[Round::All] };
        rounds.iter().for_each(|round| self.emit_round(candidates, names, key, *round, out, notes));
    }

    /// Makes the routes for some of the requests.
    fn emit_round(
        &self,
        candidates: &[Candidate<'_>],
        names: &[String],
        key: &str,
        round: Round,
        out: &mut Vec<ApisixRoute>,
        notes: &mut Notes,
    ) {
        let candidates: Vec<_> = candidates.iter().flat_map(|candidate| self.expand(candidate, round, notes)).collect();
        // A condition that all of them have lets none of them take more than another.
        let alike = candidates.windows(2).all(|pair| pair[0].conditions == pair[1].conditions);
        let uris: Vec<_> = candidates.iter().map(|candidate| round.uris(candidate.route)).collect();
        let entries: Vec<_> = candidates
            .iter()
            .zip(&uris)
            .map(|(candidate, uris)| order::Entry {
                uris,
                unconditional: candidate.route.is_unconditional()
                    && round.path(candidate.route).is_none()
                    && candidate.way.0.is_empty()
                    && (alike || candidate.conditions.is_empty()),
            })
            .collect();
        let mut twins: BTreeMap<(&str, String, &[u8]), u32> = BTreeMap::new();
        for (position, (candidate, uris)) in candidates.iter().zip(order::places(&entries)).enumerate() {
            let mut host_key = Expr::vars(&candidate.conditions).to_string();
            if !candidate.way.0.is_empty() {
                host_key += &Expr::vars(&candidate.way.0).to_string();
            }
            if let Some(condition) = round.condition() {
                host_key += &Expr::vars(&[condition]).to_string();
            }
            if self.alone {
                host_key.extend(self.place.ports.iter().map(|port| format!(" {port}")));
            }
            // Routes with the same match are told apart by their order.
            let twin = twins.entry((&candidate.host.name, host_key.clone(), &candidate.route.key)).or_default();
            *twin += 1;
            if uris.is_empty() {
                continue;
            }
            let priority = i64::try_from(candidates.len() - position).unwrap_or(i64::MAX);
            let identity = [
                b"route".as_ref(),
                self.routes.name.as_bytes(),
                candidate.host.name.as_bytes(),
                key.as_bytes(),
                host_key.as_bytes(),
                Expr::vars(&self.place.context.conditions).to_string().as_bytes(),
                &candidate.route.key,
                &twin.to_le_bytes(),
            ]
            .map(<[u8]>::to_vec);
            let id = ids::id(identity.iter().map(Vec::as_slice));
            let route = self.route(candidate, round, notes);
            let (uris, hosts) = (uris.iter().map(super::path::Uri::pattern).collect(), names.to_vec());
            out.push(ApisixRoute { id, uris, hosts, priority, ..route });
        }
    }

    /// A route without id, hosts, paths and priority.
    fn route(&self, candidate: &Candidate<'_>, round: Round, notes: &mut Notes) -> ApisixRoute {
        let Candidate { route, host, conditions, way: (guard, outcome) } = candidate;
        let context = &self.place.context;
        let action = match outcome {
            Outcome::Answer(status, body) => action::Action::answer(*status, body),
            Outcome::Pass(plugins) => {
                let mut action = route.action.clone();
                self.mutate(route, &mut action, notes);
                for (name, config) in plugins {
                    match action.plugins.get_mut(name) {
                        Some(own) if *name == "proxy-rewrite" => headers::also_remove(own, config),
                        Some(_) => {}
                        None => drop(action.plugins.insert(name, config.clone())),
                    }
                }
                action
            }
        };
        let ports: Vec<_> = self.place.ports.iter().map(u32::to_string).collect();
        let port = match ports.as_slice() {
            [] => None,
            [one] => Some(Expr::is("server_port", crate::apisix::expr::Op::Eq, one.clone())),
            many => Some(Expr::is("server_port", crate::apisix::expr::Op::In, many.to_vec())),
        };
        let own = route.conditions(context.normalisation);
        let (path, asked) = (round.path(route), round.condition());
        let all = own.iter().chain(guard).chain(conditions).chain(&context.conditions).chain(&port);
        let all = all.chain(&path).chain(&asked);
        let name = format!("{}/{}/{}", self.routes.name, host.name, route.name);
        let mut plugins = action.plugins;
        if context.strip == Strip::Any
            && let Some(Value::String(to)) = plugins.get_mut("redirect").and_then(|redirect| redirect.get_mut("uri"))
        {
            // Envoy has taken the port away before it redirects.
            *to = to.replace("$http_host", "$host");
        }
        if let Some(mirror) = &action.mirror
            && let Some(address) = self.around.mirrors.get(&mirror.cluster)
        {
            plugins.insert("proxy-mirror", json!({"host": address, "sample_ratio": mirror.share}));
        }
        bounds::keep(&action.targets, self.around.bounds, &mut plugins, notes);
        let targets = if action.targets.is_empty() { Vec::new() } else { self.targets(route) };
        let (upstream_id, split) = upstreams(&targets);
        plugins.extend(split.map(|split| ("traffic-split", split)));
        ApisixRoute {
            name: ids::name(&name),
            labels: ids::labels([
                ("xds_route_configuration", &self.routes.name),
                ("xds_virtual_host", &host.name),
                ("xds_route", &route.name),
            ]),
            methods: route.methods.clone(),
            vars: Expr::vars(&all.cloned().collect::<Vec<_>>()),
            upstream_id,
            plugins,
            timeout: action.timeout,
            enable_websocket: action.websocket.unwrap_or(context.websocket && !action.targets.is_empty()),
            ..ApisixRoute::default()
        }
    }
}

/// The routes for hosts that no name or suffix fits: first those of `name.*`, the longest first, then those of any.
fn hostless<'a>(hosts: &'a [(&'a VirtualHost, Hosts)], terminal: &'a Route) -> Vec<Candidate<'a>> {
    let mut prefixes: Vec<_> =
        hosts.iter().flat_map(|(host, hosts)| hosts.prefixes.iter().map(move |prefix| (prefix, *host))).collect();
    prefixes.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    let mut candidates = Vec::new();
    for (prefix, host) in prefixes {
        for route in host.routes.iter().chain([terminal]) {
            candidates.push(Candidate::new(route, host, vec![hosts::begins_with(prefix)]));
        }
    }
    let any = hosts.iter().filter(|(_, hosts)| hosts.any);
    let any = any.flat_map(|(host, _)| host.routes.iter().map(move |route| (route, *host)));
    candidates.extend(any.map(|(route, host)| Candidate::new(route, host, Vec::new())));
    candidates
}

fn upstreams(targets: &[(Target, u32)]) -> (Option<String>, Option<Value>) {
    match targets {
        [] => (None, None),
        [(only, _)] => (Some(only.id()), None),
        [(first, _), ..] => {
            let weighted: Vec<_> =
                targets.iter().map(|(target, weight)| json!({"upstream_id": target.id(), "weight": weight})).collect();
            (Some(first.id()), Some(json!({"rules": [{"weighted_upstreams": weighted}]})))
        }
    }
}

/// The body of what is answered 403 because a filter has no equal.
const FORBIDDEN: &str = "this route is protected in a way that cannot be expressed\n";

fn forbidden() -> action::Action {
    action::Action::answer(403, FORBIDDEN)
}
