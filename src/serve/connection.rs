//! One connection.

use std::convert::Infallible;
use std::time::Duration;

use http::Request;
use http::header::CONTENT_TYPE;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sniff::{Protocol, sniff};
use crate::gateway::{Gateway, Metrics};
use crate::rpc::Node;
use crate::rpc::router::Router;

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

/// Streams on one HTTP/2 connection: as good as unlimited, as etcd's default is.
const MAX_STREAMS: u32 = 1 << 20;

impl Service {
    /// Everything that `node` serves.
    /// `metrics` gives what `/metrics` shows.
    pub fn new(node: Node, metrics: Option<Metrics>) -> Self {
        Self { router: Router::new(node.clone()), gateway: Gateway::new(node, metrics) }
    }

    async fn call(&self, request: Request<Incoming>) -> Result<http::Response<super::body::AppBody>, Infallible> {
        // gRPC needs HTTP/2; over HTTP/1.1 the gateway does not look at the type of what it gets.
        let kind = request.headers().get(CONTENT_TYPE);
        let grpc = request.version() == http::Version::HTTP_2
            && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        Ok(if grpc { self.router.call(request).await } else { self.gateway.call(request).await })
    }
}

/// Serves a connection until the client leaves, or, once `stop` is cancelled, until its requests are answered.
pub(super) async fn run(stream: TcpStream, service: Service, times: Times, stop: CancellationToken) {
    let sniffed = tokio::select! {
        () = stop.cancelled() => return,
        sniffed = sniff(&stream, Instant::now() + times.first_bytes) => sniffed,
    };
    let respond = service_fn(move |request| {
        let service = service.clone();
        async move { service.call(request).await }
    });
    let io = TokioIo::new(stream);
    let ended = match sniffed {
        Ok(Some(Protocol::Http1)) => {
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(times.next_request).max_headers(100);
            until_stopped(http.serve_connection(io, respond), &stop).await
        }
        Ok(Some(Protocol::Http2)) => {
            let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new())
                .max_concurrent_streams(MAX_STREAMS)
                .keep_alive_interval(times.ping)
                .max_header_list_size(16 << 10);
            until_stopped(http.serve_connection(io, respond), &stop).await
        }
        Ok(None) | Err(_) => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Runs a connection; once `stop` is cancelled, only until its requests are answered.
async fn until_stopped<C: GracefulConnection>(connection: C, stop: &CancellationToken) -> Result<(), C::Error> {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended.map(drop),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await.map(drop)
        }
    }
}
