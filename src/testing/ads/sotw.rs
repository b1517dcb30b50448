//! A state-of-the-world stream of the test server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::protobuf::Any;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{ORDER, Shared, World, is_wildcard, version};
use crate::envoy::ResourceType;

/// What is known of a type on a stream.
#[derive(Default)]
struct Kind {
    asked: bool,
    names: BTreeSet<String>,
    /// Version of what was last sent, and the names that it was sent for.
    sent: Option<(String, BTreeSet<String>)>,
    nonce: String,
    in_flight: bool,
}

pub(super) async fn run(
    shared: Arc<Shared>,
    mut requests: Streaming<DiscoveryRequest>,
    responses: mpsc::Sender<Result<DiscoveryResponse, Status>>,
) {
    shared.note(|seen| seen.streams += 1);
    let token = shared.stream_token();
    let mut world = shared.world.subscribe();
    let mut kinds: BTreeMap<ResourceType, Kind> = BTreeMap::new();
    let mut nonces = 0_u64;
    loop {
        let current = world.borrow_and_update().clone();
        for kind in ORDER {
            if shared.habits.one_in_flight && kinds.values().any(|kind| kind.in_flight) {
                break;
            }
            let Some(state) = kinds.get_mut(&kind) else { continue };
            if let Some(mut response) = next(&shared, kind, state, &current) {
                nonces += 1;
                state.nonce = nonces.to_string();
                state.in_flight = true;
                response.nonce = state.nonce.clone();
                shared.note(|seen| seen.responses += 1);
                if responses.send(Ok(response)).await.is_err() {
                    return;
                }
            }
        }
        tokio::select! {
            biased;
            () = token.cancelled() => {
                let _ = responses.send(Err(Status::unavailable("going away"))).await;
                return;
            }
            changed = world.changed() => if changed.is_err() { return },
            request = requests.message() => match request {
                Ok(Some(request)) => take(&shared, &mut kinds, request),
                Ok(None) | Err(_) => return,
            },
        }
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
    if state.asked && request.response_nonce != state.nonce {
        // A request that crossed a response is answered by the one that follows it.
        return;
    }
    state.in_flight = false;
    state.asked = true;
    state.names = request.resource_names.into_iter().collect();
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
    let mut resources: Vec<_> =
        wanted.iter().map(|(_, stored)| Any { type_url: kind.url().into(), value: stored.bytes.clone() }).collect();
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
    state.sent = Some((version.clone(), names));
    Some(DiscoveryResponse {
        version_info: version,
        resources,
        type_url: kind.url().into(),
        ..DiscoveryResponse::default()
    })
}
