//! Traces of changes: what the program exports to a collector that speaks OTLP, from the source to the last watcher.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use confcast::testing::ads::{AdsServer, Habits};
use confcast::testing::mesh;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use support::etcd::{Etcd, Release};
use support::http::{self, Watch, b64};
use support::{Confcast, until};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A collector. Ends with the test's runtime.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    resources: Arc<Mutex<Vec<KeyValue>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for group in request.into_inner().resource_spans {
            self.resources.lock().expect("not poisoned").extend(group.resource.expect("a resource").attributes);
            let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().expect("not poisoned").extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A span with those below it.
#[derive(Debug)]
struct Tree {
    span: Span,
    children: Vec<Tree>,
}

impl Tree {
    fn child(&self, name: &str) -> &Self {
        let found = self.children.iter().find(|child| child.span.name == name);
        found.unwrap_or_else(|| panic!("{} has no {name}: {self:#?}", self.span.name))
    }

    fn names(&self) -> Vec<&str> {
        self.children.iter().map(|child| child.span.name.as_str()).collect()
    }

    fn attribute(&self, name: &str) -> Option<Value> {
        attribute(&self.span.attributes, name)
    }

    fn number(&self, name: &str) -> i64 {
        match self.attribute(name) {
            Some(Value::IntValue(number)) => number,
            other => panic!("{name} of {} is {other:?}", self.span.name),
        }
    }

    fn keys(&self) -> Vec<String> {
        let Some(Value::ArrayValue(keys)) = self.attribute("confcast.keys") else { panic!("no keys: {self:#?}") };
        keys.values.into_iter().map(text).collect()
    }

    fn time(&self) -> (u64, u64) {
        (self.span.start_time_unix_nano, self.span.end_time_unix_nano)
    }
}

fn attribute(all: &[KeyValue], name: &str) -> Option<Value> {
    all.iter().find(|pair| pair.key == name)?.value.clone()?.value
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Value::StringValue(text)) => text,
        other => panic!("no text: {other:?}"),
    }
}

impl Collector {
    /// Starts one, and returns where it is.
    async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let serve = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
        tokio::spawn(serve);
        (collector, address)
    }

    /// The traces whose first span has this name and which committed a revision.
    fn traces(&self, name: &str, revision: i64) -> Vec<Tree> {
        let spans = self.spans.lock().expect("not poisoned").clone();
        let roots = spans.iter().filter(|span| span.parent_span_id.is_empty() && span.name == name);
        let trees = roots.map(|root| grow(root.clone(), &spans));
        let of = |tree: &Tree| {
            tree.children
                .iter()
                .any(|child| child.span.name == "commit" && child.number("confcast.revision") == revision)
        };
        trees.filter(of).collect()
    }

    /// The one of these that is there or comes.
    fn trace(&self, name: &str, revision: i64) -> Tree {
        until("exported", || !self.traces(name, revision).is_empty());
        let mut found = self.traces(name, revision);
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }
}

fn grow(span: Span, all: &[Span]) -> Tree {
    let below = all.iter().filter(|other| other.parent_span_id == span.span_id && other.trace_id == span.trace_id);
    let children = below.map(|child| grow(child.clone(), all)).collect();
    Tree { span, children }
}

/// The program, which exports at once.
fn serve(collector: SocketAddr, args: &[&str]) -> Confcast {
    let mut command = Command::new(env!("CARGO_BIN_EXE_confcast"));
    command.args(["--log-format", "json", "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--otlp-endpoint", &format!("http://{collector}")]).args(args);
    command.env("OTEL_BSP_SCHEDULE_DELAY", "50").env("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=a-pod");
    Confcast::launch(command).unwrap_or_else(|log| panic!("it ended: {log}")).ready()
}

fn revision(message: &serde_json::Value) -> i64 {
    message["header"]["revision"].as_str().and_then(|text| text.parse().ok()).expect("a revision")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_is_traced_from_the_control_plane_to_the_last_watcher() {
    let (collector, address) = Collector::start().await;
    let ads = AdsServer::start(Habits::NONE).await;
    let world = |port: u16| {
        [
            mesh::eds_cluster("a"),
            mesh::endpoints("a", &[port]),
            mesh::listener("http", 8080, "routes"),
            mesh::prefix_routes("routes", &[("/a/", "a")]),
        ]
    };
    ads.set(world(1));
    let server = serve(address, &["--xds-server", &ads.url(), "--xds-node-id", "test"]);
    let mut watches = ["/apisix/", "/apisix/", "/apisix/upstreams/"]
        .map(|key| Watch::open(server.address, key, &(key.to_owned() + "~"), 0));
    let _elsewhere = Watch::open(server.address, "/apisix/routes/", "/apisix/routes0", 0);
    ads.set(world(2));
    let revisions = watches.each_mut().map(|watch| revision(&watch.next()));
    assert!(revisions.iter().all(|other| *other == revisions[0]), "{revisions:?}");

    let push = collector.trace("confcast.push", revisions[0]);
    assert_eq!(push.names(), ["receive", "translate", "commit", "deliver"]);
    assert_eq!(push.span.kind(), SpanKind::Consumer);
    assert_eq!(push.attribute("confcast.source"), Some(Value::StringValue(ads.url())));
    assert_eq!(push.number("confcast.connection"), 1);
    let (receive, translate) = (push.child("receive"), push.child("translate"));
    let (commit, deliver) = (push.child("commit"), push.child("deliver"));
    assert_eq!((receive.number("confcast.messages"), receive.number("confcast.resources")), (1, 1));
    assert_eq!(commit.number("confcast.events"), 1);
    let keys = commit.keys();
    assert!(keys.len() == 1 && keys[0].starts_with("/apisix/upstreams/"), "{keys:?}");
    assert_eq!(deliver.number("confcast.watchers"), 3);
    assert_eq!(deliver.names(), ["first delivery"]);
    assert_eq!(deliver.attribute("confcast.watchers.behind"), None);
    // One after the other, within the whole.
    let first = deliver.child("first delivery");
    assert_eq!(push.time().0, receive.time().0);
    assert!(receive.time().1 <= translate.time().0 && translate.time().1 <= commit.time().0);
    assert_eq!((deliver.time().0, deliver.time().1), (commit.time().1, push.time().1));
    assert!(first.time().0 == deliver.time().0 && first.time().1 <= deliver.time().1);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after it").as_nanos();
    assert!(now.abs_diff(push.time().0.into()) < 60_000_000_000, "{now} {push:#?}");

    let resources = collector.resources.lock().expect("not poisoned").clone();
    for (name, value) in [("service.name", "confcast"), ("k8s.pod.name", "a-pod")] {
        assert_eq!(attribute(&resources, name), Some(Value::StringValue(value.into())), "{name}");
    }
    // The first configuration was seen by nobody.
    let spans = collector.spans.lock().expect("not poisoned").clone();
    let first = spans.iter().filter(|span| span.parent_span_id.is_empty()).min_by_key(|span| span.start_time_unix_nano);
    assert_eq!(grow(first.expect("a trace").clone(), &spans).names(), ["receive", "translate", "commit"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mirror_hears_is_traced_and_who_does_not_read_is_told() {
    let Some(binary) = Release::Debian.program() else { return };
    let (collector, address) = Collector::start().await;
    let etcd = Etcd::start(&binary);
    let url = format!("http://{}", etcd.address);
    let server = serve(address, &["--source", "etcd", "--upstream", &url]);
    let put = |key: &str, value: &str| {
        let answer = http::post(etcd.address, "/v3/kv/put", &serde_json::json!({"key": b64(key), "value": b64(value)}));
        revision(&answer.json())
    };
    let mut watch = Watch::open(server.address, "/a", "/b", 0);
    let at = put("/a1", "1");
    assert_eq!(revision(&watch.next()), at);
    let mirror = collector.trace("confcast.mirror", at);
    assert_eq!(mirror.names(), ["commit", "deliver"]);
    assert_eq!(mirror.attribute("confcast.source"), Some(Value::StringValue(url.clone())));
    assert_eq!(mirror.child("commit").keys(), ["/a1"]);
    assert_eq!(mirror.child("deliver").number("confcast.watchers"), 1);
    assert_eq!(mirror.span.status.as_ref().map_or(0, |status| status.code), 0);

    // Nobody watches it.
    let unseen = put("/c", "1");
    assert_eq!(collector.trace("confcast.mirror", unseen).names(), ["commit"]);

    // One that reads nothing is not waited for for ever.
    let large = "x".repeat(1 << 20);
    let mut last = 0;
    for _ in 0..32 {
        last = put("/a2", &large);
    }
    until("behind", || server.metric("confcast_watch_streams_behind") > 0.0);
    let stalled = collector.trace("confcast.mirror", last);
    assert_eq!(stalled.child("deliver").number("confcast.watchers.behind"), 1);
    assert_eq!(stalled.child("deliver").names(), Vec::<&str>::new());
    assert_eq!(stalled.span.status.map_or(0, |status| status.code), StatusCode::Error as i32);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_of_none_is_none_and_a_collector_that_is_away_harms_nothing() {
    let (collector, address) = Collector::start().await;
    let mesh = tempfile::tempdir().expect("a directory");
    let write = |name: &str| {
        let cluster = serde_json::json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": name,
            "type": "STATIC", "load_assignment": {"cluster_name": name}});
        let hidden = mesh.path().join(".mesh");
        std::fs::write(&hidden, cluster.to_string()).expect("written");
        std::fs::rename(hidden, mesh.path().join("mesh.json")).expect("renamed");
    };
    write("a");
    let files = ["--xds-file", mesh.path().to_str().expect("text")];
    let server = serve(address, &[&files[..], &["--otlp-sample", "0"]].concat());
    assert!(server.terminate());
    assert_eq!(*collector.spans.lock().expect("not poisoned"), []);

    // A port that nobody listens on.
    let away = SocketAddr::from(([127, 0, 0, 1], confcast::testing::ports::free_port()));
    let server = serve(away, &files);
    let mut watch = Watch::open(server.address, "/apisix/", "/apisix0", 0);
    write("b");
    assert!(!watch.keys().is_empty());
    assert!(server.terminate(), "{}", "it stops well");
}
