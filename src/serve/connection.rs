//! One connection.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode, Version};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::{self, AppBody};
use super::memory::Ledger;
use super::request::RequestBody;
use super::sniff::{Protocol, is_tls, sniff};
use super::socket::Socket;
use super::streams::Streams;
use super::takeover::Task;
use super::tls::{Acceptor, refuse_clear_text};
use super::{http1, http2};
use crate::auth::Peer;
use crate::config::live::Live;
use crate::gateway::{Gateway, Metrics};
use crate::rpc::Node;
use crate::rpc::router::{self, Router};
use crate::telemetry::calls::Call;
use crate::telemetry::serve::{self as limits, refused};

/// What answers the requests on the port.
#[derive(Clone, Debug)]
pub struct Service {
    router: Router,
    gateway: Gateway,
    memory: Ledger,
}

/// Stands for no bound of a time: longer than any connection lives, and short enough to be added to any clock.
pub const FOREVER: Duration = Duration::from_hours(24 * 365 * 30);

/// How long things may take. [`FOREVER`] stands for no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// From the connection to its first bytes; on HTTP/2 from there to the first ping as well. Default 10 s.
    pub first_bytes: Duration,
    /// From the end of a request to the end of the next one's headers, on HTTP/1.1. Default 150 s, well above the
    /// 60 s for which APISIX keeps a connection: one that is closed under it counts as a failure of the server.
    pub next_request: Duration,
    /// Between pings on HTTP/2. Default 60 s.
    pub ping: Duration,
    /// From a ping until the connection ends, if all that time there is no answer and nothing else that shows life.
    /// Default 20 s.
    pub pong: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { first_bytes: seconds(10), next_request: seconds(150), ping: seconds(60), pong: seconds(20) }
    }
}

/// An answer, or what will be one.
#[expect(clippy::large_enum_variant, reason = "lives for a moment, on the stack")]
pub(super) enum Reply {
    /// An answer that is there, and goes on.
    Now(Response<AppBody>),
    /// One that takes time.
    Later(Pin<Box<dyn Future<Output = Response<AppBody>> + Send>>),
}

impl Service {
    /// Everything that `node` serves.
    /// `metrics` gives what `/metrics` shows.
    pub fn new(node: Node, metrics: Option<Metrics>) -> Self {
        let memory = node.memory.clone();
        Self { router: Router::new(node.clone()), gateway: Gateway::new(node, metrics), memory }
    }

    async fn call(self, mut request: Request<RequestBody>) -> Response<AppBody> {
        let Some(hold) = self.memory.open() else { return self.answer(request).await };
        request.extensions_mut().insert(hold.clone());
        request.body_mut().count(hold.clone());
        let response = self.answer(request).await;
        if hold.counts() { body::hold(response, hold) } else { response }
    }

    async fn answer(self, request: Request<RequestBody>) -> Response<AppBody> {
        // gRPC needs HTTP/2; over HTTP/1.1 the gateway does not look at the type of what it gets.
        if !is_grpc(&request) {
            return self.gateway.call(request).await;
        }
        let call = Call::start(request.uri().path());
        body::count(self.router.call(request).await, call)
    }
}

/// The service as one client has it. What it brought to the connection goes with each of its requests.
#[derive(Clone, Debug)]
pub(super) struct Client {
    service: Service,
    peer: Arc<Peer>,
    /// None on HTTP/1.1, where one request comes after the other.
    streams: Option<Streams>,
    /// Fields that the headers of a request may have.
    fields: usize,
}

impl Client {
    /// Answers a request, whatever its protocol.
    pub(super) async fn call(self, mut request: Request<RequestBody>) -> Result<Response<AppBody>, Infallible> {
        request.extensions_mut().insert(self.peer);
        Ok(self.service.call(request).await)
    }

    /// Begins to answer a request of HTTP/2.
    pub(super) fn start(&self, mut request: Request<RequestBody>) -> Reply {
        // Over HTTP/1.1 the parser counts them.
        if request.headers().len() > self.fields {
            refused(limits::OF_HEADERS);
            let mut response = Response::new(AppBody::Empty);
            *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Reply::Now(response);
        }
        request.extensions_mut().insert(self.peer.clone());
        if let Some(streams) = &self.streams {
            request.extensions_mut().insert(streams.clone());
        }
        if is_grpc(&request) && request.uri().path() == router::WATCH {
            return Reply::Now(self.service.router.watch(request));
        }
        Reply::Later(Box::pin(self.service.clone().call(request)))
    }
}

fn is_grpc(request: &Request<RequestBody>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE);
    request.version() == Version::HTTP_2 && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// How the port treats every connection.
#[derive(Clone, Debug)]
pub struct Port {
    /// What answers.
    pub service: Service,
    /// TLS; none for clear text.
    pub tls: Option<Arc<Acceptor>>,
    /// How long things may take, and what clients may hold.
    pub live: Live,
}

/// Serves a connection until the client leaves, or, once `stop` is cancelled, until its requests are answered. Returns
/// what goes on with a connection that is no longer one of HTTP requests.
pub(super) async fn run(
    stream: TcpStream,
    address: IpAddr,
    port: Port,
    stop: CancellationToken,
    tasks: TaskTracker,
) -> Option<Task> {
    let (times, most) = {
        let settings = port.live.get();
        (settings.times, settings.limits)
    };
    let started = Instant::now();
    let opened = tokio::select! {
        () = stop.cancelled() => return None,
        opened = open(stream, address, &port, times) => opened,
    };
    if !matches!(opened, Ok(Some(_))) && started.elapsed() >= times.first_bytes {
        refused(limits::OF_HANDSHAKE);
    }
    let (socket, protocol, peer) = match opened {
        Ok(opened) => opened?,
        Err(error) => {
            tracing::debug!(%error, client = %address, "connection ended before its first request");
            return None;
        }
    };
    let streams = matches!(protocol, Protocol::Http2).then(|| Streams::new(port.live.clone()));
    let client = Client { service: port.service, peer: Arc::new(peer), streams, fields: most.header_fields };
    match protocol {
        Protocol::Http1 => http1::run(socket, client, (times, &most), stop).await,
        Protocol::Http2 => {
            // Boxed, as it is larger than the other.
            if let Err(error) = Box::pin(http2::run(socket, client, (times, &most), stop, tasks)).await {
                tracing::debug!(%error, "connection ended");
            }
            None
        }
    }
}

/// Finds out what the client speaks, and who it is. None if it says too little in the time for it, or leaves.
async fn open(
    stream: TcpStream,
    address: IpAddr,
    port: &Port,
    times: Times,
) -> io::Result<Option<(Socket, Protocol, Peer)>> {
    let deadline = Instant::now() + times.first_bytes;
    let mut peer = Peer { address, names: Vec::new() };
    let mut socket = match &port.tls {
        None => Socket::Plain(stream),
        Some(tls) => match is_tls(&stream, deadline).await? {
            None => return Ok(None),
            Some(true) => {
                let (socket, names) = tls.accept(stream, deadline).await?;
                peer.names = names.unwrap_or_default();
                socket
            }
            Some(false) if tls.allows_clear_text() => Socket::Plain(stream),
            Some(false) => {
                refuse_clear_text(&stream)?;
                return Ok(None);
            }
        },
    };
    Ok(sniff(&mut socket, deadline).await?.map(|protocol| (socket, protocol, peer)))
}
