//! The sequencer: a thread that runs every change, one after the other, and publishes what came of it.

use std::sync::Arc;
use std::thread;

use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, Sender, bounded};
use tokio::sync::{Semaphore, oneshot, watch};

use super::journal::{Journal, JournalError};
use super::quota::Quota;
use super::retention::Retention;
use super::revision::Revision;
use super::snapshot::{Restored, Snapshot};
use super::writer::Writer;

/// Most changes that wait for their turn. Callers beyond it wait for a place (`backpressure`).
const QUEUE: usize = 1024;

/// Most changes that share one write to the journal, which bounds how long the first of them waits.
const GROUP: usize = 128;

/// A change: does its work on the writer and leaves behind what tells the caller.
type Job = Box<dyn FnOnce(&mut Writer) -> Reply + Send>;
type Reply = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// A handle on the store. Clones share it; the sequencer ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Store {
    published: Arc<ArcSwap<Snapshot>>,
    changes: watch::Receiver<Revision>,
    jobs: Sender<Job>,
    places: Arc<Semaphore>,
    quota: Quota,
}

/// Why a change did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    /// It could not be made durable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The sequencer is gone, which only a panic in a job brings about.
    #[error("the store has stopped")]
    Stopped,
}

impl Store {
    /// Starts a store that continues from `restored`.
    pub fn open(restored: Restored, retention: Retention, journal: Box<dyn Journal>) -> std::io::Result<Self> {
        let (writer, published) = Writer::new(restored, retention, journal);
        let quota = writer.quota().clone();
        let (revision, changes) = watch::channel(writer.snapshot().revision());
        let (jobs, queue) = bounded(QUEUE);
        thread::Builder::new().name("sequencer".into()).spawn(move || sequence(writer, &queue, &revision))?;
        Ok(Self { published, changes, jobs, places: Arc::new(Semaphore::new(QUEUE)), quota })
    }

    /// A store in memory that starts empty after `revision`.
    pub fn in_memory(revision: Revision) -> std::io::Result<Self> {
        Self::open(Restored::empty_at(revision), Retention::default(), Box::new(super::MemoryOnly))
    }

    /// The current state and history. Costs a pointer load and never waits.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// How much clients may write, and whether they have tried to write more.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Tells of each new revision, after it was published. Skips those that come faster than they are looked at.
    pub fn changes(&self) -> watch::Receiver<Revision> {
        self.changes.clone()
    }

    /// Runs `change` on the sequencer and returns its result once everything it did is durable and visible.
    pub async fn submit<R, F>(&self, change: F) -> Result<R, SubmitError>
    where
        F: FnOnce(&mut Writer) -> R + Send + 'static,
        R: Send + 'static,
    {
        let place = self.places.clone().acquire_owned().await.map_err(|_| SubmitError::Stopped)?;
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |writer| {
            let result = change(writer);
            Box::new(move |durable| {
                drop(place);
                // The caller may have gone away, which does not undo the change.
                let _ = tell.send(durable.map(|()| result));
            })
        });
        // Every job holds a place, so that the queue is never full.
        self.jobs.try_send(job).map_err(|_| SubmitError::Stopped)?;
        Ok(told.await.map_err(|_| SubmitError::Stopped)??)
    }
}

fn sequence(mut writer: Writer, queue: &Receiver<Job>, revision: &watch::Sender<Revision>) {
    let mut replies = Vec::with_capacity(GROUP);
    let mut history = writer.snapshot().history();
    while let Ok(job) = queue.recv() {
        replies.push(job(&mut writer));
        while replies.len() < GROUP
            && let Ok(job) = queue.try_recv()
        {
            replies.push(job(&mut writer));
        }
        let durable = writer.flush();
        let (current, now) = (writer.snapshot().revision(), writer.snapshot().history());
        let replaced = std::mem::replace(&mut history, now) != now;
        revision.send_if_modified(|told| std::mem::replace(told, current) != current || replaced);
        for reply in replies.drain(..) {
            reply(durable.clone());
        }
    }
}
