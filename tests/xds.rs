//! The xDS client against control planes over real gRPC: our own with the habits of several, and go-control-plane's.
//!
//! Whatever happens on the way, the client ends with what the server holds, and what is equal is no change.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use confcast::envoy::{Resource, ResourceChange, ResourceType};
use confcast::testing::ads::{AdsServer, Habits};
use confcast::testing::mesh;
use confcast::xds::config::{Node, Protocol, Tls, TokenScheme, XdsConfig};
use confcast::xds::{Sync, Update, driver};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

type World = BTreeMap<(ResourceType, String), Resource>;

/// How long a change may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing must come for nothing to be coming.
const QUIET: Duration = Duration::from_millis(150);

/// A running client and what it holds.
struct Client {
    updates: mpsc::Receiver<Update>,
    world: World,
    sync: Option<Sync>,
    changes: usize,
    _stop: DropGuard,
}

impl Client {
    fn start(servers: Vec<String>, protocol: Protocol) -> Self {
        let node = Node { id: "router~127.0.0.1~a.b~b.svc.cluster.local".into(), ..Node::default() };
        let config = XdsConfig {
            servers,
            node,
            protocol,
            tls: Tls::default(),
            token_file: None,
            token_scheme: TokenScheme::Bearer,
        };
        let token = CancellationToken::new();
        let (sender, updates) = mpsc::channel(16);
        #[expect(clippy::disallowed_methods, reason = "a task of a test")]
        tokio::spawn(driver::run(config, sender, token.clone()));
        Self { updates, world: World::new(), sync: None, changes: 0, _stop: token.drop_guard() }
    }

    fn take(&mut self, update: Update) {
        self.sync = Some(update.sync);
        for change in update.changes {
            self.changes += 1;
            match change {
                ResourceChange::Set(resource) => {
                    let key = (resource.resource_type(), resource.name().to_owned());
                    let old = self.world.insert(key, resource.clone());
                    assert_ne!(old, Some(resource), "a change that changes nothing");
                }
                ResourceChange::Remove(kind, name) => {
                    assert!(self.world.remove(&(kind, name)).is_some(), "a removal of what is not there");
                }
            }
        }
    }

    /// Waits until the client holds this and waits for nothing more.
    async fn holds(&mut self, expected: &[Resource]) {
        let expected: World = expected
            .iter()
            .map(|resource| ((resource.resource_type(), resource.name().to_owned()), resource.clone()))
            .collect();
        let wait = async {
            while self.world != expected || self.sync != Some(Sync::Complete) {
                let update = self.updates.recv().await.expect("the client runs");
                self.take(update);
            }
        };
        if timeout(PATIENCE, wait).await.is_err() {
            let (has, wants): (Vec<_>, Vec<_>) = (self.world.keys().collect(), expected.keys().collect());
            panic!("{:?}: holds {has:?}, should hold {wants:?}", self.sync);
        }
    }

    /// Makes sure that nothing changes for a while.
    async fn stays(&mut self) {
        let before = self.changes;
        while let Ok(Some(update)) = timeout(QUIET, self.updates.recv()).await {
            self.take(update);
        }
        assert_eq!(self.changes, before, "nothing has changed");
    }
}

/// Every kind of control plane, and the protocol to speak with it.
const KINDS: [(&str, Habits, Protocol); 10] = [
    ("plain, delta", Habits::NONE, Protocol::Delta),
    ("plain, state of the world", Habits::NONE, Protocol::Sotw),
    ("like Istio, delta", Habits::ISTIO, Protocol::Delta),
    ("like Istio, state of the world", Habits::ISTIO, Protocol::Sotw),
    ("like go-control-plane, delta", Habits::GO_CONTROL_PLANE, Protocol::Delta),
    ("like go-control-plane, state of the world", Habits::GO_CONTROL_PLANE, Protocol::Sotw),
    ("like Consul", Habits::CONSUL, Protocol::Auto),
    ("state of the world only", Habits { sotw_only: true, ..Habits::NONE }, Protocol::Auto),
    ("state of the world, changes only", Habits { changes_only: true, ..Habits::NONE }, Protocol::Sotw),
    ("one response in flight", Habits { one_in_flight: true, ..Habits::NONE }, Protocol::Sotw),
];

fn mesh_of(services: &[(&str, &[u16])]) -> Vec<Resource> {
    let mut resources = vec![mesh::listener("http", 10_080, "routes")];
    let prefixes: Vec<_> = services.iter().map(|(name, _)| (format!("/{name}"), *name)).collect();
    let prefixes: Vec<_> = prefixes.iter().map(|(prefix, name)| (prefix.as_str(), *name)).collect();
    resources.push(mesh::prefix_routes("routes", &prefixes));
    for (name, ports) in services {
        resources.push(mesh::eds_cluster(name));
        resources.push(mesh::endpoints(name, ports));
    }
    resources
}

#[tokio::test]
async fn ends_with_what_every_kind_of_server_holds() {
    for (kind, habits, protocol) in KINDS {
        println!("{kind}");
        let server = AdsServer::start(habits).await;
        let first = mesh_of(&[("a", &[1, 2]), ("b", &[3])]);
        server.set(first.clone());
        let mut client = Client::start(vec![server.url()], protocol);
        client.holds(&first).await;
        // An endpoint changes; a service comes; one goes.
        let steps = [
            mesh_of(&[("a", &[1]), ("b", &[3])]),
            mesh_of(&[("a", &[1]), ("b", &[3]), ("c", &[4])]),
            mesh_of(&[("a", &[1]), ("c", &[4])]),
        ];
        for step in &steps {
            server.set(step.clone());
            client.holds(step).await;
        }
        // The same again, after a break, and from a server that counts its versions anew.
        let last = &steps[2];
        server.cut();
        client.stays().await;
        server.new_versions();
        client.stays().await;
        // What went during a break is gone after it.
        let after = mesh_of(&[("c", &[4, 5])]);
        server.cut();
        server.set(after.clone());
        client.holds(&after).await;
        assert_ne!(&after, last);
        let seen = server.seen();
        assert!(seen.nacks.is_empty(), "{kind}: {:?}", seen.nacks);
        assert_eq!(seen.mixed_answers, 0, "{kind}: subscriptions go in requests of their own");
        assert_eq!(seen.foreign_versions, 0, "{kind}: each type has versions of its own");
        assert!(seen.streams >= 3);
    }
}

#[tokio::test]
async fn a_bad_resource_is_refused_alone_and_the_last_good_one_stays() {
    for protocol in [Protocol::Delta, Protocol::Sotw] {
        let server = AdsServer::start(Habits::NONE).await;
        let good = mesh_of(&[("a", &[1]), ("b", &[2])]);
        server.set(good.clone());
        let mut client = Client::start(vec![server.url()], protocol);
        client.holds(&good).await;
        server.set_bytes(ResourceType::Cluster, "a", vec![0xff; 7]);
        while server.seen().nacks.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client.stays().await;
        assert!(server.seen().nacks[0].contains("Cluster"), "{:?}", server.seen().nacks);
        // What is good in a response that holds something bad is taken.
        let mut more = mesh_of(&[("a", &[1]), ("b", &[2]), ("c", &[3])]);
        server.set(more.clone());
        server.set_bytes(ResourceType::Cluster, "a", vec![0xff; 9]);
        client.holds(&more).await;
        // And mended, it is taken as well.
        more[2] = mesh::static_cluster("a", &[9]);
        more.remove(3);
        server.set(more.clone());
        client.holds(&more).await;
        assert_eq!(server.seen().foreign_versions, 0, "what is refused leaves the version of its type");
    }
}

/// Endpoints are asked for by the name that their cluster has for them, and nobody's are not.
#[tokio::test]
async fn endpoints_are_asked_for_by_the_name_of_their_service() {
    for protocol in [Protocol::Delta, Protocol::Sotw] {
        let server = AdsServer::start(Habits::NONE).await;
        let service = "outbound|80||a.b.svc.cluster.local";
        let eds = json!({"service_name": service, "eds_config": {"ads": {}}});
        let cluster = json!({"name": "a", "type": "EDS", "eds_cluster_config": eds});
        let wanted = [mesh::resource(ResourceType::Cluster, cluster), mesh::endpoints(service, &[1])];
        server.set(wanted.iter().cloned().chain(["a", "stranger"].map(|name| mesh::endpoints(name, &[2]))));
        Client::start(vec![server.url()], protocol).holds(&wanted).await;
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_while_what_it_sent_stays() {
    let server = AdsServer::start(Habits::NONE).await;
    let (url, port) = (server.url(), server.port());
    let first = mesh_of(&[("a", &[1])]);
    server.set(first.clone());
    let mut client = Client::start(vec![url], Protocol::Auto);
    client.holds(&first).await;
    drop(server);
    client.stays().await;
    let listener = loop {
        match tokio::net::TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let server = AdsServer::on(listener, Habits::NONE);
    let second = mesh_of(&[("a", &[1]), ("b", &[2])]);
    server.set(second.clone());
    client.holds(&second).await;
    assert!(server.seen().nodes.contains("router~127.0.0.1~a.b~b.svc.cluster.local"));
}

#[tokio::test]
async fn what_is_not_sent_is_waited_for() {
    let server = AdsServer::start(Habits::NONE).await;
    let whole = mesh_of(&[("a", &[1])]);
    let without: Vec<_> = whole.iter().filter(|r| r.resource_type() != ResourceType::Route).cloned().collect();
    server.set(without);
    let mut client = Client::start(vec![server.url()], Protocol::Sotw);
    let wait = async {
        while client.world.len() < 3 {
            let update = client.updates.recv().await.expect("the client runs");
            client.take(update);
        }
    };
    timeout(PATIENCE, wait).await.expect("the rest comes");
    assert!(matches!(client.sync, Some(Sync::Pending { awaited: 1 })), "{:?}", client.sync);
    server.set(whole.clone());
    client.holds(&whole).await;
}

/// Random pushes, breaks and restarts, from a seed that is printed: at every pause the client holds what the server
/// does.
#[tokio::test]
async fn random_histories_converge() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| rand::rng().random());
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let names = ["a", "b", "c", "d", "e"];
    for (kind, habits, protocol) in KINDS {
        println!("{kind}");
        let server = AdsServer::start(habits).await;
        let mut client = Client::start(vec![server.url()], protocol);
        for _ in 0..8 {
            for _ in 0..random.random_range(1..4) {
                match random.random_range(0..6) {
                    0 => server.cut(),
                    1 => server.new_versions(),
                    _ => {
                        let ports: Vec<Vec<u16>> =
                            names.iter().map(|_| vec![random.random_range(1..4), random.random_range(4..6)]).collect();
                        let services: Vec<_> = names
                            .iter()
                            .zip(&ports)
                            .filter(|_| random.random_bool(0.6))
                            .map(|(name, ports)| (*name, ports.as_slice()))
                            .collect();
                        server.set(mesh_of(&services));
                    }
                }
                if random.random_bool(0.5) {
                    tokio::time::sleep(Duration::from_millis(random.random_range(0..5))).await;
                }
            }
            let services: Vec<_> =
                names.iter().filter(|_| random.random_bool(0.6)).map(|name| (*name, &[7_u16][..])).collect();
            let last = mesh_of(&services);
            server.set(last.clone());
            client.holds(&last).await;
        }
        assert!(server.seen().nacks.is_empty(), "{:?}", server.seen().nacks);
    }
}

/// go-control-plane's own server, which is built from its module: where Go is missing the test says so.
#[tokio::test(flavor = "multi_thread")]
async fn go_control_plane_itself() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    let Some(go) = support::program("CONFCAST_GO", "go") else { return };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/gocontrolplane");
    let binary = tempfile::tempdir().expect("a directory");
    let binary = binary.path().join("control-plane");
    let build =
        Command::new(go).args(["build", "-o"]).arg(&binary).arg(".").current_dir(folder).output().expect("go runs");
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    let start = || {
        let mut child = Command::new(&binary).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut address = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut address).expect("an address");
        let commands = child.stdin.take().expect("piped");
        (child, commands, format!("http://{}", address.trim()))
    };
    for protocol in [Protocol::Delta, Protocol::Sotw] {
        let (mut child, mut commands, url) = start();
        let (mut second, mut second_commands, second_url) = start();
        let mut set = |text: &str| writeln!(commands, "set {text}").expect("it reads");
        set("1 a:1,2 b:3");
        // When the first is gone, the client goes on with the second.
        let mut client = Client::start(vec![url, second_url], protocol);
        client.holds_services(&[("a", 2), ("b", 1)]).await;
        for (command, expected) in [
            ("2 a:1 b:3", &[("a", 1), ("b", 1)][..]),
            ("3 a:1 b:3 c:4", &[("a", 1), ("b", 1), ("c", 1)]),
            ("4 c:4", &[("c", 1)]),
        ] {
            set(command);
            client.holds_services(expected).await;
        }
        set("5 c:4");
        client.stays().await;
        writeln!(second_commands, "set 77 c:4").expect("it reads");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        client.stays().await;
        writeln!(second_commands, "set 78 c:4 d:5").expect("it reads");
        client.holds_services(&[("c", 1), ("d", 1)]).await;
        second.kill().expect("it runs");
        second.wait().expect("it ends");
    }
}

impl Client {
    /// Waits until the client holds these clusters with so many endpoints, a listener and routes, and nothing else.
    async fn holds_services(&mut self, services: &[(&str, usize)]) {
        let expected: BTreeMap<_, _> = services.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let holds = |world: &World| {
            let count = |resource: &Resource| match resource {
                Resource::Endpoints(assignment) => assignment.endpoints.iter().map(|l| l.lb_endpoints.len()).sum(),
                _ => 0,
            };
            let of = |kind| world.iter().filter(move |((other, _), _)| *other == kind);
            let clusters: Vec<_> = of(ResourceType::Cluster).map(|((_, name), _)| name).collect();
            let endpoints: BTreeMap<_, _> =
                of(ResourceType::Endpoints).map(|((_, name), resource)| (name.clone(), count(resource))).collect();
            let routes: usize = of(ResourceType::Route)
                .map(|(_, resource)| match resource {
                    Resource::Route(routes) => routes.virtual_hosts[0].routes.len(),
                    _ => 0,
                })
                .sum();
            clusters.into_iter().eq(expected.keys())
                && endpoints == expected
                && routes == expected.len()
                && world.len() == 2 * expected.len() + 2
        };
        let wait = async {
            while !holds(&self.world) || self.sync != Some(Sync::Complete) {
                let update = self.updates.recv().await.expect("the client runs");
                self.take(update);
            }
        };
        let waited = timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "should hold {services:?}, holds {:?}", self.world.keys().collect::<Vec<_>>());
    }
}
