//! What becomes of changes, as traces: from the source to the last watcher that has got one.
//!
//! Who brings a change into the store tells of it when it is there, with the times that it took ([`Traces::tell`]). One
//! task waits for the watchers and hands all of it to an exporter of spans, which the feature `otel` brings. Where
//! nobody exports, nobody is told, and what remains is one look at an empty option for each change.

#[cfg(feature = "otel")]
mod export;
#[cfg(feature = "otel")]
pub mod follow;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::store::Revision;

/// Changes that wait to be followed. One that finds the queue full is not (`disconnect`).
#[cfg(feature = "otel")]
const QUEUE: usize = 256;

/// When and where a source had something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When it was received.
    pub at: Instant,
    /// The URL of the server, or the path of the file.
    pub from: Arc<str>,
    /// Which of the connections since the start it came on, counted from 1; 0 where there are none.
    pub connection: u64,
}

impl Heard {
    /// Something that is heard now.
    pub fn now(from: impl Into<Arc<str>>) -> Self {
        Self { at: Instant::now(), from: from.into(), connection: 0 }
    }
}

/// A part of the way, from when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When it began.
    pub began: Instant,
    /// When it had ended.
    pub ended: Instant,
}

impl Step {
    /// One that has just ended.
    pub fn since(began: Instant) -> Self {
        Self { began, ended: Instant::now() }
    }
}

/// What a source said in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The first that was heard of it.
    pub first: Heard,
    /// When the last was.
    pub last: Instant,
    /// Number of messages.
    pub messages: usize,
    /// Resources, or keys, that changed by them.
    pub changes: usize,
}

impl Push {
    /// A push that begins.
    pub fn begin(first: Heard, changes: usize) -> Self {
        Self { last: first.at, first, messages: 1, changes }
    }

    /// One more message of it.
    pub fn add(&mut self, heard: &Heard, changes: usize) {
        self.last = heard.at;
        self.messages += 1;
        self.changes += changes;
    }
}

/// What a change became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing, as there was all of it already.
    Nothing,
    /// What a publisher is to write, whose transactions come back as changes of the etcd.
    Wanted,
    /// The commits from the first of these revisions to the last.
    Store(Revision, Revision),
}

/// A change that is where it was to go.
#[derive(Clone, Debug)]
pub struct Change {
    /// What was heard of it.
    pub push: Push,
    /// Its translation; none for what comes from an etcd.
    pub translated: Option<Step>,
    /// How it was written, until it was durable and visible.
    pub committed: Step,
    /// What it became.
    pub written: Written,
}

/// Where it is told of changes. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Told>);

#[derive(Clone, Debug)]
struct Told {
    changes: mpsc::Sender<Change>,
    /// The part of the changes that is told.
    sample: f64,
}

impl Traces {
    /// Traces of a part of all changes, from 0 to 1, and where they come out.
    #[cfg(feature = "otel")]
    pub(crate) fn of(sample: f64) -> (Self, mpsc::Receiver<Change>) {
        let (changes, told) = mpsc::channel(QUEUE);
        (Self(Some(Told { changes, sample })), told)
    }

    /// Whether anybody is told.
    pub fn are_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Tells of a change, if it is one of the sample.
    pub fn tell(&self, change: impl FnOnce() -> Change) {
        let Some(told) = &self.0 else { return };
        if told.sample >= 1.0 || rand::random::<f64>() < told.sample {
            // Nothing waits for it.
            let _ = told.changes.try_send(change());
        }
    }
}
