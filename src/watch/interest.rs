//! An interest: what a watcher wants to see, shared by all that want the same.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use slab::Slab;

use super::frame::Frame;
use super::stream::{Cursor, Stream};
use crate::store::{Event, KeyRange, Revision, Snapshot};

/// Most frames kept for watchers that come a little later. A watcher that is further behind than all of them makes its
/// own, so this bounds memory and not progress.
const FRAMES: usize = 16;

/// Watchers that are shown before others get the list.
const STEP: usize = 4096;

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
    frames: Mutex<Frames>,
    /// How many streams there are to wake.
    watchers: AtomicUsize,
    /// A std mutex: held to add, remove or go through the list, never while anything waits.
    streams: Mutex<Slab<(Arc<Stream>, Arc<Cursor>)>>,
    woken_at: AtomicI64,
}

/// What was made lately.
#[derive(Debug, Default)]
struct Frames {
    /// The newest, in the order in which they were made.
    kept: VecDeque<Arc<Frame>>,
    /// How far the foremost watcher has come, of which history, and how many have come as far.
    foremost: (u64, Revision),
    arrived: usize,
}

impl Frames {
    /// Notes that one of so many watchers has got a frame. When all have come to the same end, nobody needs what there
    /// is.
    ///
    /// A watcher that leaves may have been counted, so that the frames of those behind go too early: they are made
    /// once more then. One that has come since was not, so that frames may stay until the next ones.
    fn arrive(&mut self, frame: &Frame, watchers: usize) {
        let end = (frame.history(), frame.through());
        if end.0 != self.foremost.0 || end.1 > self.foremost.1 {
            (self.foremost, self.arrived) = (end, 0);
        }
        if end == self.foremost {
            self.arrived += 1;
            if self.arrived >= watchers {
                self.kept = VecDeque::new();
            }
        }
    }
}

impl Interest {
    /// An interest that nobody has yet.
    pub fn new(scope: Scope) -> Self {
        let (frames, watchers, streams) = Default::default();
        Self { scope, frames, watchers, streams, woken_at: AtomicI64::new(0) }
    }

    /// What the interest is in.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The frame that begins at `from`: one that another watcher had made, or a new one. The watcher who asks is then
    /// past it.
    ///
    /// The lock is held while events are picked, not while they are encoded.
    pub fn frame(&self, snapshot: &Snapshot, from: Revision) -> Arc<Frame> {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = frames.kept.iter().rev().find(|frame| frame.is_of(snapshot, from)).cloned();
        let frame = kept.unwrap_or_else(|| {
            let frame = Arc::new(Frame::collect(&self.scope, snapshot, from));
            if frames.kept.len() == FRAMES {
                frames.kept.pop_front();
            }
            frames.kept.push_back(frame.clone());
            frame
        });
        frames.arrive(&frame, self.watchers.load(Ordering::Relaxed));
        frame
    }

    /// How many frames are kept for watchers that are behind.
    pub fn frames(&self) -> usize {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).kept.len()
    }

    /// Number of watchers.
    pub fn watchers(&self) -> usize {
        self.watchers.load(Ordering::Relaxed)
    }

    /// The revision for which streams were woken last; zero for none.
    pub fn woken_at(&self) -> Revision {
        Revision(self.woken_at.load(Ordering::Relaxed))
    }

    /// Shows every watcher: its stream, and how far it has come. In steps, so that a commit does not wait for long.
    pub fn for_each_watcher(&self, mut visit: impl FnMut(&Arc<Stream>, &Cursor)) {
        let mut next = 0;
        loop {
            let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            let end = streams.capacity().min(next + STEP);
            let step = (next..end).filter_map(|slot| streams.get(slot));
            step.for_each(|(stream, cursor)| visit(stream, cursor));
            if end == streams.capacity() {
                return;
            }
            next = end;
        }
    }

    /// How far the foremost watcher has come that has got something of a history; zero if none has.
    pub fn foremost(&self, history: u64) -> Revision {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, revision) = frames.foremost;
        if of == history { revision } else { Revision::ZERO }
    }

    /// The place of the first watcher, at a place or after it, that has not passed a revision. In steps, as above.
    pub fn first_behind(&self, revision: Revision, place: usize) -> Option<usize> {
        let mut next = place;
        loop {
            let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            let end = streams.capacity().min(next + STEP);
            let is_behind = |slot: &usize| streams.get(*slot).is_some_and(|(_, cursor)| cursor.next() <= revision);
            let behind = (next..end).find(is_behind);
            if behind.is_some() || end == streams.capacity() {
                return behind;
            }
            next = end;
        }
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
        for (_, (stream, _)) in self.streams.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            stream.waker.wake();
        }
    }

    pub(super) fn add_stream(&self, stream: Arc<Stream>, cursor: Arc<Cursor>) -> usize {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).insert((stream, cursor))
    }

    /// Removes the stream that `add_stream` gave this slot.
    pub(super) fn remove_stream(&self, slot: usize) {
        self.watchers.fetch_sub(1, Ordering::Relaxed);
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).remove(slot);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
