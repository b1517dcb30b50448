//! The server as a whole: builds the parts, owns their tasks, and ends them in order.

mod leases;
mod publish;
mod settings;
mod source;
mod traces;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rand::Rng;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::access::Access;
use crate::admin::{self, Admin};
use crate::auth::{self, Auth, SigningKey, UsersFileError};
use crate::config::live::{Live, LiveSettings};
use crate::config::memory::Budget;
use crate::config::tls::Tls;
use crate::config::{Config, Source};
use crate::gateway::Metrics;
use crate::persist::{DataDir, OpenError};
use crate::readiness::Readiness;
use crate::rpc::Node;
use crate::rpc::ending::Stopping;
use crate::rpc::range_cache::RangeCache;
use crate::serve::memory::Ledger;
use crate::serve::tls::{Acceptor, TlsError, Use};
use crate::serve::{self, Port, Service, Stop};
use crate::store::snapshot::Restored;
use crate::store::{Journal, MemoryOnly, Retention, Revision, Store};
use crate::upstream::{Prefixes, Upstream, mirror};
use crate::view::Status;
use crate::watch::Hub;
use crate::wire::Identity;

/// Updates of a source that wait for the view. A full queue holds the source back (`backpressure`).
const UPDATES: usize = 16;

/// The term in response headers, which is never zero and never changes.
const TERM: u64 = 2;

/// A running server. Dropping it ends it at once; [`shutdown`](Self::shutdown) ends it well.
#[derive(Debug)]
pub struct Server {
    node: Node,
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    status: Option<tokio::sync::watch::Receiver<Status>>,
    /// The tasks without which the server is none, by name.
    core: JoinSet<&'static str>,
    connections: TaskTracker,
    background: CancellationToken,
    stop: Stop,
    told: settings::Told,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port could not be opened.
    #[error("cannot listen on {address}; is another server there? Choose another with {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The data directory could not be used.
    #[error(transparent)]
    DataDir(#[from] OpenError),
    /// The etcd to be mirrored, or published into, cannot be reached with these settings.
    #[error(transparent)]
    Upstream(#[from] crate::upstream::ClientError),
    /// The users in the data directory cannot be read, which must not leave everything open.
    #[error("the users in the data directory cannot be read: {0}")]
    Users(#[source] serde_json::Error),
    /// The file with the users cannot be used.
    #[error(transparent)]
    UsersFile(#[from] UsersFileError),
    /// The certificates for the port cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Traces cannot be exported.
    #[cfg(feature = "otel")]
    #[error("traces: {0}")]
    Traces(#[source] crate::traces::follow::OpenError),
    /// The system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// A task without which the server is none has ended.
#[derive(Debug, thiserror::Error)]
#[error("the {0} has stopped unexpectedly")]
pub struct CoreEnded(pub &'static str);

impl Server {
    /// Starts a server.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let told = settings::Told::new(&config);
        let (config, opened) = open_store(config).await?;
        let Opened { store, identity, auth, restored } = opened;
        let (listener, address) = bind(config.listen, "--listen")?;
        let admin = config.admin_listen.map(|address| bind(address, "--admin-listen")).transpose()?;
        let readiness = readiness(&config, restored);
        let acceptor = |tls: Option<Tls>, port| tls.map(|tls| Acceptor::open(tls, port)).transpose();
        let tls = acceptor(config.tls.clone(), Use::Clients)?.map(Arc::new);
        let admin_tls = acceptor(config.admin_tls.clone(), Use::Admin)?.map(Arc::new);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let upstream = mirrored(&config, &store)?;
        let client_url = config.client_url.clone().unwrap_or_else(|| format!("{scheme}://{address}"));
        let (stop, live) = (Stop::default(), Live::new(LiveSettings::of(&config)));
        let connections = TaskTracker::new();
        let node = Node {
            hub: Arc::new(Hub::new(store.clone())),
            store,
            own_identity: identity,
            auth,
            durable: config.data_dir.is_some(),
            readiness,
            stopping: Stopping::over(live.clone()),
            live: live.clone(),
            memory: Ledger::new(config.memory.map(Budget::requests)),
            ranges: Arc::new(config.memory.map_or_else(RangeCache::default, |budget| RangeCache::new(budget.ranges()))),
            upstream: upstream.clone(),
            tasks: connections.clone(),
            client_url: client_url.into(),
        };
        let background = CancellationToken::new();
        let mut core = JoinSet::new();

        let (hub, token) = (node.hub.clone(), background.clone());
        core.spawn(async move {
            hub.run(token).await;
            "watch hub"
        });
        let traces = traces::start(&config, &node.hub, &background, &mut core)?;
        core.spawn(leases::expire(node.store.clone(), background.clone()));

        if let Some(upstream) = upstream {
            let follow =
                mirror::run(upstream, node.store.clone(), node.readiness.clone(), traces.clone(), background.clone());
            core.spawn(async move {
                follow.await;
                "mirror"
            });
        }
        let (view, published) = match &config.publish {
            None => (source::start(&config, &node, (told.guard(), traces), &background, &mut core), None),
            Some(to) => {
                let shown = publish::start(to, &config, (told.guard(), traces), &background, &mut core)?;
                (shown.view, Some(shown.status))
            }
        };
        let admin_address = admin.as_ref().map(|(_, address)| *address);
        let shown = Admin {
            node: node.clone(),
            prefix: config.prefix.as_str().into(),
            budget: config.memory,
            view: view.clone(),
            published,
            log: config.log,
            metrics: config.metrics,
        };
        let exposition = shown.clone();
        let metrics: Metrics = Arc::new(move || exposition.render());
        if let Some((listener, address)) = admin {
            let certificates = config.admin_tls.is_some_and(|tls| tls.client_ca.is_some());
            let (admin, access) = (shown, Access::new(live.clone(), address, certificates));
            let port = admin::listener::Port::new(listener, admin_tls.clone());
            let token = background.clone();
            core.spawn(async move {
                admin::serve(port, admin, access, token).await;
                "admin port"
            });
        }
        for tls in tls.iter().chain(&admin_tls) {
            let (tls, token) = (tls.clone(), background.clone());
            core.spawn(async move {
                tls.follow(token).await;
                "follower of certificates"
            });
        }
        if node.auth.file().is_some() {
            let (auth, token) = (node.auth.clone(), background.clone());
            core.spawn(async move {
                auth.follow(token).await;
                "follower of users"
            });
        }
        let port = Port { service: Service::new(node.clone(), Some(metrics)), tls, live };
        let serve = serve::serve(listener, port, connections.clone(), stop.clone());
        core.spawn(async move {
            serve.await;
            "listener"
        });
        let status = view.map(|view| view.status);
        Ok(Self { node, address, admin_address, status, core, connections, background, stop, told })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators connect.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// The store that is served. A program that embeds the server may write to it and watch it.
    pub fn store(&self) -> &Store {
        &self.node.store
    }

    /// Whether the server is ready.
    pub fn readiness(&self) -> &Readiness {
        &self.node.readiness
    }

    /// Where watchers meet the store.
    pub fn hub(&self) -> &Hub {
        &self.node.hub
    }

    /// What was made of the source's configuration; none without a source.
    pub fn status(&self) -> Option<Status> {
        self.status.as_ref().map(|status| *status.borrow())
    }

    /// Waits until a part without which the server is none has ended, which does not happen by itself.
    pub async fn failure(&mut self) -> CoreEnded {
        match self.core.join_next().await {
            Some(Ok(name)) => CoreEnded(name),
            Some(Err(error)) => {
                tracing::error!(%error, "a part of the server has panicked");
                CoreEnded("server")
            }
            None => std::future::pending().await,
        }
    }

    /// Ends the server: tells probes, takes no new connections, ends watch streams one by one, lets running requests finish, and
    /// ends what is left after the time for it.
    pub async fn shutdown(mut self) {
        self.node.readiness.draining();
        self.stop.accepting.cancel();
        self.node.stopping.token.cancel();
        self.stop.requests.cancel();
        self.connections.close();
        let (drain, spread) = {
            let settings = self.node.live.get();
            (settings.drain, settings.drain_spread)
        };
        if tokio::time::timeout(drain.saturating_add(spread), self.connections.wait()).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "connections are closed before they have ended");
            self.stop.connections.cancel();
            self.connections.wait().await;
        }
        self.background.cancel();
        while self.core.join_next().await.is_some() {}
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.accepting.cancel();
        self.stop.connections.cancel();
        self.background.cancel();
    }
}

fn bind(address: SocketAddr, flag: &'static str) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = serve::bind(address).and_then(|listener| listener.local_addr().map(|address| (listener, address)));
    bound.map_err(|source| StartError::Listen { address, flag, source })
}

/// What the data directory holds, or what a server without one starts with.
struct Opened {
    store: Store,
    identity: Identity,
    auth: Auth,
    /// Whether there is a configuration from before.
    restored: bool,
}

async fn open_store(config: Config) -> Result<(Config, Opened), StartError> {
    let open = move || read_store(&config).map(|opened| (config, opened));
    // Reads a file, which may be large.
    tokio::task::spawn_blocking(open).await.map_err(|error| StartError::Thread(std::io::Error::other(error)))?
}

fn read_store(config: &Config) -> Result<Opened, StartError> {
    // The clock is asked once, for a history that continues none.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mirrors = config.mirrored().is_some();
    // A mirror has its etcd's revisions, and none before it has seen them.
    let first = if mirrors { Revision::ZERO } else { Revision::from_wall_clock(now) };
    let mut random = rand::rng();
    let fresh = Identity {
        cluster_id: random.random_range(1..=u64::MAX),
        member_id: random.random_range(1..=u64::MAX),
        raft_term: TERM,
    };
    let (mut restored, journal, identity, is_new, secret): (_, Box<dyn Journal>, _, _, _) = match &config.data_dir {
        None => (Restored::empty_at(first), Box::new(MemoryOnly), fresh, true, None),
        Some(path) => {
            let opened = DataDir::open(path, first, fresh)?;
            let kept = config.mirrored().map_or(0, |etcd| Prefixes::of(&etcd.prefixes).fingerprint());
            opened.dir.must_be_of(kept)?;
            (opened.restored, Box::new(opened.dir), opened.identity, opened.is_new, Some(opened.token_secret))
        }
    };
    let users = match restored.auth.take() {
        None => auth::State::default(),
        Some(bytes) => serde_json::from_slice(&bytes).map_err(StartError::Users)?,
    };
    let key = match config.auth_token_key.as_ref().or(secret.as_ref()) {
        Some(secret) => SigningKey::new(secret),
        None => SigningKey::random(),
    };
    let (lifetime, failures) = (config.auth_token_lifetime, config.limits.failed_logins);
    let auth = match config.users() {
        None => Auth::new(users, key, lifetime, failures),
        Some(file) => {
            if !users.users.is_empty() {
                tracing::warn!("the users in the data directory are not used, but those of --users-file");
            }
            Auth::of_file(file, key, lifetime, failures)?
        }
    };
    let of_source = |record: &crate::store::Record| record.origin == crate::store::Origin::Source;
    let has_configuration =
        !is_new && if mirrors { restored.revision > Revision::ZERO } else { restored.records.iter().any(of_source) };
    let (revision, keys) = (restored.revision, restored.records.len());
    let memory = config.memory.map_or(config.retention.memory, Budget::store);
    let retention = Retention { memory, ..config.retention };
    let store = Store::open(restored, retention, journal).map_err(StartError::Thread)?;
    if !is_new {
        tracing::info!(%revision, keys, path = %config.data_dir.as_deref().map(PathBuf::from).unwrap_or_default().display(), "continuing from the data directory");
    }
    Ok(Opened { store, identity, auth, restored: has_configuration })
}

/// The etcd that is mirrored, if one is.
fn mirrored(config: &Config, store: &Store) -> Result<Option<Upstream>, StartError> {
    let Some(config) = config.mirrored() else { return Ok(None) };
    let client = crate::upstream::Client::new(config)?;
    Ok(Some(Upstream::new(client, store.clone(), config)))
}

/// Ready at once if there is nothing to wait for, or something to serve until then.
fn readiness(config: &Config, restored: bool) -> Readiness {
    match &config.source {
        _ if restored => Readiness::ready(),
        // One that publishes serves what the etcd has, whose revisions clients know.
        _ if config.mirrored().is_some() => {
            let endpoints = config.mirrored().map(|etcd| etcd.endpoints.join(", ")).unwrap_or_default();
            Readiness::waiting_for(format!("the etcd at {endpoints}"))
        }
        Source::None | Source::Etcd(_) => Readiness::ready(),
        Source::Xds(xds) => Readiness::waiting_for(format!("the control plane at {}", xds.servers.join(", "))),
        Source::ApisixYaml(yaml) => Readiness::waiting_for(format!("the file {}", yaml.path.display())),
        Source::XdsFiles(files) => {
            let paths: Vec<_> = files.paths.iter().map(|path| path.display().to_string()).collect();
            Readiness::waiting_for(format!("the files in {}", paths.join(", ")))
        }
    }
}
