//! What fuzzing runs: bytes from outside go through the parsers and, if they are a request, through the server.
//!
//! `fuzz/` runs these without end, the test suite with the corpus and changes of it for a moment.

mod edge;

use std::cell::OnceCell;
#[cfg(feature = "cli")]
use std::net::SocketAddr;
use std::sync::Arc;

pub use edge::connections;

use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tokio_util::task::TaskTracker;

use crate::apisix::schema;
use crate::auth::{Auth, Caller, Credentials};
use crate::config::limits::JSON_DEPTH;
use crate::envoy::{Resource, ResourceType, decode};
use crate::gateway::json;
use crate::pb::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, TxnRequest, WatchRequest,
};
use crate::readiness::Readiness;
use crate::rpc::Node;
use crate::rpc::ending::Stopping;
use crate::rpc::watch::Watching;
use crate::serve::grpc::Messages;
use crate::store::{Revision, Store};
use crate::translate::{Options, translate_all};
use crate::watch::{Hub, Protocol};
use crate::wire::Identity;

/// A server without a network, and the runtime that its calls run on.
struct Server {
    runtime: Runtime,
    node: Node,
}

thread_local! {
    static SERVER: OnceCell<Server> = const { OnceCell::new() };
}

fn server() -> Server {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let store = Store::in_memory(Revision(1)).expect("a thread");
    let node = Node {
        upstream: None,
        hub: Arc::new(Hub::new(store.clone())),
        store,
        own_identity: Identity { cluster_id: 1, member_id: 2, raft_term: 2 },
        auth: Auth::off(),
        durable: false,
        readiness: Readiness::ready(),
        stopping: Stopping::default(),
        tasks: TaskTracker::new(),
        live: crate::config::live::Live::default(),
        memory: crate::serve::memory::Ledger::default(),
        ranges: std::sync::Arc::default(),
        client_url: "http://127.0.0.1:2379".into(),
    };
    Server { runtime, node }
}

/// A body of the gateway, of the message that the first byte chooses. What is read is read the same again from its own
/// JSON, and a stream of messages does not depend on the pieces in which it comes.
pub fn gateway_json(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    match kind % 6 {
        0 => read_twice::<RangeRequest>(body),
        1 => read_twice::<PutRequest>(body),
        2 => read_twice::<DeleteRangeRequest>(body),
        3 => read_twice::<TxnRequest>(body),
        4 => read_twice::<LeaseGrantRequest>(body),
        _ => {
            read_twice::<WatchRequest>(body);
            assert_eq!(stream(body, body.len().max(1)), stream(body, 3), "pieces matter");
        }
    }
}

fn read_twice<T: DeserializeOwned + Serialize + Default + PartialEq + std::fmt::Debug>(body: &[u8]) {
    if let Ok(message) = json::read::<T>(body, JSON_DEPTH) {
        let text = serde_json::to_vec(&message).expect("a message can be written");
        assert_eq!(json::read::<T>(&text, JSON_DEPTH).expect("its own form"), message);
    }
}

/// Resources as a control plane sends them: each begins with a byte for its type and two for its length. Whatever comes,
/// what is made of it is what APISIX takes, and does not depend on the order.
pub fn xds_resources(data: &[u8]) {
    let mut rest = data;
    let mut resources = std::collections::BTreeMap::new();
    while let [kind, low, high, after @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (bytes, after) = after.split_at(length);
        rest = after;
        let kind = ResourceType::ALL[usize::from(*kind) % ResourceType::ALL.len()];
        if let Ok(resource) = decode(kind, bytes) {
            resources.insert((kind, resource.name().to_owned()), resource);
        }
    }
    translates(resources.into_values().collect());
}

/// A file of resources, in JSON or YAML, or a config dump.
pub fn resource_files(data: &[u8]) {
    if let Ok(resources) = crate::xds::files::read(std::path::Path::new("fuzzed.yaml"), data) {
        let named =
            resources.into_iter().map(|resource| ((resource.resource_type(), resource.name().to_owned()), resource));
        translates(named.collect::<std::collections::BTreeMap<_, _>>().into_values().collect());
    }
}

/// The text of a file with settings. Whatever it says, it is taken or refused, and the same again.
#[cfg(feature = "cli")]
pub fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Names are not looked up here, as that asks the network.
    let is_name = |value: &toml::Value| value.as_str().is_some_and(|text| text.parse::<SocketAddr>().is_err());
    if let Ok(table) = toml::from_str::<toml::Table>(text)
        && ["listen", "admin_listen"].iter().filter_map(|name| table.get(*name)).any(is_name)
    {
        return;
    }
    let read = || crate::cli::settings::of_file(text).map(|config| format!("{config:?}"));
    let (first, again) = (read(), read());
    match (first, again) {
        (Ok(first), Ok(again)) => assert_eq!(first, again),
        (Err(first), Err(again)) => {
            let reason = first.to_string();
            assert!(reason.len() < 4 * text.len() + 4000, "a reason is for people: {reason}");
            assert_eq!(reason, again.to_string());
        }
        (first, again) => panic!("{first:?} and {again:?}"),
    }
}

fn translates(resources: Vec<Resource>) {
    let translation = translate_all(resources.iter().rev().cloned(), Options::default());
    for object in &translation.objects {
        assert_eq!(schema::check(object), Ok(()), "{:?}", object.key);
        assert!(serde_json::from_slice::<serde_json::Value>(&object.value).is_ok(), "{:?}", object.key);
    }
    assert_eq!(translate_all(resources, Options::default()).objects, translation.objects, "the order matters");
}

fn stream(body: &[u8], size: usize) -> Vec<WatchRequest> {
    let mut messages = json::Messages::new(1 << 20, JSON_DEPTH);
    let mut seen = Vec::new();
    for piece in body.chunks(size) {
        messages.feed(piece);
        loop {
            match messages.take() {
                Ok(Some(request)) => seen.push(request),
                Ok(None) => break,
                Err(_) => return seen,
            }
        }
    }
    seen
}

/// A gRPC stream of requests, each of the call that its first byte chooses: framed, decoded and run. Whatever comes,
/// a call is answered, and a change is one revision.
pub fn grpc_requests(data: &[u8]) {
    let mut messages = Messages::new(1 << 20);
    messages.feed(data);
    SERVER.with(|cell| {
        let server = cell.get_or_init(server);
        let mut watching =
            Watching::new(&server.node, Protocol::Grpc, Credentials::default(), &http::Extensions::new())
                .expect("no limit");
        while let Ok(Some(message)) = messages.take() {
            let Some((kind, body)) = message.split_first() else { continue };
            server.runtime.block_on(server.call(*kind, body, &mut watching));
        }
    });
}

impl Server {
    async fn call(&self, kind: u8, body: &[u8], watching: &mut Watching) {
        let (node, caller) = (&self.node, Caller::Trusted);
        let before = node.store.snapshot().revision();
        match kind % 6 {
            0 => drop(RangeRequest::decode(body).ok().map(|request| node.range(&caller, &request))),
            1 => {
                if let Ok(request) = PutRequest::decode(body) {
                    drop(node.put(&caller, request).await);
                }
            }
            2 => {
                if let Ok(request) = DeleteRangeRequest::decode(body) {
                    drop(node.delete_range(&caller, request).await);
                }
            }
            3 => {
                if let Ok(request) = TxnRequest::decode(body) {
                    drop(node.txn(&caller, request).await);
                }
            }
            4 => {
                if let Ok(request) = CompactionRequest::decode(body) {
                    drop(node.compact(&caller, request).await);
                }
            }
            _ => {
                if let Ok(request) = WatchRequest::decode(body) {
                    watching.apply(request);
                    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                    while let std::task::Poll::Ready(message) = watching.session.poll_next(&mut context) {
                        let mut bytes = Vec::new();
                        drop(message.put_proto(&node.own_identity, &mut bytes));
                        drop(message.json_chunk(&node.own_identity));
                    }
                }
            }
        }
        let after = node.store.snapshot().revision();
        assert!(after == before || after == before.next(), "a call is one revision or none");
    }
}
