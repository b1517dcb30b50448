//! A delta stream of the test server.

use std::collections::{BTreeMap, BTreeSet};

use super::stream;
use super::{Shared, World, is_wildcard};
use crate::envoy::ResourceType;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use envoy_types::pb::google::protobuf::Any;

/// What is known of a type on a stream.
#[derive(Default)]
pub(super) struct Kind {
    asked: bool,
    wildcard: bool,
    names: BTreeSet<String>,
    /// What the client holds, by name and version.
    held: BTreeMap<String, String>,
    /// Names that were newly subscribed and must be answered, be it with what is held.
    fresh: BTreeSet<String>,
    nonce: String,
    in_flight: bool,
}

impl stream::Kind for Kind {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn take(shared: &Shared, kinds: &mut BTreeMap<ResourceType, Self>, request: DeltaDiscoveryRequest) {
        take(shared, kinds, request);
    }

    fn next(&mut self, shared: &Shared, kind: ResourceType, world: &World) -> Option<DeltaDiscoveryResponse> {
        next(shared, kind, self, world)
    }

    fn in_flight(&self) -> bool {
        self.in_flight
    }

    fn sent(&mut self, response: &mut DeltaDiscoveryResponse, nonce: String) {
        self.in_flight = true;
        response.nonce.clone_from(&nonce);
        self.nonce = nonce;
    }
}

fn take(shared: &Shared, kinds: &mut BTreeMap<ResourceType, Kind>, request: DeltaDiscoveryRequest) {
    if let Some(node) = request.node {
        shared.note(|seen| seen.nodes.extend([node.id]));
    }
    let Some(kind) = ResourceType::from_url(&request.type_url) else { return };
    let state = kinds.entry(kind).or_default();
    let changes = !request.resource_names_subscribe.is_empty() || !request.resource_names_unsubscribe.is_empty();
    if !request.response_nonce.is_empty() {
        if changes {
            shared.note(|seen| seen.mixed_answers += 1);
        }
        if let Some(error) = request.error_detail {
            shared.note(|seen| seen.nacks.push(error.message));
        }
        if request.response_nonce != state.nonce && shared.habits.drops_stale {
            return;
        }
        state.in_flight = false;
    }
    if !state.asked {
        state.asked = true;
        state.wildcard = is_wildcard(kind) && request.resource_names_subscribe.is_empty();
        if !shared.habits.no_versions {
            state.held = request.initial_resource_versions.into_iter().collect();
        }
    }
    for name in request.resource_names_subscribe {
        state.fresh.insert(name.clone());
        state.names.insert(name);
    }
    for name in request.resource_names_unsubscribe {
        state.names.remove(&name);
        state.held.remove(&name);
    }
}

/// What the client has not seen of a type.
fn next(shared: &Shared, kind: ResourceType, state: &mut Kind, world: &World) -> Option<DeltaDiscoveryResponse> {
    let wanted = |name: &str| state.wildcard || state.names.contains(name);
    let mut response = DeltaDiscoveryResponse { type_url: kind.url().into(), ..DeltaDiscoveryResponse::default() };
    let mut held = BTreeMap::new();
    for ((_, name), stored) in world.iter().filter(|((of, name), _)| *of == kind && wanted(name)) {
        held.insert(name.clone(), stored.version.clone());
        if state.held.get(name) != Some(&stored.version) {
            let value = Any { type_url: kind.url().into(), value: stored.bytes.clone() };
            let version = if shared.habits.no_versions { String::new() } else { stored.version.clone() };
            let name = name.clone();
            response.resources.push(Resource { name, version, resource: Some(value), ..Resource::default() });
        }
    }
    let gone = state.held.keys().filter(|name| !held.contains_key(*name));
    let unknown = state.fresh.iter().filter(|name| !held.contains_key(*name));
    let mut removed: BTreeSet<_> = gone.chain(unknown).cloned().collect();
    if shared.habits.empty_endpoints && kind == ResourceType::Endpoints {
        for name in std::mem::take(&mut removed) {
            let bytes = crate::testing::mesh::encode(&crate::testing::mesh::endpoints(&name, &[]));
            let value = Any { type_url: kind.url().into(), value: bytes };
            response.resources.push(Resource { name, resource: Some(value), ..Resource::default() });
        }
    }
    response.removed_resources = removed.into_iter().collect();
    state.fresh.clear();
    state.held = held;
    // The first answer for all of a type comes even if there is nothing.
    let first = state.wildcard && state.nonce.is_empty();
    (first || !response.resources.is_empty() || !response.removed_resources.is_empty()).then_some(response)
}
