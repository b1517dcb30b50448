//! One server, over both of its protocols.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};

use confcast::pb::etcdserverpb::kv_client::KvClient;
use confcast::pb::etcdserverpb::lease_client::LeaseClient;
use confcast::pb::etcdserverpb::{LeaseKeepAliveResponse, PutRequest, RangeRequest};
use serde::Serialize;
use serde_json::Value;
use tokio_stream::StreamExt;
use tonic::Status;
use tonic::transport::Channel;

use super::answer;
use super::request::{At, Step};
use super::support::http;

/// A server, and where its history began.
pub struct Server {
    pub address: SocketAddr,
    pub channel: Channel,
    origin: AtomicI64,
}

impl Server {
    pub async fn connect(address: SocketAddr) -> Self {
        let channel =
            Channel::from_shared(format!("http://{address}")).expect("a URL").connect().await.expect("it runs");
        let server = Self { address, channel, origin: AtomicI64::new(0) };
        // A history that is long enough for requests to go back in.
        for _ in 0..20 {
            let request = PutRequest { key: "old".into(), ..PutRequest::default() };
            KvClient::new(server.channel.clone()).put(request).await.expect("it answers");
        }
        server
    }

    /// The revision from which revisions are counted.
    pub fn origin(&self) -> i64 {
        self.origin.load(Ordering::Relaxed)
    }

    /// Counts from the current revision on.
    pub async fn set_origin(&self) {
        self.origin.store(self.revision().await, Ordering::Relaxed);
    }

    pub async fn revision(&self) -> i64 {
        let request = RangeRequest { key: "none".into(), ..RangeRequest::default() };
        let response = KvClient::new(self.channel.clone()).range(request).await.expect("it answers").into_inner();
        response.header.expect("a header").revision
    }

    /// Answers a step other than one of watching.
    pub async fn answer(&self, step: &Step, gateway: bool, now: i64) -> Value {
        let kv = || KvClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let leases = || LeaseClient::new(self.channel.clone());
        macro_rules! call {
            ($request:expr, $path:expr, $client:ident, $method:ident) => {{
                let request = $request.at(now);
                if gateway {
                    self.post($path, request).await
                } else {
                    let answer = $client().$method(request).await;
                    answer::grpc(answer.map(tonic::Response::into_inner), self.origin())
                }
            }};
        }
        match step {
            Step::Range(request) => call!(request, "/v3/kv/range", kv, range),
            Step::Put(request) => call!(request, "/v3/kv/put", kv, put),
            Step::Delete(request) => call!(request, "/v3/kv/deleterange", kv, delete_range),
            Step::Txn(request) => call!(request, "/v3/kv/txn", kv, txn),
            Step::Compact(request) => call!(request, "/v3/kv/compaction", kv, compact),
            Step::Grant(request) => call!(request, "/v3/lease/grant", leases, lease_grant),
            Step::Revoke(request) => call!(request, "/v3/lease/revoke", leases, lease_revoke),
            Step::TimeToLive(request) => call!(request, "/v3/lease/timetolive", leases, lease_time_to_live),
            Step::Leases(request) => call!(request, "/v3/lease/leases", leases, lease_leases),
            Step::KeepAlive(request) if gateway => self.post("/v3/lease/keepalive", *request).await,
            Step::KeepAlive(request) => {
                let answer = keep_alive(leases(), *request).await;
                answer::grpc(answer, self.origin())
            }
            Step::Watch(_) | Step::More(..) | Step::Cancel(..) | Step::GatewayWatch(_) => Value::Null,
        }
    }

    async fn post(&self, path: &'static str, request: impl Serialize) -> Value {
        let (address, origin) = (self.address, self.origin());
        let body = serde_json::to_value(request).expect("JSON");
        let answer = tokio::task::spawn_blocking(move || http::post(address, path, &body)).await.expect("no panic");
        answer::gateway(answer.status, &answer.body, origin)
    }
}

async fn keep_alive(
    mut client: LeaseClient<Channel>,
    request: confcast::pb::etcdserverpb::LeaseKeepAliveRequest,
) -> Result<LeaseKeepAliveResponse, Status> {
    let mut answers = client.lease_keep_alive(tokio_stream::once(request)).await?.into_inner();
    answers.next().await.expect("an answer")
}
