//! From updates of a source to what watchers see: random histories of resources go through the translator, the view and
//! the store, and random watchers that join at random revisions end with what a Range returns.
#![allow(clippy::print_stdout, missing_docs)]

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use confcast::apisix::Kind;
use confcast::envoy::{Resource, ResourceChange, ResourceType};
use confcast::store::{KeyRange, Revision, Snapshot, Store};
use confcast::testing::mesh;
use confcast::traces::Heard;
use confcast::translate::{Options, Translator, translate_all};
use confcast::view::{Guard, Pace, Sink, View};
use confcast::watch::{Create, Hub, Message, Session};
use confcast::xds::{Sync, Update};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Quick, as tests do not wait for what is not coming.
const PACE: Pace = Pace {
    quiet: Duration::from_millis(1),
    most: Duration::from_millis(5),
    warming: Duration::from_secs(20),
    grace: Duration::from_millis(300),
};

/// What a mesh is made of: services with ports, routes to some of them, and their listeners.
#[derive(Clone, Debug)]
struct Shape {
    services: Vec<(u8, Vec<u8>)>,
    routes: Vec<(u8, u8)>,
    listeners: Vec<u8>,
}

/// As from a control plane.
fn heard() -> Heard {
    Heard::now("test")
}

fn shape() -> impl Strategy<Value = Shape> {
    let services = prop::collection::btree_map(0..5_u8, prop::collection::vec(1..5_u8, 0..3), 0..5);
    let routes = prop::collection::vec((0..4_u8, 0..6_u8), 0..5);
    let listeners = prop::sample::subsequence(vec![1, 2], 0..=2);
    (services, routes, listeners).prop_map(|(services, routes, listeners)| Shape {
        services: services.into_iter().collect(),
        routes,
        listeners,
    })
}

impl Shape {
    fn resources(&self) -> Vec<Resource> {
        let mut resources = Vec::new();
        for (name, ports) in &self.services {
            let name = format!("s{name}");
            resources.push(mesh::eds_cluster(&name));
            resources.push(mesh::endpoints(&name, &ports.iter().map(|port| u16::from(*port)).collect::<Vec<_>>()));
        }
        let paths = ["/", "/a", "/a/b", "/c"];
        let routes: Vec<_> =
            self.routes.iter().map(|(path, service)| (paths[usize::from(*path)], format!("s{service}"))).collect();
        let routes: Vec<_> = routes.iter().map(|(path, service)| (*path, service.as_str())).collect();
        for number in &self.listeners {
            let name = format!("routes{number}");
            resources.push(mesh::listener(&format!("l{number}"), 8000 + u16::from(*number), &name));
            resources.push(mesh::prefix_routes(&name, &routes[..routes.len().min(usize::from(*number) * 2)]));
        }
        resources
    }
}

type World = BTreeMap<(confcast::envoy::ResourceType, String), Resource>;

fn world(resources: Vec<Resource>) -> World {
    resources.into_iter().map(|resource| ((resource.resource_type(), resource.name().to_owned()), resource)).collect()
}

fn changes(old: &World, new: &World) -> Vec<ResourceChange> {
    let set = new.iter().filter(|(key, resource)| old.get(*key) != Some(*resource));
    let set = set.map(|(_, resource)| ResourceChange::Set(resource.clone()));
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    set.chain(gone.map(|(kind, name)| ResourceChange::Remove(*kind, name.clone()))).collect()
}

/// A watcher and the state that it has put together.
struct Follower {
    session: Session,
    state: BTreeMap<Bytes, Bytes>,
    last: Revision,
}

impl Follower {
    /// Joins with the state at a revision, as a client does: a Range, and a watch from the next revision on.
    fn join(hub: &Hub, snapshot: &Snapshot, revision: Revision) -> Option<Self> {
        let view = snapshot.at(revision).ok()?;
        let state = view.range(&KeyRange::prefix("/apisix/")).map(|r| (r.key.clone(), r.value.clone())).collect();
        let mut session = hub.session();
        let (key, range_end) = ("/apisix/".into(), "/apisix0".into());
        session.create(&Create { key, range_end, start_revision: revision.next().0, ..Create::default() });
        Some(Self { session, state, last: revision })
    }

    /// Takes in what there is, and compares the state after each message with the store's at that revision.
    fn follow(&mut self, snapshot: &Snapshot) {
        while let Poll::Ready(message) = self.session.poll_next(&mut Context::from_waker(Waker::noop())) {
            match message {
                Message::Created { .. } => {}
                Message::Events { frame, .. } => {
                    for event in frame.events() {
                        assert!(event.record.mod_revision >= self.last, "in order");
                        self.last = event.record.mod_revision;
                        if event.is_delete() {
                            assert!(self.state.remove(event.key()).is_some(), "a deletion of what is there");
                        } else {
                            self.state.insert(event.key().clone(), event.record.value.clone());
                            self.no_dangling_reference(&event.record.value);
                        }
                    }
                    assert_eq!(self.state, state_at(snapshot, frame.revision()), "at {}", frame.revision());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(self.state, state_at(snapshot, snapshot.revision()));
    }

    /// When a route comes, the upstreams that it names are there.
    fn no_dangling_reference(&self, value: &[u8]) {
        let value: Value = serde_json::from_slice(value).unwrap_or_default();
        if let Some(id) = value["upstream_id"].as_str() {
            let key = Bytes::from(format!("/apisix/{}/{id}", Kind::Upstream.directory()));
            assert!(self.state.contains_key(&key), "a route before its upstream: {value}");
        }
    }
}

fn state_at(snapshot: &Snapshot, revision: Revision) -> BTreeMap<Bytes, Bytes> {
    let view = snapshot.at(revision).expect("retained");
    view.range(&KeyRange::prefix("/apisix/")).map(|record| (record.key.clone(), record.value.clone())).collect()
}

async fn run(shapes: Vec<Shape>, joins: Vec<(usize, prop::sample::Index)>) {
    let store = Store::in_memory(Revision(1000)).expect("a thread");
    let hub = Hub::new(store.clone());
    let view = View::new(Translator::new(Options::default()), Sink::new(store.clone(), "/apisix"), PACE);
    let mut status = view.status();
    let (updates, received) = mpsc::channel(16);
    let token = CancellationToken::new();
    #[expect(clippy::disallowed_methods, reason = "a task of a test")]
    let running = tokio::spawn(view.run(received, token.clone()));
    let mut rounds = 0;
    let mut held = World::new();
    let mut followers = Vec::new();
    let mut revisions = vec![Revision(1000)];
    for (step, shape) in shapes.iter().enumerate() {
        let resources = shape.resources();
        let next = world(resources.clone());
        let changes = changes(&held, &next);
        held = next;
        let before = store.snapshot();
        // A push comes as several responses, and is complete with the last.
        let (first, second) = changes.split_at(changes.len() / 2);
        updates
            .send(Update { changes: first.to_vec(), sync: Sync::Pending { awaited: 1 }, heard: heard() })
            .await
            .expect("it runs");
        updates.send(Update { changes: second.to_vec(), sync: Sync::Complete, heard: heard() }).await.expect("it runs");
        rounds += u64::from(step == 0 || !changes.is_empty());
        status.wait_for(|status| status.rounds == rounds).await.expect("it runs");
        let snapshot = store.snapshot();
        let moved = snapshot.revision().0 - before.revision().0;
        assert!(moved <= 1, "one push is at most one revision");
        // What is served is what a translation from scratch makes of it.
        let expected: BTreeMap<_, _> = translate_all(resources, Options::default())
            .objects
            .into_iter()
            .map(|object| (object.key.etcd_key("/apisix"), object.value))
            .collect();
        let served: BTreeMap<_, _> =
            state_at(&snapshot, snapshot.revision()).into_iter().filter(|(_, value)| value != "init_dir").collect();
        assert_eq!(served, expected);
        if moved == 1 {
            revisions.push(snapshot.revision());
        } else {
            assert_eq!(state_at(&before, before.revision()), state_at(&snapshot, snapshot.revision()));
        }
        for (_, at) in joins.iter().filter(|(when, _)| *when == step) {
            followers.extend(Follower::join(&hub, &snapshot, *at.get(&revisions)));
        }
        for follower in &mut followers {
            follower.follow(&snapshot);
        }
    }
    // The same again changes nothing.
    let before = store.snapshot().revision();
    let all: Vec<_> = held.values().cloned().map(ResourceChange::Set).collect();
    rounds += u64::from(!all.is_empty());
    updates.send(Update { changes: all, sync: Sync::Complete, heard: heard() }).await.expect("it runs");
    status.wait_for(|status| status.rounds == rounds).await.expect("it runs");
    assert_eq!(store.snapshot().revision(), before);
    token.cancel();
    running.await.expect("it ends");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn watchers_see_what_a_source_did(
        shapes in prop::collection::vec(shape(), 1..7),
        joins in prop::collection::vec((0..7_usize, any::<prop::sample::Index>()), 0..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(run(shapes, joins));
    }

    /// Whatever the order in which resources come, the objects and the report are the same, byte for byte.
    #[test]
    fn the_order_of_resources_does_not_matter(
        resources in shape().prop_map(|shape| shape.resources()).prop_shuffle(),
    ) {
        let sorted: Vec<_> = world(resources.clone()).into_values().collect();
        let (one, other) = (translate_all(resources, Options::default()), translate_all(sorted, Options::default()));
        prop_assert_eq!(one.objects, other.objects);
        prop_assert_eq!(one.report, other.report);
    }
}

/// A commit waits for what is missing, and shows nothing half.
#[tokio::test]
async fn nothing_is_committed_before_what_is_referred_to_has_come() {
    let store = Store::in_memory(Revision(1000)).expect("a thread");
    let view = View::new(Translator::new(Options::default()), Sink::new(store.clone(), "/apisix"), PACE);
    let mut status = view.status();
    let (updates, received) = mpsc::channel(16);
    let token = CancellationToken::new();
    #[expect(clippy::disallowed_methods, reason = "a task of a test")]
    let running = tokio::spawn(view.run(received, token.clone()));
    let mut rounds = 0;
    let mut send = async |changes: Vec<Resource>, sync| {
        let changes = changes.into_iter().map(ResourceChange::Set).collect();
        updates.send(Update { changes, sync, heard: heard() }).await.expect("it runs");
        if sync == Sync::Complete {
            rounds += 1;
            status.wait_for(|status| status.rounds == rounds).await.expect("it runs");
        } else {
            // Long enough for a commit, if there were to be one.
            tokio::time::sleep(PACE.most * 4).await;
        }
    };
    send(vec![mesh::eds_cluster("a")], Sync::Pending { awaited: 1 }).await;
    assert_eq!(store.snapshot().revision(), Revision(1000), "never complete, never shown");
    send(vec![mesh::endpoints("a", &[1])], Sync::Complete).await;
    assert_eq!(store.snapshot().revision(), Revision(1001));
    // A cluster is pushed anew while its endpoints stay: no event.
    send(vec![mesh::eds_cluster("a")], Sync::Complete).await;
    assert_eq!(store.snapshot().revision(), Revision(1001));
    // A second cluster waits for its endpoints.
    send(vec![mesh::eds_cluster("b")], Sync::Pending { awaited: 1 }).await;
    assert_eq!(store.snapshot().revision(), Revision(1001));
    send(vec![mesh::endpoints("b", &[2])], Sync::Complete).await;
    assert_eq!(store.snapshot().revision(), Revision(1002));
    let upstreams = store.snapshot().range(&KeyRange::prefix("/apisix/upstreams/")).count();
    assert_eq!(upstreams, 3, "the placeholder and two upstreams");
    let whole = state_at(&store.snapshot(), Revision(1002));
    assert!(
        whole
            .values()
            .filter(|value| *value != "init_dir")
            .all(|value| { serde_json::from_slice::<Value>(value).is_ok_and(|value| value["nodes"] != json!([])) })
    );
    token.cancel();
    running.await.expect("it ends");
}

/// An APISIX that watches routes and upstreams apart may hear of the routes last.
#[tokio::test]
async fn an_upstream_outlives_the_routes_to_it_for_an_old_apisix() {
    let store = Store::in_memory(Revision(1000)).expect("a thread");
    let served = |directory: &str| {
        let snapshot = store.snapshot();
        let keys = snapshot.range(&KeyRange::prefix(format!("/apisix/{directory}/"))).count();
        keys - 1
    };
    let moves = vec![
        ResourceChange::Set(mesh::prefix_routes("r", &[("/", "b")])),
        ResourceChange::Remove(ResourceType::Cluster, "a".to_owned()),
    ];
    let start =
        [mesh::static_cluster("a", &[1]), mesh::static_cluster("b", &[2]), mesh::prefix_routes("r", &[("/", "a")])];
    for (version, stays) in [("3.3", true), ("3.4", false)] {
        let options = Options { apisix: Some(version.parse().expect("a version")), ..Options::default() };
        // The second one begins with what the first one left.
        let view = View::new(Translator::new(options), Sink::new(store.clone(), "/apisix"), PACE);
        let mut status = view.status();
        let (updates, received) = mpsc::channel(16);
        let token = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "a task of a test")]
        let running = tokio::spawn(view.run(received, token.clone()));
        for (round, changes) in (1..).zip([start.iter().cloned().map(ResourceChange::Set).collect(), moves.clone()]) {
            updates.send(Update { changes, sync: Sync::Complete, heard: heard() }).await.expect("it runs");
            status.wait_for(|status| status.rounds == round).await.expect("it runs");
        }
        assert_eq!((served("routes"), served("upstreams")), (1, if stays { 2 } else { 1 }), "{version}");
        let revision = store.snapshot().revision();
        tokio::time::sleep(PACE.grace * 3).await;
        assert_eq!(served("upstreams"), 1, "{version}");
        assert_eq!(store.snapshot().revision().0 - revision.0, i64::from(stays), "{version}");
        token.cancel();
        running.await.expect("it ends");
    }
}

/// What takes most of the mesh away is looked at twice.
#[tokio::test]
async fn a_mesh_that_vanishes_is_served_on_for_a_while() {
    let store = Store::in_memory(Revision(1000)).expect("a thread");
    let guard = Guard { percent: 50, few: 1, wait: Duration::from_millis(300) };
    let view = View::new(Translator::new(Options::default()), Sink::new(store.clone(), "/apisix"), PACE)
        .guarded(watch::channel(guard).1);
    let mut status = view.status();
    let (updates, received) = mpsc::channel(16);
    let token = CancellationToken::new();
    #[expect(clippy::disallowed_methods, reason = "a task of a test")]
    let running = tokio::spawn(view.run(received, token.clone()));
    let clusters = ["a", "b", "c", "d"];
    let set = |names: &[&str]| names.iter().map(|name| ResourceChange::Set(mesh::static_cluster(name, &[1]))).collect();
    let remove = |names: &[&str]| {
        let gone = names.iter().map(|name| ResourceChange::Remove(ResourceType::Cluster, (*name).to_owned()));
        gone.collect::<Vec<_>>()
    };
    let send = async |changes| {
        updates.send(Update { changes, sync: Sync::Complete, heard: heard() }).await.expect("it runs");
    };
    send(set(&clusters)).await;
    status.wait_for(|status| status.objects == 4).await.expect("it runs");
    let before = store.snapshot();
    send(remove(&clusters[1..])).await;
    status.wait_for(|status| status.held).await.expect("it runs");
    // It was a mistake.
    send(set(&clusters[1..])).await;
    status.wait_for(|status| !status.held).await.expect("it runs");
    assert_eq!(store.snapshot().revision(), before.revision(), "nobody has seen it");
    // It is meant.
    send(remove(&clusters[1..])).await;
    status.wait_for(|status| status.held).await.expect("it runs");
    assert_eq!(store.snapshot().revision(), before.revision());
    status.wait_for(|status| !status.held && status.objects == 1).await.expect("it runs");
    assert_eq!(store.snapshot().range(&KeyRange::prefix("/apisix/upstreams/")).count(), 2, "the placeholder and one");
    token.cancel();
    running.await.expect("it ends");
}
