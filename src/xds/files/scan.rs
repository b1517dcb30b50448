//! Looking at files, and reading those that changed.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use xxhash_rust::xxh3::xxh3_128;

use super::Resources;
use super::document::{self, FileError};
use crate::envoy::Resource;

/// Deepest nesting of directories that is followed, which ends a loop of links.
const DEPTH: usize = 16;

/// How many looks in a row may find files still changing before they are read all the same.
const PATIENCE: u32 = 10;

/// Follows a set of files.
#[derive(Debug)]
pub(super) struct Scanner {
    paths: Vec<PathBuf>,
    files: BTreeMap<PathBuf, File>,
    /// What was there when the files were read.
    seen: Vec<(PathBuf, Stamp)>,
    /// What the last look saw. None before the first.
    looked: Option<Vec<(PathBuf, Stamp)>>,
    /// How many looks found files that were still changing.
    changing: u32,
}

/// What tells that a file is not the one it was. Taken of what a link points to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

/// What is known of a file.
#[derive(Debug)]
struct File {
    hash: u128,
    /// Its last good content.
    resources: Vec<Resource>,
    error: Option<FileError>,
}

/// All that a look found.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) resources: Resources,
    pub(super) errors: Vec<FileError>,
}

impl Scanner {
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, files: BTreeMap::new(), seen: Vec::new(), looked: None, changing: 0 }
    }

    /// Looks at the files, and reads them if any seems different and none has changed since the last look: one that is
    /// being written may be read as a shorter one, or an empty one, without any error.
    pub(super) fn scan_if_changed(&mut self) -> Option<Scan> {
        let (found, errors) = find(&self.paths);
        if found == self.seen && errors.is_empty() {
            return None;
        }
        let changing = self.looked.as_ref().is_some_and(|looked| *looked != found);
        self.looked = Some(found.clone());
        if changing && self.changing < PATIENCE {
            self.changing += 1;
            return None;
        }
        self.changing = 0;
        let scan = self.read(&found, errors);
        // Files that changed while they were read are read again at the next look.
        let (again, _) = find(&self.paths);
        self.seen = if again == found { found } else { Vec::new() };
        Some(scan)
    }

    /// Looks at the files and reads them.
    pub(super) fn scan(&mut self) -> Scan {
        let (found, errors) = find(&self.paths);
        self.read(&found, errors)
    }

    /// Has the next look read everything again.
    pub(super) fn forget_scan(&mut self) {
        self.seen.clear();
    }

    fn read(&mut self, found: &[(PathBuf, Stamp)], mut errors: Vec<FileError>) -> Scan {
        let is_found = |path: &Path| found.binary_search_by(|(other, _)| other.as_path().cmp(path)).is_ok();
        // What is below a path that cannot be looked at is not known to be gone.
        self.files.retain(|path, _| is_found(path) || errors.iter().any(|error| path.starts_with(&error.path)));
        for (path, _) in found {
            match fs::read(path) {
                Ok(content) => self.take(path, &content),
                // It went away between the look and now; the next look will not find it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => errors.push(io_error(path, &error)),
            }
        }
        let mut resources = Resources::new();
        let mut owners: BTreeMap<_, &Path> = BTreeMap::new();
        for (path, file) in &self.files {
            errors.extend(file.error.clone());
            for resource in &file.resources {
                let key = (resource.resource_type(), resource.name().to_owned());
                if let Some(owner) = owners.get(&key) {
                    let (kind, name) = &key;
                    let reason = format!("{kind:?} {name} is also in {}, which is used", owner.display());
                    errors.push(FileError { path: path.clone(), resource: None, reason });
                } else {
                    resources.insert(key.clone(), resource.clone());
                    owners.insert(key, path.as_path());
                }
            }
        }
        Scan { resources, errors }
    }

    fn take(&mut self, path: &Path, content: &[u8]) {
        let hash = xxh3_128(content);
        if self.files.get(path).is_some_and(|file| file.hash == hash) {
            return;
        }
        let file = self.files.entry(path.into()).or_insert(File { hash, resources: Vec::new(), error: None });
        file.hash = hash;
        if content.trim_ascii().is_empty() && !file.resources.is_empty() {
            // More often an accident than what somebody means.
            let reason = "it is empty; write [] into it to take away what was there".to_owned();
            file.error = Some(FileError { path: path.into(), resource: None, reason });
            return;
        }
        match document::read(path, content) {
            Ok(resources) => {
                file.resources = resources;
                file.error = None;
            }
            Err(error) => file.error = Some(error),
        }
    }
}

/// The files at and below `paths`, sorted, with their stamps.
fn find(paths: &[PathBuf]) -> (Vec<(PathBuf, Stamp)>, Vec<FileError>) {
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        visit(path, DEPTH, true, &mut found, &mut errors);
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found.dedup_by(|(a, _), (b, _)| a == b);
    (found, errors)
}

fn visit(path: &Path, depth: usize, named: bool, found: &mut Vec<(PathBuf, Stamp)>, errors: &mut Vec<FileError>) {
    // Follows links, as a mounted ConfigMap is made of them.
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            // Kubernetes keeps the data itself in hidden directories beside the links to it.
            if depth == 0 || (!named && is_hidden(path)) {
                return;
            }
            match fs::read_dir(path) {
                Ok(entries) => {
                    for entry in entries.flatten() {
                        visit(&entry.path(), depth - 1, false, found, errors);
                    }
                }
                Err(error) => errors.push(io_error(path, &error)),
            }
        }
        Ok(metadata) => {
            let wanted =
                path.extension().is_some_and(|extension| ["json", "yaml", "yml"].iter().any(|e| extension == *e));
            if named || (wanted && !is_hidden(path)) {
                found.push((path.into(), stamp(&metadata)));
            }
        }
        Err(error) if !named && error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => errors.push(io_error(path, &error)),
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with('.'))
}

fn io_error(path: &Path, error: &std::io::Error) -> FileError {
    FileError { path: path.into(), resource: None, reason: error.to_string() }
}

fn stamp(metadata: &Metadata) -> Stamp {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Stamp { modified: metadata.modified().ok(), length: metadata.len(), inode }
}
