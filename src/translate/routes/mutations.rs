//! Filters that change headers, on the way of a route.

use super::Assembly;
use crate::translate::action::Action;
use crate::translate::filter::header_mutation::Mutations;
use crate::translate::filters::Filter;
use crate::translate::headers::{self, Changes};
use crate::translate::report::Notes;
use crate::translate::route::Route;

/// What a filter that changes headers does.
pub(super) struct Mutation<'a> {
    /// Where it is among the filters.
    pub(super) position: usize,
    /// What it does, in the order in which it does it.
    pub(super) changes: Vec<&'a Changes>,
}

impl Assembly<'_> {
    /// Has a route's action change headers as its filters do, too.
    pub(super) fn mutate(&self, route: &Route, action: &mut Action, notes: &mut Notes) {
        let mutations = self.mutations(route);
        // What is answered for want of a route or of an equal has no filters before it.
        if mutations.is_empty() || action.plugins.contains_key("fault-injection") {
            return;
        }
        let request = mutations.iter().flat_map(|filter| &filter.changes).flat_map(|changes| &changes.request);
        // Responses go through the filters from the last to the first, behind the routes.
        let response = mutations.iter().rev().flat_map(|filter| &filter.changes).flat_map(|changes| &changes.response);
        let (own, goes_on) = (&route.changed, !action.targets.is_empty());
        let (request, response) = (request.chain(&own.request), own.response.iter().chain(response));
        headers::change(&mut action.plugins, goes_on, request, response, notes);
    }

    /// The filters of a route that change headers, in their order.
    pub(super) fn mutations<'a>(&'a self, route: &'a Route) -> Vec<Mutation<'a>> {
        let none = Mutations::default();
        let Some(chain) = &self.place.context.filters else {
            let own = route.filters.values().enumerate();
            let own = own.filter_map(|(position, filter)| Some((position, mutations(filter)?)));
            return own.map(|(position, own)| Mutation { position, changes: ordered(own, none.inner_last) }).collect();
        };
        let found = chain.iter().enumerate().filter_map(|(position, (name, filter))| {
            let all = mutations(filter)?;
            let own = route.filters.get(name);
            if !matches!(own.map_or(filter.of_all(), |own| filter.of(own)), Filter::Mutates(_)) {
                return None;
            }
            let of_route = own.and_then(mutations).map(|own| ordered(own, all.inner_last)).unwrap_or_default();
            Some(Mutation { position, changes: all.levels.iter().chain(of_route).collect() })
        });
        found.collect()
    }
}

/// What a filter changes where it is on.
fn mutations(filter: &Filter) -> Option<&Mutations> {
    match filter {
        Filter::Mutates(mutations) => Some(mutations),
        Filter::Waits(inner) => mutations(inner),
        _ => None,
    }
}

/// The levels of a route in their order.
fn ordered(own: &Mutations, inner_last: bool) -> Vec<&Changes> {
    if inner_last { own.levels.iter().collect() } else { own.levels.iter().rev().collect() }
}
