//! A state-of-the-world stream of the test server.

use std::collections::{BTreeMap, BTreeSet};

use super::stream;
use super::{Shared, Stored, World, is_wildcard, version};
use crate::envoy::ResourceType;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::protobuf::Any;

/// What is known of a type on a stream.
#[derive(Default)]
pub(super) struct Kind {
    asked: bool,
    names: BTreeSet<String>,
    /// Version of what was last sent, and the names that it was sent for.
    sent: Option<(String, BTreeSet<String>)>,
    /// Versions of the resources that were sent and are still asked for.
    given: BTreeMap<String, String>,
    nonce: String,
    in_flight: bool,
}

impl stream::Kind for Kind {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn take(shared: &Shared, kinds: &mut BTreeMap<ResourceType, Self>, request: DiscoveryRequest) {
        take(shared, kinds, request);
    }

    fn next(&mut self, shared: &Shared, kind: ResourceType, world: &World) -> Option<DiscoveryResponse> {
        next(shared, kind, self, world)
    }

    fn in_flight(&self) -> bool {
        self.in_flight
    }

    fn sent(&mut self, response: &mut DiscoveryResponse, nonce: String) {
        self.in_flight = true;
        response.nonce.clone_from(&nonce);
        self.nonce = nonce;
    }
}

fn take(shared: &Shared, kinds: &mut BTreeMap<ResourceType, Kind>, request: DiscoveryRequest) {
    if let Some(node) = request.node {
        shared.note(|seen| seen.nodes.extend([node.id]));
    }
    let Some(kind) = ResourceType::from_url(&request.type_url) else { return };
    let state = kinds.entry(kind).or_default();
    if let Some(error) = request.error_detail {
        shared.note(|seen| seen.nacks.push(error.message));
    }
    let given = (kind, request.version_info);
    shared.note(|seen| {
        let known = given.1.is_empty() || seen.versions.contains(&given);
        seen.foreign_versions += usize::from(!known);
    });
    if state.asked && request.response_nonce != state.nonce {
        // A request that crossed a response is answered by the one that follows it.
        return;
    }
    state.in_flight = false;
    state.asked = true;
    state.names = request.resource_names.into_iter().collect();
    state.given.retain(|name, _| state.names.contains(name));
}

/// The state of a type, if the client has not seen it.
fn next(shared: &Shared, kind: ResourceType, state: &mut Kind, world: &World) -> Option<DiscoveryResponse> {
    if !state.asked {
        return None;
    }
    let of_kind = || world.iter().filter(|((of, _), _)| *of == kind);
    let wildcard = is_wildcard(kind);
    if !wildcard && shared.habits.waits_for_all && !of_kind().all(|((_, name), _)| state.names.contains(name)) {
        return None;
    }
    let wanted: Vec<_> = of_kind().filter(|((_, name), _)| wildcard || state.names.contains(name)).collect();
    let versions: Vec<_> = wanted.iter().map(|((_, name), stored)| format!("{name}={}", stored.version)).collect();
    let version = version(versions.join(",").as_bytes());
    let names = if wildcard { BTreeSet::new() } else { state.names.clone() };
    if state.sent.as_ref() == Some(&(version.clone(), names.clone())) {
        return None;
    }
    let known = |name: &String, stored: &Stored| state.given.get(name) == Some(&stored.version);
    let left_out = |name, stored| !wildcard && shared.habits.changes_only && known(name, stored);
    let mut resources: Vec<_> = wanted
        .iter()
        .filter(|((_, name), stored)| !left_out(name, stored))
        .map(|(_, stored)| Any { type_url: kind.url().into(), value: stored.bytes.clone() })
        .collect();
    if shared.habits.empty_endpoints && kind == ResourceType::Endpoints {
        let known: BTreeSet<_> = wanted.iter().map(|((_, name), _)| name).collect();
        for name in state.names.iter().filter(|name| !known.contains(name)) {
            let value = crate::testing::mesh::encode(&crate::testing::mesh::endpoints(name, &[]));
            resources.push(Any { type_url: kind.url().into(), value });
        }
    }
    if !wildcard && resources.is_empty() {
        return None;
    }
    state.given = wanted.iter().map(|((_, name), stored)| (name.clone(), stored.version.clone())).collect();
    state.sent = Some((version.clone(), names));
    shared.note(|seen| _ = seen.versions.insert((kind, version.clone())));
    Some(DiscoveryResponse {
        version_info: version,
        resources,
        type_url: kind.url().into(),
        ..DiscoveryResponse::default()
    })
}
