//! An ADS server: real gRPC on a loopback port, with the habits of several control planes as switches.
//!
//! A test sets what the server holds, and the server sends to each stream what that stream has not seen. What clients
//! sent is kept, so that a test can look at it. The server is itself tested against a real Envoy.

mod delta;
mod sotw;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use xxhash_rust::xxh3::xxh3_64;

use crate::envoy::{Resource, ResourceType};
use crate::testing::mesh::encode;

/// How a control plane departs from what the protocol says, or goes beyond it.
#[expect(clippy::struct_excessive_bools, reason = "switches that are independent of each other")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Habits {
    /// Serves only the delta protocol.
    pub delta_only: bool,
    /// Serves only the state of the world.
    pub sotw_only: bool,
    /// Gives no versions, does not look at those of clients, and sends everything anew on every new stream.
    pub no_versions: bool,
    /// Drops a request whose nonce is not the latest, with the subscription in it.
    pub drops_stale: bool,
    /// Answers for endpoints that it does not know with an empty assignment.
    pub empty_endpoints: bool,
    /// In state of the world, answers for endpoints and routes only when all of them are asked for.
    pub waits_for_all: bool,
    /// In state of the world, sends of endpoints and routes only those that changed, as the protocol allows.
    pub changes_only: bool,
    /// Sends nothing of any type until the last response is answered.
    pub one_in_flight: bool,
}

impl Habits {
    /// As Istio's.
    pub const ISTIO: Self = Self { no_versions: true, drops_stale: true, empty_endpoints: true, ..Self::NONE };
    /// As go-control-plane's, in its mode for ADS.
    pub const GO_CONTROL_PLANE: Self = Self { waits_for_all: true, ..Self::NONE };
    /// As Consul's.
    pub const CONSUL: Self = Self { delta_only: true, one_in_flight: true, ..Self::NONE };
    /// None.
    pub const NONE: Self = Self {
        delta_only: false,
        sotw_only: false,
        no_versions: false,
        drops_stale: false,
        empty_endpoints: false,
        waits_for_all: false,
        changes_only: false,
        one_in_flight: false,
    };
}

/// The order in which responses are sent, so that what is referred to comes first.
const ORDER: [ResourceType; 5] =
    [ResourceType::Cluster, ResourceType::Endpoints, ResourceType::Listener, ResourceType::Route, ResourceType::Secret];

/// A resource as it is sent.
#[derive(Clone, Debug, PartialEq)]
struct Stored {
    version: String,
    bytes: Vec<u8>,
}

/// What the server holds.
type World = BTreeMap<(ResourceType, String), Stored>;

/// A running server. Ends when it is dropped.
#[derive(Debug)]
pub struct AdsServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: tokio_util::sync::DropGuard,
}

#[derive(Debug)]
struct Shared {
    habits: Habits,
    world: watch::Sender<World>,
    /// Cancelled to end all streams.
    streams: Mutex<CancellationToken>,
    seen: Mutex<Seen>,
}

/// What clients did.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Streams that were opened.
    pub streams: usize,
    /// Responses that were sent.
    pub responses: usize,
    /// Messages of responses that were refused.
    pub nacks: Vec<String>,
    /// Ids of clients.
    pub nodes: BTreeSet<String>,
    /// What came as authorization.
    pub tokens: Vec<String>,
    /// Answers that also change a subscription, which some control planes lose.
    pub mixed_answers: usize,
    /// Requests with a version that was never sent for their type.
    pub foreign_versions: usize,
    /// Versions that were sent, in the state of the world.
    versions: BTreeSet<(ResourceType, String)>,
}

impl AdsServer {
    /// Starts a server on a free loopback port.
    ///
    /// # Panics
    /// If there is none.
    pub async fn start(habits: Habits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::on(listener, habits)
    }

    /// As [`start`](Self::start), with TLS.
    ///
    /// # Panics
    /// If there is no port, or the certificate is none.
    pub async fn start_tls(habits: Habits, tls: ServerTlsConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::serve(listener, habits, Server::builder().tls_config(tls).expect("a certificate"))
    }

    /// Starts a server on a port.
    ///
    /// # Panics
    /// If it has no address.
    pub fn on(listener: TcpListener, habits: Habits) -> Self {
        Self::serve(listener, habits, Server::builder())
    }

    fn serve(listener: TcpListener, habits: Habits, mut builder: Server) -> Self {
        let address = listener.local_addr().expect("a bound port");
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            habits,
            world: watch::Sender::default(),
            streams: Mutex::new(stop.child_token()),
            seen: Mutex::default(),
        });
        let service = AggregatedDiscoveryServiceServer::new(Service { shared: shared.clone() })
            .max_decoding_message_size(64 << 20);
        let serve = builder
            .add_service(service)
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
        #[expect(clippy::disallowed_methods, reason = "a server of tests ends with its guard")]
        tokio::spawn(serve);
        Self { address, shared, _stop: stop.drop_guard() }
    }

    /// URL of the server.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Port of the server.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Replaces all that the server holds, as one push.
    pub fn set(&self, resources: impl IntoIterator<Item = Resource>) {
        let stored = resources.into_iter().map(|resource| {
            let bytes = encode(&resource);
            ((resource.resource_type(), resource.name().to_owned()), Stored { version: version(&bytes), bytes })
        });
        self.shared.world.send_replace(stored.collect());
    }

    /// Puts bytes of any kind in place of a resource.
    pub fn set_bytes(&self, kind: ResourceType, name: &str, bytes: Vec<u8>) {
        let stored = Stored { version: version(&bytes), bytes };
        self.shared.world.send_modify(|world| drop(world.insert((kind, name.to_owned()), stored)));
    }

    /// Gives every resource another version, as a server that was started anew may.
    pub fn new_versions(&self) {
        self.shared.world.send_modify(|world| world.values_mut().for_each(|stored| stored.version.push('\'')));
    }

    /// Ends all streams. Clients come back.
    pub fn cut(&self) {
        let mut streams = self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *streams, CancellationToken::new()).cancel();
    }

    /// What clients did so far.
    pub fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for AdsServer {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Shared {
    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Remembers what a client said of itself.
    fn greet<T>(&self, request: &Request<T>) {
        let token = request.metadata().get("authorization").and_then(|token| token.to_str().ok());
        self.note(|seen| seen.tokens.extend(token.map(str::to_owned)));
    }

    fn stream_token(&self) -> CancellationToken {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn version(bytes: &[u8]) -> String {
    format!("{:x}", xxh3_64(bytes))
}

fn is_wildcard(kind: ResourceType) -> bool {
    matches!(kind, ResourceType::Cluster | ResourceType::Listener)
}

struct Service {
    shared: Arc<Shared>,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.shared.greet(&request);
        if self.shared.habits.delta_only {
            return Err(Status::unimplemented("not implemented"));
        }
        let (sender, responses) = mpsc::channel(64);
        #[expect(clippy::disallowed_methods, reason = "a stream of tests ends with its client or the server")]
        tokio::spawn(stream::run::<sotw::Kind>(self.shared.clone(), request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.shared.greet(&request);
        if self.shared.habits.sotw_only {
            return Err(Status::unimplemented("not implemented"));
        }
        let (sender, responses) = mpsc::channel(64);
        #[expect(clippy::disallowed_methods, reason = "a stream of tests ends with its client or the server")]
        tokio::spawn(stream::run::<delta::Kind>(self.shared.clone(), request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }
}
