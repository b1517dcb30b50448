//! The client's side of the discovery protocol, without any I/O: what is held, what is asked for, what is answered.
//!
//! Listeners and clusters are asked for without names, the one form of "all" that every control plane understands;
//! route configurations, endpoints and secrets by the names that those refer to. A response is answered as soon as it has been
//! looked at, never when something else has come: some control planes send nothing more until then. What came with
//! the same content as before is not decoded, and is no change, however often a server sends it.

mod held;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Sync;
use super::discovery::{DeltaRequest, DeltaResponse, Node, SotwRequest, SotwResponse, Status};
use crate::envoy::{ResourceChange, ResourceType};
use held::{Held, Kind, Taken};

/// How long a resource that is referred to is waited for before it is taken not to exist.
pub const DOES_NOT_EXIST: Duration = Duration::from_secs(15);

/// The same for secrets.
pub const SECRET_DOES_NOT_EXIST: Duration = Duration::from_secs(3);

/// How long after the first response of a new stream a server that sends everything anew may take to do so.
const SWEEP: Duration = Duration::from_secs(2);

/// Most names in one request: control planes bound the size of a request.
const NAMES: usize = 2_000;

/// gRPC's code for a response that is refused.
const INVALID_ARGUMENT: i32 = 3;

/// The types that are asked for, in the order in which the first requests are made.
const TYPES: [ResourceType; 5] = ResourceType::ALL;

/// Which form of the protocol a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Only what changed is sent.
    Delta,
    /// The state of the world is sent.
    Sotw,
}

/// A request to be sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// On a delta stream.
    Delta(DeltaRequest),
    /// On a state-of-the-world stream.
    Sotw(SotwRequest),
}

/// What is to be done after an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Requests, in order.
    pub requests: Vec<Request>,
    /// Changes of what is held, in order.
    pub changes: Vec<ResourceChange>,
    /// Why resources were refused.
    pub rejected: Vec<String>,
    /// Number of resources that came with the same content as before.
    pub unchanged: usize,
}

/// The state of a client, kept over streams.
#[derive(Debug)]
pub struct Engine {
    variant: Variant,
    node: Node,
    /// The node goes with the first request of a stream.
    introduced: bool,
    connected: bool,
    types: BTreeMap<ResourceType, Kind>,
}

impl Engine {
    /// A client that holds nothing.
    pub fn new(node: Node, variant: Variant) -> Self {
        let types = TYPES.into_iter().map(|kind| (kind, Kind::default())).collect();
        Self { variant, node, introduced: false, connected: false, types }
    }

    /// Changes the form of the protocol, before the next stream.
    pub fn set_variant(&mut self, variant: Variant) {
        self.variant = variant;
    }

    /// Whether everything that was asked for has been answered, or given up.
    pub fn sync(&self) -> Sync {
        let unanswered = TYPES.into_iter().filter(|kind| is_wildcard(*kind) && !self.types[kind].ever_answered).count();
        match unanswered + self.types.values().map(|kind| kind.awaited.len()).sum::<usize>() {
            0 => Sync::Complete,
            awaited => Sync::Pending { awaited },
        }
    }

    /// Number of resources that are held, by type.
    pub fn held(&self) -> impl Iterator<Item = (ResourceType, usize)> {
        self.types.iter().map(|(kind, state)| (*kind, state.held.len()))
    }

    /// A new stream: asks for everything, saying what is held.
    pub fn connected(&mut self, now: Instant) -> Output {
        self.introduced = false;
        self.connected = true;
        let mut output = Output::default();
        for state in self.types.values_mut() {
            state.begin_stream();
        }
        for (kind, state) in &mut self.types {
            state.awaited.values_mut().for_each(|deadline| *deadline = now + patience(*kind));
        }
        for kind in TYPES {
            if is_wildcard(kind) || !self.types[&kind].wanted.is_empty() {
                self.subscribe(kind, &mut output);
            }
        }
        output
    }

    /// The stream has ended. What is held stays.
    pub fn disconnected(&mut self) {
        self.connected = false;
        for state in self.types.values_mut() {
            state.sweep = None;
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let states = self.types.values().filter(|_| self.connected);
        states.flat_map(|state| state.awaited.values().copied().chain(state.sweep.as_ref().map(|(at, _)| *at))).min()
    }

    /// Gives up what has not come in time.
    pub fn tick(&mut self, now: Instant) -> Output {
        let mut output = Output::default();
        if !self.connected {
            return output;
        }
        for kind in TYPES {
            let state = self.state(kind);
            state.awaited.retain(|name, deadline| {
                let keep = *deadline > now;
                if !keep {
                    tracing::warn!(?kind, name, "the control plane refers to a resource that it does not send");
                }
                keep
            });
            if state.sweep.as_ref().is_some_and(|(at, _)| *at <= now)
                && let Some((_, gone)) = state.sweep.take()
            {
                for name in gone {
                    self.drop_resource(kind, &name, &mut output);
                }
                self.follow(kind, &mut output);
            }
        }
        output
    }

    /// A response on a delta stream.
    pub fn delta(&mut self, response: DeltaResponse, now: Instant) -> Output {
        let mut output = Output::default();
        let DeltaResponse { resources, type_url, nonce, removed_resources } = response;
        let Some(kind) = asked(&type_url) else {
            output.rejected.push(format!("{type_url} was not asked for"));
            output.requests.push(delta_answer(type_url, nonce, &output.rejected));
            return output;
        };
        let resources = resources.into_iter().map(|resource| {
            let any = resource.resource.unwrap_or_default();
            (Some(resource.name), resource.version, any.type_url, any.value)
        });
        let taken = self.take(kind, resources.collect(), now, &mut output);
        for name in removed_resources {
            self.state(kind).answered(&name);
            self.drop_resource(kind, &name, &mut output);
        }
        self.begin_sweep(kind, &taken, now);
        output.requests.push(delta_answer(type_url, nonce, &output.rejected));
        self.follow(kind, &mut output);
        output
    }

    /// A response on a state-of-the-world stream.
    pub fn sotw(&mut self, response: SotwResponse, now: Instant) -> Output {
        let mut output = Output::default();
        let SotwResponse { version_info, resources, type_url, nonce } = response;
        let Some(kind) = asked(&type_url) else {
            let error = status(&[format!("{type_url} was not asked for")]);
            let request =
                SotwRequest { type_url, response_nonce: nonce, error_detail: error, ..SotwRequest::default() };
            output.requests.push(Request::Sotw(request));
            return output;
        };
        let resources = resources.into_iter().map(|any| (None, String::new(), any.type_url, any.value));
        let taken = self.take(kind, resources.collect(), now, &mut output);
        // A response that holds something unreadable does not tell what is gone.
        if is_wildcard(kind) && output.rejected.is_empty() {
            let gone: Vec<_> =
                self.types[&kind].held.keys().filter(|name| !taken.names.contains(*name)).cloned().collect();
            for name in gone {
                self.drop_resource(kind, &name, &mut output);
            }
        }
        let state = self.state(kind);
        state.nonce = nonce;
        if output.rejected.is_empty() {
            state.version = version_info;
        }
        let error_detail = status(&output.rejected);
        let answer = self.sotw_request(kind, error_detail);
        output.requests.push(Request::Sotw(answer));
        self.follow(kind, &mut output);
        output
    }

    fn state(&mut self, kind: ResourceType) -> &mut Kind {
        self.types.entry(kind).or_default()
    }

    /// Looks at the resources of a response.
    fn take(
        &mut self,
        kind: ResourceType,
        resources: Vec<(Option<String>, String, String, Bytes)>,
        now: Instant,
        output: &mut Output,
    ) -> Taken {
        let state = self.state(kind);
        state.ever_answered = true;
        let taken = state.take(kind, resources, output);
        for (kind, name, wanted) in &taken.references {
            self.state(*kind).refer(name, *wanted, now + patience(*kind));
        }
        taken
    }

    /// Forgets a resource, and what only it referred to.
    fn drop_resource(&mut self, kind: ResourceType, name: &str, output: &mut Output) {
        if let Some(Held { references, .. }) = self.state(kind).held.remove(name) {
            output.changes.push(ResourceChange::Remove(kind, name.to_owned()));
            for (kind, name) in references {
                if let Some(state) = self.types.get_mut(&kind) {
                    state.refer(&name, false, Instant::now());
                }
            }
        }
    }

    /// Asks for what a type's resources now refer to, and forgets what they no longer do.
    fn follow(&mut self, kind: ResourceType, output: &mut Output) {
        let of: &[_] = match kind {
            ResourceType::Cluster => &[ResourceType::Endpoints, ResourceType::Secret],
            ResourceType::Listener => &[ResourceType::Route, ResourceType::Secret],
            ResourceType::Endpoints | ResourceType::Route | ResourceType::Secret => return,
        };
        for of in of {
            self.follow_to(*of, output);
        }
    }

    fn follow_to(&mut self, of: ResourceType, output: &mut Output) {
        let state = self.state(of);
        let wanted: BTreeSet<_> = state.wanted.keys().cloned().collect();
        let orphans: Vec<_> = state.held.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
        for name in orphans {
            self.drop_resource(of, &name, output);
        }
        if self.connected && self.types[&of].subscribed != wanted {
            self.subscribe(of, output);
        }
    }

    /// Brings what the server knows to be wanted in line with what is.
    fn subscribe(&mut self, kind: ResourceType, output: &mut Output) {
        match self.variant {
            Variant::Delta => self.subscribe_delta(kind, output),
            Variant::Sotw => {
                let state = self.state(kind);
                let wanted: BTreeSet<_> = state.wanted.keys().cloned().collect();
                // Without names a request would mean all resources to some servers; what is not wanted is ignored.
                if is_wildcard(kind) || !wanted.is_empty() {
                    state.subscribed = wanted;
                    let request = self.sotw_request(kind, None);
                    output.requests.push(Request::Sotw(request));
                }
            }
        }
    }

    /// Subscriptions go in requests of their own without a nonce, as one in an answer is lost with some servers.
    fn subscribe_delta(&mut self, kind: ResourceType, output: &mut Output) {
        let state = self.state(kind);
        let wanted: BTreeSet<_> = state.wanted.keys().cloned().collect();
        let mut add: Vec<_> = wanted.difference(&state.subscribed).cloned().collect();
        let mut remove: Vec<_> = state.subscribed.difference(&wanted).cloned().collect();
        let mut versions = if state.started { BTreeMap::new() } else { state.versions() };
        state.started = true;
        state.subscribed = wanted;
        loop {
            let names = add.split_off(add.len().min(NAMES));
            let removed = remove.split_off(remove.len().min(NAMES));
            output.requests.push(Request::Delta(DeltaRequest {
                node: self.introduce(),
                type_url: kind.url().into(),
                resource_names_subscribe: std::mem::replace(&mut add, names),
                resource_names_unsubscribe: std::mem::replace(&mut remove, removed),
                initial_resource_versions: std::mem::take(&mut versions).into_iter().collect(),
                ..DeltaRequest::default()
            }));
            if add.is_empty() && remove.is_empty() {
                return;
            }
        }
    }

    /// A server that gives no versions, or sends what it was told to be held, does not tell what is gone either: what of
    /// a type without names it does not send anew within a moment is gone.
    fn begin_sweep(&mut self, kind: ResourceType, taken: &Taken, now: Instant) {
        let state = self.state(kind);
        if !is_wildcard(kind) {
            return;
        }
        if let Some((_, gone)) = &mut state.sweep {
            gone.retain(|name| !taken.names.contains(name));
        } else if !state.answered_on_stream && (taken.repeated || state.unversioned) {
            let gone = state.offered.iter().filter(|name| !taken.names.contains(*name)).cloned().collect();
            state.sweep = Some((now + SWEEP, gone));
        }
        state.answered_on_stream = true;
    }

    fn sotw_request(&mut self, kind: ResourceType, error_detail: Option<Status>) -> SotwRequest {
        let node = self.introduce();
        let state = self.state(kind);
        SotwRequest {
            version_info: state.version.clone(),
            node,
            resource_names: state.subscribed.iter().cloned().collect(),
            type_url: kind.url().into(),
            response_nonce: state.nonce.clone(),
            error_detail,
        }
    }

    fn introduce(&mut self) -> Option<Node> {
        let first = !std::mem::replace(&mut self.introduced, true);
        first.then(|| self.node.clone())
    }
}

fn delta_answer(type_url: String, response_nonce: String, rejected: &[String]) -> Request {
    let error_detail = status(rejected);
    Request::Delta(DeltaRequest { type_url, response_nonce, error_detail, ..DeltaRequest::default() })
}

/// Whether a type is asked for without names.
fn is_wildcard(kind: ResourceType) -> bool {
    matches!(kind, ResourceType::Cluster | ResourceType::Listener)
}

/// How long a resource of a type is waited for. Secrets not as long: some servers never send them, such as Istio's to
/// clients that have not said who they are, and only what is made of them lacks without.
fn patience(kind: ResourceType) -> Duration {
    if kind == ResourceType::Secret { SECRET_DOES_NOT_EXIST } else { DOES_NOT_EXIST }
}

fn asked(type_url: &str) -> Option<ResourceType> {
    ResourceType::from_url(type_url).filter(|kind| TYPES.contains(kind))
}

fn status(rejected: &[String]) -> Option<Status> {
    (!rejected.is_empty()).then(|| Status { code: INVALID_ARGUMENT, message: rejected.join("; ") })
}
