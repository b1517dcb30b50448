//! The ways of a route through its filters.

use super::web::Round;
use super::{Assembly, Candidate, FORBIDDEN};
use crate::translate::filter::{self, ASKS, Outcome, Plugins, TOKENS, WEB, Way};
use crate::translate::filters::Filter;
use crate::translate::report::Notes;
use crate::translate::route::Route;

impl Assembly<'_> {
    /// The ways of a route through its filters, each of which becomes a route of its own.
    pub(super) fn expand<'a>(&self, candidate: &Candidate<'a>, round: Round, notes: &mut Notes) -> Vec<Candidate<'a>> {
        let route = candidate.route;
        let with = |way: Way| Candidate { way, ..Candidate::new(route, candidate.host, candidate.conditions.clone()) };
        // What is answered for want of a route or of an equal has no filters before it.
        if route.action.plugins.contains_key("fault-injection") {
            return vec![with((Vec::new(), Outcome::Pass(Plugins::new())))];
        }
        let closed = |reason: String, notes: &mut Notes| {
            notes.not_expressible("typed_per_filter_config", &reason, "its requests are answered 403");
            vec![with((Vec::new(), Outcome::Answer(403, FORBIDDEN)))]
        };
        let web = round == Round::Web && self.translates_web(route, notes);
        let mutations = self.mutations(route);
        let mut effects = Vec::new();
        for (position, filter) in self.filters(route).into_iter().enumerate() {
            let before = mutations.iter().filter(|mutation| mutation.position < position);
            let mut before = before.flat_map(|mutation| &mutation.changes).flat_map(|changes| &changes.request);
            match filter {
                Filter::Protects(name) | Filter::Chosen(name) => {
                    return closed(format!("the filter {name} protects the route and is not translated"), notes);
                }
                Filter::Does(effect) if effect.by_plugin(TOKENS) && !self.around.options.checks_tokens() => {
                    let reason = "tokens are checked by APISIX 3.18 or later, if that is asked for (--jwt)";
                    return closed(reason.to_owned(), notes);
                }
                Filter::Does(effect) if effect.by_plugin(ASKS) && !self.around.options.asks_servers() => {
                    let reason = "APISIX asks a server in another way than Envoy, if that is asked for (--ext-authz)";
                    return closed(reason.to_owned(), notes);
                }
                Filter::Does(effect) if effect.by_plugin(ASKS) && route.action.targets.is_empty() => {
                    return closed("an older APISIX answers itself before it asks a server".to_owned(), notes);
                }
                Filter::Does(effect) if effect.by_address && !self.place.context.direct => {
                    let reason = "APISIX chooses routes by the address of the connection, not by that of a header";
                    return closed(reason.to_owned(), notes);
                }
                Filter::Does(effect) if effect.protects() && before.any(|change| effect.looks_at(change.name())) => {
                    let reason = "APISIX looks at headers as they came, before a filter changes them";
                    return closed(reason.to_owned(), notes);
                }
                Filter::Does(effect) if effect.by_plugin(WEB) && !web => {}
                Filter::Does(effect) => effects.push(effect),
                Filter::Harmless
                | Filter::Missed(_)
                | Filter::Off
                | Filter::Keeps(_)
                | Filter::Mutates(_)
                | Filter::Choice { .. }
                | Filter::Waits(_) => {}
            }
        }
        let twice = |name: &str| effects.iter().filter(|effect| effect.by_plugin(name)).count() > 1;
        if twice(TOKENS) || twice(ASKS) {
            return closed("APISIX checks one token of a request, and asks one server".to_owned(), notes);
        }
        match filter::ways(&effects) {
            Some(ways) => ways.into_iter().map(with).collect(),
            None => closed("its filters have too many branches for APISIX".to_owned(), notes),
        }
    }

    /// The filters of a route in their order: what the route says of each goes before what the chain says.
    pub(super) fn filters<'a>(&'a self, route: &'a Route) -> Vec<&'a Filter> {
        let Some(chain) = &self.place.context.filters else {
            // Nothing is known of the filters, so that each that the route configures may be there.
            return route.filters.values().map(Filter::of_all).collect();
        };
        let nearest = |(name, filter): &'a (String, Filter)| match route.filters.get(name) {
            Some(own) => filter.of(own),
            None => filter.of_all(),
        };
        chain.iter().map(nearest).collect()
    }
}
