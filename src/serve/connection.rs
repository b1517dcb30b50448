//! One connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Request, Response, Version};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::AppBody;
use super::request::RequestBody;
use super::sniff::{Protocol, sniff};
use super::takeover::Task;
use super::{http1, http2};
use crate::gateway::{Gateway, Metrics};
use crate::rpc::Node;
use crate::rpc::router::{self, Router};

/// What answers the requests on the port.
#[derive(Clone, Debug)]
pub struct Service {
    router: Router,
    gateway: Gateway,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From the connection to its first bytes. Default 10 s.
    pub first_bytes: Duration,
    /// From the end of a request to the end of the next one's headers, on HTTP/1.1. Default 150 s, well above the
    /// 60 s for which APISIX keeps a connection: one that is closed under it counts as a failure of the server.
    pub next_request: Duration,
    /// Between pings on HTTP/2. Default 60 s.
    pub ping: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { first_bytes: seconds(10), next_request: seconds(150), ping: seconds(60) }
    }
}

/// An answer, or what will be one.
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
        Self { router: Router::new(node.clone()), gateway: Gateway::new(node, metrics) }
    }

    /// Answers a request, whatever its protocol.
    pub(super) async fn call(self, request: Request<RequestBody>) -> Result<Response<AppBody>, Infallible> {
        // gRPC needs HTTP/2; over HTTP/1.1 the gateway does not look at the type of what it gets.
        Ok(if is_grpc(&request) { self.router.call(request).await } else { self.gateway.call(request).await })
    }

    /// Begins to answer a request of HTTP/2.
    pub(super) fn start(&self, request: Request<RequestBody>) -> Reply {
        if is_grpc(&request) && request.uri().path() == router::WATCH {
            return Reply::Now(self.router.watch(request));
        }
        let service = self.clone();
        Reply::Later(Box::pin(async move {
            let Ok(response) = service.call(request).await;
            response
        }))
    }
}

fn is_grpc(request: &Request<RequestBody>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE);
    request.version() == Version::HTTP_2 && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Serves a connection until the client leaves, or, once `stop` is cancelled, until its requests are answered. Returns
/// what goes on with a connection that is no longer one of HTTP requests.
pub(super) async fn run(
    stream: TcpStream,
    service: Service,
    times: Times,
    stop: CancellationToken,
    tasks: TaskTracker,
) -> Option<Task> {
    let sniffed = tokio::select! {
        () = stop.cancelled() => return None,
        sniffed = sniff(&stream, Instant::now() + times.first_bytes) => sniffed,
    };
    match sniffed {
        Ok(Some(Protocol::Http1)) => http1::run(stream, service, times, stop).await,
        Ok(Some(Protocol::Http2)) => {
            // Boxed, as it is larger than the other.
            if let Err(error) = Box::pin(http2::run(stream, service, times, stop, tasks)).await {
                tracing::debug!(%error, "connection ended");
            }
            None
        }
        Ok(None) | Err(_) => None,
    }
}
