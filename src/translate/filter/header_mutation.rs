//! `envoy.filters.http.header_mutation`: changes of headers that are made while a request goes through the filters, before
//! those of the routes, and of a response behind them.

use envoy_types::pb::envoy::config::common::mutation_rules::v3::HeaderMutation;
use envoy_types::pb::envoy::config::common::mutation_rules::v3::header_mutation::Action;
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::Mutations as EnvoyMutations;

use crate::translate::headers::{Change, Changes, Of};
use crate::translate::report::Notes;

/// What a filter changes, or what routes have it change.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::translate) struct Mutations {
    /// Of a filter just one; of a route one for each level of its configuration, from the outermost to the innermost.
    pub(in crate::translate) levels: Vec<Changes>,
    /// Whether the innermost level of routes has the last word; else the outermost.
    pub(in crate::translate) inner_last: bool,
}

/// Reads mutations, of a filter or of one level of a route's configuration.
pub(in crate::translate) fn take(mutations: Option<&EnvoyMutations>, inner_last: bool, notes: &mut Notes) -> Mutations {
    let Some(mutations) = mutations else { return Mutations { levels: Vec::new(), inner_last } };
    let mut request = changes(&mutations.request_mutations, REQUEST, notes);
    let response = changes(&mutations.response_mutations, RESPONSE, notes);
    if !mutations.query_parameter_mutations.is_empty() {
        let reason = "APISIX does not change parameters of a query";
        notes.not_expressible("header_mutation.query_parameter_mutations", reason, "the query is left as it is");
        request.push(Change::Other(":path".into()));
    }
    if !mutations.request_trailers_mutations.is_empty() || !mutations.response_trailers_mutations.is_empty() {
        let reason = "APISIX does not change trailers";
        notes.not_expressible("header_mutation.trailers", reason, "trailers are left as they are");
    }
    Mutations { levels: vec![Changes { request, response }], inner_last }
}

const REQUEST: Of = Of { field: "header_mutation.request_mutations", response: false };
const RESPONSE: Of = Of { field: "header_mutation.response_mutations", response: true };

/// Changes one after the other.
fn changes(mutations: &[HeaderMutation], of: Of, notes: &mut Notes) -> Vec<Change> {
    let change = |mutation: &HeaderMutation| match mutation.action.as_ref()? {
        Action::Remove(name) => Some(Change::Remove(name.to_ascii_lowercase())),
        Action::Append(option) => of.put(option, notes),
        Action::RemoveOnMatch(_) => {
            let reason = "APISIX takes away headers by their names";
            notes.not_expressible(of.field, reason, "those of a pattern stay");
            Some(Change::Other("*".into()))
        }
    };
    mutations.iter().filter_map(change).collect()
}
