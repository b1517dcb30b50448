//! The source for who has APISIX's own file format: an `apisix.yaml`, as a standalone APISIX reads it, followed as it
//! changes. A file that is not whole keeps what is served.
//!
//! Looked at by turns, as the files of the other source are: notifications of the file system miss the swap of a
//! symbolic link by which Kubernetes updates a mounted `ConfigMap`.

mod document;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::apisix::Object;
use crate::view::{Guard, Status, Target, Watchman};
pub use document::{DocumentError, read};

/// The file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandaloneConfig {
    /// Where it is.
    pub path: PathBuf,
    /// Time between two looks. Default 500 ms.
    pub poll: Duration,
}

impl StandaloneConfig {
    /// This file.
    pub fn new(path: PathBuf) -> Self {
        Self { path, poll: Duration::from_millis(500) }
    }
}

/// Follows the file into a target.
#[derive(Debug)]
pub struct Standalone {
    config: StandaloneConfig,
    target: Target,
    watchman: Watchman,
    status: watch::Sender<Status>,
}

/// What the last look found.
#[derive(Debug, Default)]
struct Seen {
    content: Arc<[u8]>,
    /// What is wrong, as it was logged.
    problem: Option<String>,
    /// The content that is wrong, if that is what the problem is, and need not be read again.
    broken: Option<Arc<[u8]>>,
}

impl Standalone {
    /// A follower that writes into `target`, and looks twice at what takes most objects away.
    pub fn new(config: StandaloneConfig, target: impl Into<Target>, guard: watch::Receiver<Guard>) -> Self {
        let (target, status) = (target.into(), watch::Sender::default());
        Self { config, target, watchman: Watchman::new(guard), status }
    }

    /// Follows what it does.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Keeps the target equal to the file until `token` is cancelled.
    pub async fn run(mut self, token: CancellationToken) {
        let mut seen = Seen::default();
        let mut interval = tokio::time::interval(self.config.poll);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                _ = interval.tick() => {}
            }
            match self.look(&mut seen).await {
                Ok(None) => {}
                Ok(Some(content)) => {
                    if seen.problem.is_some() {
                        tracing::info!(path = %self.config.path.display(), "the file can be read again");
                    }
                    seen = Seen { content, ..Seen::default() };
                }
                Err(problem) => {
                    if seen.problem.as_ref() != Some(&problem) {
                        let path = self.config.path.display();
                        tracing::error!(%path, %problem, "the last good content of the file is still served");
                    }
                    seen.problem = Some(problem);
                }
            }
        }
    }

    /// Reads the file, and takes it over if it is another one. None if there is nothing to do, or not yet.
    async fn look(&mut self, seen: &mut Seen) -> Result<Option<Arc<[u8]>>, String> {
        let content = tokio::fs::read(&self.config.path).await.map_err(|error| {
            seen.broken = None;
            error.to_string()
        })?;
        let content: Arc<[u8]> = content.into();
        if content == seen.content && seen.problem.is_none() && self.status.borrow().loaded {
            return Ok(None);
        }
        if let Some(problem) = seen.problem.as_ref().filter(|_| seen.broken.as_ref() == Some(&content)) {
            return Err(problem.clone());
        }
        let text = Arc::clone(&content);
        // Parsing is work for a thread that may block.
        let objects = tokio::task::spawn_blocking(move || read(&text)).await.map_err(|error| error.to_string())?;
        seen.broken = objects.is_err().then(|| Arc::clone(&content));
        let objects = objects.map_err(|error| error.to_string())?;
        let (served, stale) = self.target.stale(&objects);
        let removed = stale.len();
        if self.watchman.judge(served, removed, Instant::now()).is_some() {
            if !self.status.borrow().held {
                tracing::warn!(served, removed, "the file takes most objects away; they stay for a while");
            }
            self.status.send_modify(|status| status.held = true);
            return Ok(None);
        }
        self.commit(objects).await?;
        Ok(Some(content))
    }

    async fn commit(&self, objects: Vec<Object>) -> Result<(), String> {
        let count = objects.len();
        self.target.replace(objects, BTreeSet::new()).await.map_err(|error| error.to_string())?;
        let before = *self.status.borrow();
        if !before.loaded {
            tracing::info!(objects = count, "the first complete configuration is served");
        }
        let status = Status { loaded: true, rounds: before.rounds + 1, objects: count, reported: 0, held: false };
        self.status.send_replace(status);
        Ok(())
    }
}
