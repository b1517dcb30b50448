//! Requests that the etcd answers itself: every write, and what a mirror does not keep.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use prost::Message;
use tokio_stream::{Stream, StreamExt};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

use super::link::Upstream;
use super::within;
use crate::pb::etcdserverpb::lease_client::LeaseClient;
use crate::pb::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse, ResponseHeader};
use crate::pb::v3electionpb::election_client::ElectionClient;
use crate::pb::v3electionpb::{LeaderRequest, LeaderResponse};

/// Services whose calls go to the etcd, by the beginning of their paths. Reads and watches are not among them.
const FORWARDED: [&str; 5] =
    ["/etcdserverpb.KV/", "/etcdserverpb.Lease/", "/etcdserverpb.Auth/", "/v3lockpb.Lock/", "/v3electionpb.Election/"];

/// Calls of these services that a mirror answers, or whose answers are streams.
const LOCAL: [&str; 2] = ["/etcdserverpb.KV/Range", "/etcdserverpb.KV/RangeStream"];
const STREAMS: [&str; 2] = ["/etcdserverpb.Lease/LeaseKeepAlive", "/v3electionpb.Election/Observe"];

/// Bytes of a forwarded answer at most.
const LIMIT: usize = 1 << 30;

/// Bytes of a request that is looked into, at most: more than etcd takes unless it is told to.
const REQUEST: usize = 16 << 20;

/// How long a member may take to be reached.
const REACH: Duration = Duration::from_secs(5);

/// The field that every response of the API has first.
#[derive(Clone, PartialEq, Message)]
struct HeaderOnly {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
}

/// Whether a call goes to the etcd.
pub fn is_forwarded(path: &str) -> bool {
    !LOCAL.contains(&path) && FORWARDED.iter().any(|service| path.starts_with(service))
}

impl Upstream {
    /// Has the etcd answer a call, with the client's own token, and waits until the mirror shows what it did.
    pub async fn call<Q, A>(&self, path: &'static str, request: Q, token: Option<&str>) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        within::check(self.prefixes(), path, &request.encode_to_vec())?;
        let mut request = tonic::Request::new(request);
        set_token(&mut request, token)?;
        let mut grpc = tonic::client::Grpc::new(self.client().current().1).max_decoding_message_size(LIMIT);
        match tokio::time::timeout(REACH, grpc.ready()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(away(&error)),
            Err(_) => return Err(away(&"no connection for 5 s")),
        }
        let codec = tonic_prost::ProstCodec::default();
        let answer: A = grpc
            .unary(request, http::uri::PathAndQuery::from_static(path), codec)
            .await
            .map_err(own_words)?
            .into_inner();
        self.show(&answer.encode_to_vec()).await?;
        Ok(answer)
    }

    /// Renews a lease once.
    pub async fn keep_alive(
        &self,
        request: LeaseKeepAliveRequest,
        token: Option<&str>,
    ) -> Result<LeaseKeepAliveResponse, Status> {
        let mut request = tonic::Request::new(tokio_stream::once(request));
        set_token(&mut request, token)?;
        let mut answers = LeaseClient::new(self.client().current().1)
            .lease_keep_alive(request)
            .await
            .map_err(own_words)?
            .into_inner();
        answers.message().await.map_err(own_words)?.ok_or_else(|| away(&"no answer"))
    }

    /// Follows an election.
    pub async fn observe(
        &self,
        request: LeaderRequest,
        token: Option<&str>,
    ) -> Result<impl Stream<Item = Result<LeaderResponse, Status>> + Send + use<>, Status> {
        within::check(self.prefixes(), STREAMS[1], &request.encode_to_vec())?;
        let mut request = tonic::Request::new(request);
        set_token(&mut request, token)?;
        let answers = ElectionClient::new(self.client().current().1).observe(request).await.map_err(own_words)?;
        let upstream = self.clone();
        Ok(answers.into_inner().then(move |answer| {
            let upstream = upstream.clone();
            async move {
                let answer = answer.map_err(own_words)?;
                upstream.show(&answer.encode_to_vec()).await?;
                Ok(answer)
            }
        }))
    }

    /// Has the etcd answer a gRPC request as it is.
    pub async fn pass(&self, request: Request<tonic::body::Body>) -> Result<Response<tonic::body::Body>, Status> {
        let path = request.uri().path().to_owned();
        let request = self.checked(&path, request).await?;
        let mut channel = self.client().current().1;
        let ready = tokio::time::timeout(REACH, channel.ready()).await;
        let response = match ready {
            Ok(Ok(channel)) => channel.call(request).await.map_err(|error| away(&error))?,
            Ok(Err(error)) => return Err(away(&error)),
            Err(_) => return Err(away(&"no connection for 5 s")),
        };
        if STREAMS.contains(&path.as_str()) {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LIMIT).collect().await.map_err(|error| away(&error))?;
        let trailers = body.trailers().cloned();
        let bytes = body.to_bytes();
        if let Some(message) = bytes.get(5..) {
            self.show(message).await?;
        }
        let frames =
            [(!bytes.is_empty()).then(|| http_body::Frame::data(bytes)), trailers.map(http_body::Frame::trailers)];
        let frames = frames.into_iter().flatten().map(Ok::<http_body::Frame<Bytes>, Status>);
        let body = http_body_util::StreamBody::new(tokio_stream::iter(frames));
        Ok(Response::from_parts(head, tonic::body::Body::new(body)))
    }

    /// Reads a request that may be about keys which are not mirrored, and refuses it if it is.
    async fn checked(
        &self,
        path: &str,
        request: Request<tonic::body::Body>,
    ) -> Result<Request<tonic::body::Body>, Status> {
        if self.prefixes().is_everything() || !within::names_keys(path) {
            return Ok(request);
        }
        let (head, body) = request.into_parts();
        let body = Limited::new(body, REQUEST).collect().await;
        let bytes = body.map_err(|error| Status::resource_exhausted(format!("grpc: {error}")))?.to_bytes();
        // A flag that says whether it is compressed, the length, and one message.
        match bytes.split_at_checked(5) {
            Some(([0, length @ ..], message)) if length == u32::try_from(message.len()).unwrap_or(0).to_be_bytes() => {
                within::check(self.prefixes(), path, message)?;
            }
            _ => return Err(Status::unimplemented("grpc: not one message without compression")),
        }
        Ok(Request::from_parts(head, tonic::body::Body::new(http_body_util::Full::new(bytes))))
    }

    /// Waits until the mirror has the revision of an answer, so that its client sees what it did, here as there.
    async fn show(&self, message: &[u8]) -> Result<(), Status> {
        let Ok(HeaderOnly { header: Some(header) }) = HeaderOnly::decode(message) else { return Ok(()) };
        // The write has happened: an error would make the client do it again.
        let _ = self.reach(header.revision).await;
        Ok(())
    }
}

fn set_token<T>(request: &mut tonic::Request<T>, token: Option<&str>) -> Result<(), Status> {
    if let Some(token) = token {
        let value = MetadataValue::try_from(token);
        let value = value.map_err(|_| Status::unauthenticated("etcdserver: invalid auth token"))?;
        request.metadata_mut().insert("token", value);
    }
    Ok(())
}

fn away(error: &dyn std::fmt::Display) -> Status {
    Status::unavailable(format!("confcast: the etcd behind this mirror cannot be reached: {error}"))
}

/// What is wrong with the connection, in words that no client takes for something else; what etcd says as it is.
fn own_words(status: Status) -> Status {
    let transport = std::error::Error::source(&status).is_some();
    if transport && matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal) {
        return away(&status.message());
    }
    status
}
