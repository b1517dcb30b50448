//! What the streams of both protocols have in common: when something is sent, and how a stream ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{ORDER, Shared, World};
use crate::envoy::ResourceType;

/// One of the two protocols, as the server speaks it: what is known of a type on a stream.
pub(super) trait Kind: Default + Send {
    type Request: Send + 'static;
    type Response: Send + 'static;

    /// Takes a request.
    fn take(shared: &Shared, kinds: &mut BTreeMap<ResourceType, Self>, request: Self::Request);

    /// What the client has not seen of the type.
    fn next(&mut self, shared: &Shared, kind: ResourceType, world: &World) -> Option<Self::Response>;

    /// Whether a response has not been answered.
    fn in_flight(&self) -> bool;

    /// Notes that a response goes out under a nonce.
    fn sent(&mut self, response: &mut Self::Response, nonce: String);
}

/// Serves a stream until the client, the server or the test ends it.
pub(super) async fn run<K: Kind>(
    shared: Arc<Shared>,
    mut requests: Streaming<K::Request>,
    responses: mpsc::Sender<Result<K::Response, Status>>,
) {
    shared.note(|seen| seen.streams += 1);
    let token = shared.stream_token();
    let mut world = shared.world.subscribe();
    let mut kinds: BTreeMap<ResourceType, K> = BTreeMap::new();
    let mut nonces = 0_u64;
    loop {
        let current = world.borrow_and_update().clone();
        for kind in ORDER {
            if shared.habits.one_in_flight && kinds.values().any(Kind::in_flight) {
                break;
            }
            let Some(state) = kinds.get_mut(&kind) else { continue };
            if let Some(mut response) = state.next(&shared, kind, &current) {
                nonces += 1;
                state.sent(&mut response, nonces.to_string());
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
                Ok(Some(request)) => K::take(&shared, &mut kinds, request),
                Ok(None) | Err(_) => return,
            },
        }
    }
}
