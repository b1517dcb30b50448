//! Which call a gRPC request is for.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prost::Message;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower::{Service, ServiceExt};

use super::node::{Node, credentials};
use super::range::Form;
use super::status::EtcdError;
use super::{operations, sizes, watch};
use crate::pb::etcdserverpb::RangeRequest;
use crate::pb::etcdserverpb::auth_server::AuthServer;
use crate::pb::etcdserverpb::cluster_server::ClusterServer;
use crate::pb::etcdserverpb::kv_server::KvServer;
use crate::pb::etcdserverpb::lease_server::LeaseServer;
use crate::pb::etcdserverpb::maintenance_server::MaintenanceServer;
use crate::pb::v3electionpb::election_server::ElectionServer;
use crate::pb::v3lockpb::lock_server::LockServer;
use crate::serve::body::{AppBody, BodyError};
use crate::serve::grpc::{self, Messages, PREFIX};
use crate::serve::memory::Hold;
use crate::serve::request::RequestBody;
use crate::upstream::MIRROR;

/// The path of the call whose answer is a watch stream.
pub const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// Largest message about leases in bytes, of which there are many on one stream that is not counted: they have a few
/// numbers each.
const MAX_LEASE: usize = 16 << 10;

/// No limit of tonic's: what a message may have can change while the server runs, and is looked at before tonic does.
const ANY: usize = u32::MAX as usize;

const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

/// The gRPC side of the port.
#[derive(Clone, Debug)]
pub struct Router {
    node: Node,
    routes: axum::Router,
}

impl Router {
    /// All services of `node`, and gRPC's own health service.
    pub fn new(node: Node) -> Self {
        let (health, health_service) = tonic_health::server::health_reporter();
        // The whole server is meant by the empty name, which is serving from the start.
        drop(health);
        let routes = Routes::new(KvServer::new(node.clone()).max_decoding_message_size(ANY))
            .add_service(LeaseServer::new(node.clone()).max_decoding_message_size(MAX_LEASE))
            .add_service(ClusterServer::new(node.clone()).max_decoding_message_size(ANY))
            .add_service(MaintenanceServer::new(node.clone()).max_decoding_message_size(ANY))
            .add_service(AuthServer::new(node.clone()).max_decoding_message_size(ANY))
            .add_service(LockServer::new(node.clone()).max_decoding_message_size(ANY))
            .add_service(ElectionServer::new(node.clone()).max_decoding_message_size(ANY))
            .add_service(health_service)
            .add_service(reflection())
            .into_axum_router();
        Self { node, routes }
    }

    /// Answers a gRPC request.
    pub async fn call(&self, request: Request<RequestBody>) -> Response<AppBody> {
        let request = if request.uri().path() == KEEP_ALIVE { request.map(RequestBody::uncounted) } else { request };
        let hold = Hold::of(request.extensions());
        let upstream = match self.node.answered_by(request.uri().path()) {
            Ok(upstream) => upstream,
            Err(error) => return grpc::error(&error),
        };
        if let Some(upstream) = upstream {
            return match upstream.pass(request.map(tonic::body::Body::new)).await {
                Ok(response) => {
                    let length = response.body().size_hint().lower();
                    if let Some(Err(error)) = hold.map(|hold| hold.grow(usize::try_from(length).unwrap_or(usize::MAX)))
                    {
                        return grpc::error(&error);
                    }
                    response.map(|body| AppBody::Other(axum::body::Body::new(body)))
                }
                Err(status) => grpc::error(&status.into()),
            };
        }
        match request.uri().path() {
            WATCH => self.watch(request),
            "/etcdserverpb.KV/Range" => match self.range(request).await {
                Ok(response) => response,
                Err(error) => grpc::error(&error),
            },
            "/etcdserverpb.KV/Txn" => match self.counted(request).await {
                Ok(request) => self.route(request).await,
                Err(error) => grpc::error(&error),
            },
            _ => {
                let most = self.node.live.get().limits.message_bytes();
                self.route(request.map(|body| body.with_messages_of(most))).await
            }
        }
    }

    async fn route(&self, request: Request<RequestBody>) -> Response<AppBody> {
        let Ok(response) = self.routes.clone().oneshot(request).await;
        response.map(AppBody::Other)
    }

    /// Reads a transaction, unless it has too many operations, which would need much memory when they are decoded.
    async fn counted(&self, request: Request<RequestBody>) -> Result<Request<RequestBody>, EtcdError> {
        let limits = self.node.live.get().limits;
        let (head, body) = request.into_parts();
        let body = read_body(body, limits.message_bytes()).await?;
        if let Some((_, message)) = body.split_first_chunk::<PREFIX>()
            && !operations::are_within(limits.txn_ops, message)
        {
            return Err(sizes::too_many_ops().into());
        }
        Ok(Request::from_parts(head, RequestBody::whole(body)))
    }

    /// Answers a request for a watch stream, which takes no time.
    pub fn watch(&self, request: Request<RequestBody>) -> Response<AppBody> {
        watch::watch(&self.node, request)
    }

    async fn range(&self, request: Request<RequestBody>) -> Result<Response<AppBody>, EtcdError> {
        let caller = self.node.auth.caller(&credentials(request.headers(), request.extensions()));
        let of_mirror = request.headers().contains_key(MIRROR);
        let hold = Hold::of(request.extensions());
        let most = self.node.live.get().limits.message_bytes();
        let body = read_body(request.into_body(), most).await?;
        let mut messages = Messages::new(most);
        messages.feed(&body);
        let message = messages.take()?.ok_or_else(|| EtcdError::new(tonic::Code::Internal, "grpc: no message"))?;
        let request = RangeRequest::decode(message)
            .map_err(|error| EtcdError::new(tonic::Code::Internal, format!("grpc: {error}")))?;
        self.node.catch_up(&request, of_mirror).await?;
        Ok(grpc::unary(self.node.range_message(&caller, &request, Form::Proto, hold.as_ref())?))
    }
}

/// Reads the body of a call with one message, of at most so many bytes.
async fn read_body(body: RequestBody, most: usize) -> Result<Bytes, EtcdError> {
    let body = Limited::new(body.with_messages_of(most), most.saturating_add(PREFIX));
    let refused = |error: BodyError| {
        let is_long = error.is::<LengthLimitError>();
        if is_long { EtcdError::message_too_large(most + 1, most) } else { EtcdError::of_body(&*error) }
    };
    Ok(body.collect().await.map_err(refused)?.to_bytes())
}

/// gRPC's reflection service, by which tools learn what there is to call.
fn reflection() -> impl Service<
    Request<tonic::body::Body>,
    Response = Response<tonic::body::Body>,
    Error = std::convert::Infallible,
    Future: Send,
> + NamedService
+ Clone
+ Send
+ Sync {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(crate::pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the committed descriptors are whole")
}
