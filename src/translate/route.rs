//! One route of a virtual host, taken apart.

use std::collections::{BTreeMap, HashMap};

use envoy_types::pb::envoy::config::route::v3::route::Action as EnvoyAction;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{
    Route as EnvoyRoute, RouteConfiguration, RouteMatch, VirtualHost, WeightedCluster,
};
use envoy_types::pb::google::protobuf::Any;
use prost::Message;

use super::action::{self, Action};
use super::filters::{self, Filter};
use super::fraction;
use super::headers::{self, Changes, Of};
use super::matchers::{self, Header};
use super::path::{self, Uri};
use super::pcre;
use super::raw_path::{Normalisation, Sent};
use super::report::Notes;
use crate::apisix::Expr;
use crate::apisix::expr::Op;

/// A route in the terms of APISIX, without its hosts and its place among the others.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Route {
    /// Name for people.
    pub(super) name: String,
    /// What tells it from the other routes of its virtual host, but for routes with the same match.
    pub(super) key: Vec<u8>,
    pub(super) uris: Vec<Uri>,
    pub(super) methods: Vec<String>,
    /// What must hold of the path in nginx's form, beside where the route is tried.
    path: Option<Expr>,
    sent: Sent,
    /// What must hold beside the path.
    conditions: Vec<Expr>,
    pub(super) action: Action,
    /// What is changed of headers behind all filters. The action's plugins do it.
    pub(super) changed: Changes,
    /// What its own configuration says of filters, by the filter's name.
    pub(super) filters: BTreeMap<String, Filter>,
}

impl Route {
    /// Whether it takes every request at its paths.
    pub(super) fn is_unconditional(&self) -> bool {
        self.methods.is_empty() && self.path.is_none() && self.conditions.is_empty()
    }

    /// What must hold of a request, where Envoy normalises its path so.
    pub(super) fn conditions(&self, normalisation: Option<Normalisation>) -> Vec<Expr> {
        let mut conditions = self.sent.conditions(self.path.as_ref(), normalisation);
        conditions.extend_from_slice(&self.conditions);
        conditions
    }

    /// A route that answers every request of a virtual host that no other route took, as Envoy does.
    pub(super) fn terminal() -> Self {
        Self {
            name: "no route".into(),
            key: b"terminal".to_vec(),
            uris: vec![Uri::all()],
            methods: Vec::new(),
            path: None,
            sent: Sent::Any,
            conditions: Vec::new(),
            action: Action::answer(404, ""),
            changed: Changes::default(),
            filters: BTreeMap::new(),
        }
    }
}

/// Takes a route apart. None for one that never matches.
pub(super) fn take(
    route: &EnvoyRoute,
    host: &VirtualHost,
    configuration: &RouteConfiguration,
    notes: &mut Notes,
) -> Option<Route> {
    let found = route.r#match.as_ref()?;
    let mut conditions = Vec::new();
    let mut methods: Option<Vec<String>> = None;
    let mut refusals = Vec::new();
    let path = match path::take(found) {
        path::Taken::Path(path) => path,
        path::Taken::Never => return None,
        path::Taken::Refused(reason, path) => {
            refusals.push(("match.path", reason));
            path
        }
    };
    for matcher in &found.headers {
        if matcher.name == ":path" {
            let effect = "it is compared as it was sent, also where Envoy normalises it before";
            notes.approximate("match.headers", "APISIX has the path as it was sent, or as nginx normalises it", effect);
        }
        match matchers::header(matcher) {
            Ok(Header::Condition(condition)) => conditions.push(condition),
            Ok(Header::Methods(more)) => {
                methods = Some(match methods {
                    None => more,
                    Some(before) => before.into_iter().filter(|method| more.contains(method)).collect(),
                });
            }
            Err(reason) => refusals.push(("match.headers", reason)),
        }
    }
    for matcher in &found.query_parameters {
        match matchers::query(matcher) {
            Ok(condition) => conditions.push(condition),
            Err(reason) => refusals.push(("match.query_parameters", reason)),
        }
    }
    for matcher in &found.cookies {
        match matchers::cookie(matcher) {
            Ok(condition) => conditions.push(condition),
            Err(reason) => refusals.push(("match.cookies", reason)),
        }
    }
    if found.grpc.is_some() {
        conditions.push(Expr::is("http_content_type", Op::Matches, "^application/grpc(?:\\+.*)?\\z"));
    }
    refusals.extend(unsupported(found));
    if pcre::is_slow(found) {
        let reason =
            "APISIX may take long for a regular expression that matches a text in many ways, as it tries them all";
        notes.approximate(
            "match",
            reason,
            "what takes it too long does not match; lua_regex_match_limit bounds the time",
        );
    }
    if !matches_ever(found, notes) || methods.as_ref().is_some_and(Vec::is_empty) {
        return None;
    }
    let split = weighted(route).and_then(action::split::common);
    let mut changed = Changes::default();
    let action = if refusals.is_empty() {
        let mut action = action::take(route, host, configuration, &path.matched, notes);
        if let Some(weighted) = weighted(route).filter(|_| split.is_none()) {
            different_entries(weighted, &mut action, notes);
        }
        let goes_on = !action.targets.is_empty();
        changed = changes(goes_on, split, route, host, configuration, notes);
        headers::change(&mut action.plugins, goes_on, &changed.request, &changed.response, notes);
        action
    } else {
        // To leave the route out would send its requests to the next wider one, whatever that is for.
        for (field, reason) in refusals {
            notes.not_expressible(field, &reason, "requests that fit the rest of the match are answered 503");
        }
        Action::answer(503, "this route cannot be expressed; see the report of the configuration source\n")
    };
    let levels =
        [&configuration.typed_per_filter_config, &host.typed_per_filter_config, &route.typed_per_filter_config];
    let filters = match split {
        Some(split) => {
            let [outer, middle, inner] = levels;
            filters_of([outer, middle, inner, &split.typed_per_filter_config], notes)
        }
        None => filters_of(levels, notes),
    };
    Some(Route {
        name: if route.name.is_empty() { "unnamed".into() } else { route.name.clone() },
        key: found.encode_to_vec(),
        uris: path.uris,
        methods: methods.unwrap_or_default(),
        path: path.condition,
        sent: path.sent,
        conditions,
        action,
        changed,
        filters,
    })
}

/// Whether the share of requests that a match takes is all of them; the share none is no match at all.
fn matches_ever(found: &RouteMatch, notes: &mut Notes) -> bool {
    let Some(fraction) = found.runtime_fraction.as_ref().and_then(|fraction| fraction.default_value.as_ref()) else {
        return true;
    };
    let (numerator, all) = fraction::parts(*fraction);
    if numerator > 0 && numerator < all {
        let reason = "APISIX has no share of requests in a match";
        notes.not_expressible("match.runtime_fraction", reason, "no request is taken, the next route has them");
    }
    numerator == all
}

fn unsupported(found: &RouteMatch) -> Vec<(&'static str, String)> {
    let mut refusals = Vec::new();
    let mut refuse = |field, is: bool, reason: &str| {
        if is {
            refusals.push((field, reason.to_owned()));
        }
    };
    refuse("match.dynamic_metadata", !found.dynamic_metadata.is_empty(), "what Envoy's filters know of a request");
    refuse("match.filter_state", !found.filter_state.is_empty(), "what Envoy's filters know of a request");
    refuse("match.tls_context", found.tls_context.is_some(), "the client's certificate");
    refusals
}

/// Filters by name, an inner level before an outer one.
fn filters_of<const N: usize>(levels: [&HashMap<String, Any>; N], notes: &mut Notes) -> BTreeMap<String, Filter> {
    let mut named: BTreeMap<&String, Vec<&Any>> = BTreeMap::new();
    for (name, config) in levels.into_iter().flatten() {
        named.entry(name).or_default().push(config);
    }
    let taken = named.into_iter().filter_map(|(name, configs)| {
        let (nearest, outer) = configs.split_last()?;
        let mut filter = filters::take(nearest, None, notes);
        if let Filter::Mutates(mutations) = &mut filter {
            // Of these all levels count.
            let outer = outer.iter().filter_map(|config| match filters::take(config, None, notes) {
                Filter::Mutates(outer) => Some(outer.levels),
                _ => None,
            });
            let outer: Vec<_> = outer.flatten().collect();
            mutations.levels.splice(..0, outer);
        }
        Some((name.clone(), filter))
    });
    taken.collect()
}

/// The clusters among which a route splits its requests.
fn weighted(route: &EnvoyRoute) -> Option<&WeightedCluster> {
    match route.action.as_ref()? {
        EnvoyAction::Route(action) => match action.cluster_specifier.as_ref()? {
            ClusterSpecifier::WeightedClusters(weighted) => Some(weighted),
            _ => None,
        },
        _ => None,
    }
}

/// Notes that clusters of one split differ in what APISIX changes for a whole route. A filter that protects one of them
/// closes all.
fn different_entries(weighted: &WeightedCluster, action: &mut Action, notes: &mut Notes) {
    let reason = "APISIX changes headers and has plugins for a route and not for one of its clusters";
    notes.not_expressible("weighted_clusters.headers", reason, "what differs between clusters is left out");
    let mut configs = weighted.clusters.iter().flat_map(|entry| entry.typed_per_filter_config.values());
    let protects = |config: &Any, notes: &mut Notes| match filters::take(config, None, notes) {
        Filter::Protects(_) | Filter::Chosen(_) => true,
        Filter::Does(effect) => effect.protects(),
        // It may switch on a filter that waits for that, whatever it does.
        Filter::Harmless => filters::is_switch(config),
        Filter::Missed(_)
        | Filter::Off
        | Filter::Keeps(_)
        | Filter::Mutates(_)
        | Filter::Choice { .. }
        | Filter::Waits(_) => false,
    };
    if configs.any(|config| protects(config, notes)) {
        *action = Action::answer(403, "this route is protected in a way that cannot be expressed\n");
    }
}

/// What is changed of headers behind all filters, from the innermost level of configuration to the outermost.
fn changes(
    goes_on: bool,
    split: Option<&ClusterWeight>,
    route: &EnvoyRoute,
    host: &VirtualHost,
    configuration: &RouteConfiguration,
    notes: &mut Notes,
) -> Changes {
    let mut levels = Vec::new();
    if let Some(split) = split {
        let response = (&split.response_headers_to_add, &split.response_headers_to_remove);
        levels.push(((&split.request_headers_to_add, &split.request_headers_to_remove), response));
    }
    levels.push((
        (&route.request_headers_to_add, &route.request_headers_to_remove),
        (&route.response_headers_to_add, &route.response_headers_to_remove),
    ));
    levels.push((
        (&host.request_headers_to_add, &host.request_headers_to_remove),
        (&host.response_headers_to_add, &host.response_headers_to_remove),
    ));
    levels.push((
        (&configuration.request_headers_to_add, &configuration.request_headers_to_remove),
        (&configuration.response_headers_to_add, &configuration.response_headers_to_remove),
    ));
    // The last one has the last word.
    if configuration.most_specific_header_mutations_wins {
        levels.reverse();
    }
    let mut changes = Changes::default();
    for ((add, remove), (add_response, remove_response)) in levels {
        // An answer of the gateway itself has no request that goes on.
        if goes_on {
            changes.request.extend(Of::REQUEST.level(add, remove, notes));
        }
        changes.response.extend(Of::RESPONSE.level(add_response, remove_response, notes));
    }
    changes
}
