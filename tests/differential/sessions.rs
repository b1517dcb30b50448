//! Watch streams on both servers, and what came of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use confcast::pb::etcdserverpb::watch_client::WatchClient;
use confcast::pb::etcdserverpb::watch_request::RequestUnion;
use confcast::pb::etcdserverpb::{WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::answer::normal;
use super::request::At;
use super::server::Server;
use super::support::http::Connection;

/// How long etcd may take to send what this server has sent.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long this server may be silent before it is taken to have said all. It runs on the same machine.
const QUIET: Duration = Duration::from_millis(60);

/// Messages of a stream that wait to be looked at.
const MESSAGES: usize = 4096;

/// What one watcher was told: that it was made, events, and why it ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    control: Vec<Value>,
    events: Vec<Value>,
}

/// A stream on one server.
pub struct Stream {
    requests: Option<mpsc::Sender<WatchRequest>>,
    messages: mpsc::Receiver<Value>,
    told: BTreeMap<i64, Told>,
    progress: usize,
}

impl Stream {
    /// A gRPC stream with its first watcher.
    pub async fn grpc(server: &Server, create: &WatchCreateRequest, now: i64) -> Self {
        let (requests, queue) = mpsc::channel(16);
        let mut client = WatchClient::new(server.channel.clone()).max_decoding_message_size(usize::MAX);
        requests.send(create_request(create, now)).await.expect("open");
        let mut responses = client.watch(ReceiverStream::new(queue)).await.expect("a stream").into_inner();
        let (tell, messages) = mpsc::channel(MESSAGES);
        let origin = server.origin();
        #[expect(clippy::disallowed_methods, reason = "ends with the stream")]
        tokio::spawn(async move {
            while let Some(Ok(message)) = responses.next().await {
                let message = normal(serde_json::to_value(message).expect("JSON"), origin);
                if tell.send(message).await.is_err() {
                    return;
                }
            }
        });
        Self { requests: Some(requests), messages, told: BTreeMap::new(), progress: 0 }
    }

    /// A stream of the gateway with all its watchers.
    pub fn gateway(server: &Server, creates: &[WatchCreateRequest], now: i64) -> Self {
        let body: String = creates.iter().map(|create| json!(create_request(create, now)).to_string()).collect();
        let (tell, messages) = mpsc::channel(MESSAGES);
        let (address, origin): (SocketAddr, i64) = (server.address, server.origin());
        std::thread::spawn(move || {
            let mut connection = Connection::open(address);
            connection.post("/v3/watch", &body);
            assert_eq!(connection.head().0, 200);
            let mut line = Vec::new();
            // A large message comes in two chunks from etcd.
            while let Some(chunk) = connection.try_chunk().filter(|chunk| !chunk.is_empty()) {
                line.extend(chunk);
                if line.ends_with(b"\n") {
                    let message: Value = serde_json::from_slice(&line).expect("JSON");
                    line.clear();
                    if tell.blocking_send(normal(message["result"].clone(), origin)).is_err() {
                        return;
                    }
                }
            }
        });
        Self { requests: None, messages, told: BTreeMap::new(), progress: 0 }
    }

    pub fn is_grpc(&self) -> bool {
        self.requests.is_some()
    }

    pub async fn create(&self, create: &WatchCreateRequest, now: i64) {
        self.send(create_request(create, now)).await;
    }

    pub async fn cancel(&self, watch_id: i64) {
        let cancel = RequestUnion::CancelRequest(WatchCancelRequest { watch_id });
        self.send(WatchRequest { request_union: Some(cancel) }).await;
    }

    async fn send(&self, request: WatchRequest) {
        self.requests.as_ref().expect("a gRPC stream").send(request).await.expect("open");
    }

    /// Reads all that this server has to say: until its answer to a progress request, which comes last, or where that
    /// cannot be asked until it is silent.
    async fn read_all(&mut self) -> Result<(), String> {
        if self.is_grpc() {
            let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
            self.send(WatchRequest { request_union: Some(request) }).await;
            let before = self.progress;
            while self.progress == before {
                let message = tokio::time::timeout(PATIENCE, self.messages.recv()).await;
                self.note(message.map_err(|_| "no answer to a progress request")?.ok_or("the stream has ended")?)?;
            }
            return Ok(());
        }
        while let Ok(message) = tokio::time::timeout(QUIET, self.messages.recv()).await {
            self.note(message.ok_or("the stream has ended")?)?;
        }
        Ok(())
    }

    /// Reads until it was told the same as the other.
    async fn read_like(&mut self, other: &BTreeMap<i64, Told>, floors: &[i64]) -> Result<(), String> {
        let other = &without_lost(other, floors);
        let until = tokio::time::Instant::now() + PATIENCE;
        while without_lost(&self.told, floors) != *other {
            match tokio::time::timeout_at(until, self.messages.recv()).await {
                Ok(Some(message)) => self.note(message)?,
                Ok(None) | Err(_) => {
                    return Err(format!("on a watch stream\netcd:     {:?}\nconfcast: {other:?}", self.told));
                }
            }
        }
        while let Ok(message) = self.messages.try_recv() {
            self.note(message)?;
        }
        if without_lost(&self.told, floors) == *other {
            Ok(())
        } else {
            Err(format!("etcd said more\n{:?}\nconfcast: {other:?}", self.told))
        }
    }

    fn note(&mut self, mut message: Value) -> Result<(), String> {
        let id = message["watch_id"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
        let events = match message["events"].take() {
            Value::Array(events) => events,
            _ => Vec::new(),
        };
        let is_control = message.get("created").is_some() || message.get("canceled").is_some();
        if events.is_empty() && !is_control {
            self.progress += 1;
            return Ok(());
        }
        let told = self.told.entry(id).or_default();
        if is_control {
            let fields = message.as_object_mut().expect("an object");
            fields.remove("events");
            told.control.push(message);
            return Ok(());
        }
        // A revision is never split.
        let revision = |event: &Value| event["kv"]["mod_revision"].as_i64();
        if told.events.last().is_some_and(|last| revision(last) == revision(&events[0])) {
            return Err(format!("a revision in two responses: {events:?} after {:?}", told.events));
        }
        let head = message["header"]["revision"].as_i64();
        if events.iter().any(|event| revision(event) > head) {
            return Err(format!("a header below its events: {message} {events:?}"));
        }
        told.events.extend(events);
        Ok(())
    }
}

/// What was told, without what etcd before 3.5.19 loses: deletions at a revision that became the floor.
fn without_lost(told: &BTreeMap<i64, Told>, floors: &[i64]) -> BTreeMap<i64, Told> {
    let mut told = told.clone();
    for told in told.values_mut() {
        told.events.retain(|event| {
            let at_floor = event["kv"]["mod_revision"].as_i64().is_some_and(|revision| floors.contains(&revision));
            event["type"] != "DELETE" || !at_floor
        });
        // The pair before the floor is gone, for etcd.
        for event in &mut told.events {
            let revision = event["kv"]["mod_revision"].as_i64();
            if revision.is_some_and(|revision| floors.contains(&revision)) {
                event.as_object_mut().expect("an object").remove("prev_kv");
            }
        }
    }
    told
}

fn create_request(create: &WatchCreateRequest, now: i64) -> WatchRequest {
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create.at(now))) }
}

/// The same stream on both servers.
pub struct Pair {
    pub etcd: Stream,
    pub confcast: Stream,
}

impl Pair {
    /// Waits until both have told the same, of which this server's part is known to be complete.
    pub async fn settle(&mut self, floors: &[i64]) -> Result<(), String> {
        self.confcast.read_all().await?;
        self.etcd.read_like(&self.confcast.told, floors).await
    }
}
