//! An interest: what a watcher wants to see, shared by all that want the same.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::task::AtomicWaker;
use slab::Slab;

use super::frame::Frame;
use crate::store::{Event, KeyRange, Revision, Snapshot};

/// Frames kept for watchers that come a little later. A watcher that is further behind than all of them makes its
/// own, so this bounds memory and not progress.
const FRAMES: usize = 16;

/// Which events, and in which form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The keys.
    pub range: KeyRange,
    /// Leave out puts.
    pub no_put: bool,
    /// Leave out deletions.
    pub no_delete: bool,
    /// Show the pair as it was before the event.
    pub prev_kv: bool,
}

impl Scope {
    /// Every event in `range`, without previous pairs.
    pub fn all_of(range: KeyRange) -> Self {
        Self { range, no_put: false, no_delete: false, prev_kv: false }
    }

    /// Whether the event belongs to the interest.
    pub fn wants(&self, event: &Event) -> bool {
        let filtered = if event.is_delete() { self.no_delete } else { self.no_put };
        !filtered && self.range.contains(event.key())
    }
}

/// A scope, the frames made for it, and the streams to wake.
#[derive(Debug)]
pub struct Interest {
    scope: Scope,
    /// The newest frames, in the order in which they were made.
    frames: Mutex<VecDeque<Arc<Frame>>>,
    /// A std mutex: held to add, remove or go through the list, never while anything waits.
    streams: Mutex<Slab<Arc<AtomicWaker>>>,
    woken_at: AtomicI64,
}

impl Interest {
    pub(super) fn new(scope: Scope) -> Self {
        Self { scope, frames: Mutex::default(), streams: Mutex::default(), woken_at: AtomicI64::new(0) }
    }

    /// What the interest is in.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The frame that begins at `from`: one that another watcher had made, or a new one.
    ///
    /// The lock is held while events are picked, not while they are encoded.
    pub fn frame(&self, snapshot: &Snapshot, from: Revision) -> Arc<Frame> {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frame) = frames.iter().rev().find(|frame| frame.is_of(snapshot, from)) {
            return frame.clone();
        }
        let frame = Arc::new(Frame::collect(&self.scope, snapshot, from));
        if frames.len() == FRAMES {
            frames.pop_front();
        }
        frames.push_back(frame.clone());
        frame
    }

    /// Wakes every stream, once per revision.
    pub(super) fn wake(&self, revision: Revision) {
        if self.woken_at.swap(revision.0, Ordering::Relaxed) == revision.0 {
            return;
        }
        self.wake_all();
    }

    /// Wakes every stream, as another history begins.
    pub(super) fn wake_anyway(&self) {
        self.woken_at.store(0, Ordering::Relaxed);
        self.wake_all();
    }

    fn wake_all(&self) {
        for (_, waker) in self.streams.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            waker.wake();
        }
    }

    pub(super) fn add_stream(&self, waker: Arc<AtomicWaker>) -> usize {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).insert(waker)
    }

    /// Removes the stream that `add_stream` gave this slot.
    pub(super) fn remove_stream(&self, slot: usize) {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).remove(slot);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
