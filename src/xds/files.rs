//! The file source: files and directories of resources in JSON or YAML, followed as they change.
//!
//! Looked at by turns rather than by notifications of the file system, which miss the swap of a symbolic link by
//! which Kubernetes updates a mounted `ConfigMap`. A file that cannot be read keeps its last good content.

mod document;
mod dump;
mod scan;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Sync, Update};
use crate::envoy::{Resource, ResourceChange, ResourceType};
use crate::traces::Heard;
pub use document::FileError;
#[cfg(any(test, feature = "testing"))]
pub(crate) use document::read;
use scan::Scanner;

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesConfig {
    /// Files, and directories that are read with all below them.
    pub paths: Vec<PathBuf>,
    /// Time between two looks. Default 500 ms.
    pub poll: Duration,
}

impl FilesConfig {
    /// These files and directories.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, poll: Duration::from_millis(500) }
    }
}

/// All resources of files and directories, by type and name.
pub type Resources = BTreeMap<(ResourceType, String), Resource>;

/// Reads files once: for `confcast translate` and `confcast check`.
pub fn load(paths: &[PathBuf]) -> (Resources, Vec<FileError>) {
    let mut scanner = Scanner::new(paths.to_vec());
    let scan = scanner.scan();
    (scan.resources, scan.errors)
}

/// Reports what is in the files, and every change of it, until `token` is cancelled or nobody listens.
pub async fn run(config: FilesConfig, updates: mpsc::Sender<Update>, token: CancellationToken) {
    let paths: Vec<_> = config.paths.iter().map(|path| path.display().to_string()).collect();
    let from: Arc<str> = paths.join(", ").into();
    let mut scanner = Scanner::new(config.paths);
    let mut held = Resources::new();
    let mut told = Vec::new();
    let mut first = true;
    let mut interval = tokio::time::interval(config.poll);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            _ = interval.tick() => {}
        }
        // Reading and parsing is work for a thread that may block.
        let work = tokio::task::spawn_blocking(move || {
            let scan = scanner.scan_if_changed();
            (scanner, scan)
        });
        let Ok((back, scan)) = work.await else { return };
        scanner = back;
        let Some(scan) = scan else { continue };
        tell(&mut told, scan.errors);
        if first && !told.is_empty() {
            // Half of a configuration would answer 404 for the other half.
            tracing::warn!("nothing is served from the files until all of them can be read");
            scanner.forget_scan();
            continue;
        }
        let changes = difference(&held, &scan.resources);
        held = scan.resources;
        if !first && !changes.is_empty() {
            let removed = changes.iter().filter(|change| matches!(change, ResourceChange::Remove(..))).count();
            tracing::info!(set = changes.len() - removed, removed, "resources in the files have changed");
        }
        if first || !changes.is_empty() {
            let update = Update { changes, sync: Sync::Complete, heard: Heard::now(from.clone()) };
            if updates.send(update).await.is_err() {
                return;
            }
        }
        first = false;
    }
}

/// Logs each error once, and once when it is over.
fn tell(told: &mut Vec<FileError>, errors: Vec<FileError>) {
    for error in errors.iter().filter(|error| !told.contains(error)) {
        tracing::error!(%error, "the last good content of the file is still served");
    }
    for error in told.iter().filter(|old| !errors.iter().any(|error| error.path == old.path)) {
        tracing::info!(path = %error.path.display(), "the file can be read again");
    }
    *told = errors;
}

/// What makes `new` of `old`.
fn difference(old: &Resources, new: &Resources) -> Vec<ResourceChange> {
    let set = new.iter().filter(|(key, resource)| old.get(key) != Some(resource));
    let removed = old.keys().filter(|key| !new.contains_key(key));
    let set = set.map(|(_, resource)| ResourceChange::Set(resource.clone()));
    set.chain(removed.map(|(kind, name)| ResourceChange::Remove(*kind, name.clone()))).collect()
}

#[cfg(test)]
mod tests;
