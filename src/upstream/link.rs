//! What a mirror knows of its etcd.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;
use tonic::Status;

use super::client::Client;
use super::prefixes::Prefixes;
use super::read_index::ReadIndex;
use crate::config::upstream::{UpstreamConfig, WhenAway};
use crate::store::{Revision, Store};

/// How long a reader or writer waits until the mirror has what the etcd has.
pub(super) const CATCH_UP: Duration = Duration::from_secs(5);

/// How long a reader waits for a revision that the mirror has not heard of. It may have come from another replica that
/// is ahead, or be nonsense, which must be told before the 5 s are over after which etcdctl gives up.
const AHEAD: Duration = Duration::from_secs(3);

/// The cluster that an etcd is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its id.
    pub id: u64,
    /// Its term when the mirror connected.
    pub term: u64,
}

/// The etcd behind a mirror. Clones share everything.
#[derive(Clone, Debug)]
pub struct Upstream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    store: Store,
    when_away: WhenAway,
    open_reads: bool,
    prefixes: Prefixes,
    history: u32,
    connected: AtomicBool,
    /// Whether the etcd asks for names and passwords.
    protected: AtomicBool,
    heard: Mutex<Instant>,
    cluster: ArcSwapOption<Cluster>,
    read_index: ReadIndex,
}

impl Upstream {
    /// What is known before anything was heard.
    pub fn new(client: Client, store: Store, config: &UpstreamConfig) -> Self {
        Self(Arc::new(Inner {
            read_index: ReadIndex::default(),
            client,
            store,
            when_away: config.when_away,
            open_reads: config.open_reads,
            prefixes: Prefixes::of(&config.prefixes),
            history: config.history,
            connected: AtomicBool::new(false),
            protected: AtomicBool::new(false),
            heard: Mutex::new(Instant::now()),
            cluster: ArcSwapOption::empty(),
        }))
    }

    /// The connections.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The keys that are mirrored.
    pub fn prefixes(&self) -> &Prefixes {
        &self.0.prefixes
    }

    /// How many revisions of the past are asked for when there is nothing yet.
    pub(super) fn history(&self) -> u32 {
        self.0.history
    }

    /// Whether changes arrive as they happen.
    pub fn is_connected(&self) -> bool {
        self.0.connected.load(Ordering::Acquire)
    }

    /// For how long nothing was heard.
    pub fn silent_for(&self) -> Duration {
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    pub(super) fn heard(&self) {
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        metrics::gauge!(crate::telemetry::upstream::LAST_RESPONSE).set(crate::telemetry::now());
    }

    /// Notes whether changes arrive. True if that is news.
    pub(super) fn set_connected(&self, connected: bool) -> bool {
        self.0.connected.swap(connected, Ordering::AcqRel) != connected
    }

    /// The cluster whose state is in the store; none before this process has seen that.
    pub fn cluster(&self) -> Option<Cluster> {
        self.0.cluster.load().as_deref().copied()
    }

    pub(super) fn set_cluster(&self, cluster: Cluster) {
        if self.cluster() != Some(cluster) {
            self.0.cluster.store(Some(Arc::new(cluster)));
        }
    }

    pub(super) fn set_protected(&self, protected: bool) {
        self.0.protected.store(protected, Ordering::Release);
    }

    /// Whether the etcd's users are not to be gone around by reading here.
    pub fn forbids_reads(&self) -> bool {
        !self.0.open_reads && self.0.protected.load(Ordering::Acquire)
    }

    /// Waits until the store has everything that the etcd had when this was called: what makes a read linearizable.
    ///
    /// While the etcd is away it returns false at once, or an error, as the settings say; always an error if it is asked
    /// to be `strict`.
    pub async fn catch_up(&self, strict: bool) -> Result<bool, Status> {
        let failed = if self.is_connected() {
            match self.0.read_index.ask(&self.0.client).await {
                Ok(revision) => return self.reach(revision).await,
                Err(status) => status,
            }
        } else {
            Status::unavailable("not connected")
        };
        match self.0.when_away {
            WhenAway::Serve if !strict => Ok(false),
            WhenAway::Serve | WhenAway::Refuse => {
                Err(Status::unavailable(format!("confcast: the etcd behind this mirror is away: {}", failed.message())))
            }
        }
    }

    /// Waits until the store has reached a revision of which a reader has heard elsewhere, if it does so soon.
    pub async fn look_ahead(&self, revision: Revision) {
        let mut changes = self.0.store.changes();
        let _ = tokio::time::timeout(AHEAD, changes.wait_for(|now| *now >= revision)).await;
    }

    /// Waits until the store has reached `revision`. False if the etcd went away meanwhile and nobody minds.
    pub async fn reach(&self, revision: i64) -> Result<bool, Status> {
        let mut changes = self.0.store.changes();
        let reached = changes.wait_for(|now| *now >= Revision(revision));
        match tokio::time::timeout(CATCH_UP, reached).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(_)) => Err(Status::unavailable("confcast: the store has stopped")),
            Err(_) => match self.0.when_away {
                WhenAway::Serve if !self.is_connected() => Ok(false),
                _ => Err(Status::unavailable(format!("confcast: this mirror has not reached revision {revision} yet"))),
            },
        }
    }
}
