//! A watch stream: its watchers, and what it has to say next.
//!
//! Does no I/O: the edge feeds requests in and polls messages out when the connection has room.

mod permit;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::hub::{SENT, Shared};
use super::interest::Scope;
use super::message::{Cancel, Message};
use super::registry::Registration;
use super::stream::{Cursor, Protocol, Stream};
use crate::store::{KeyRange, Revision, Snapshot};
pub use permit::Permit;

/// Number of a watcher on its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchId(pub i64);

impl WatchId {
    /// Stands for no watcher in particular: in a progress notification all of the stream.
    pub const ALL: Self = Self(-1);
}

/// A request for a watcher, in etcd's terms.
#[expect(clippy::struct_excessive_bools, reason = "they are the request's own flags")]
#[derive(Clone, Debug, Default)]
pub struct Create {
    /// The key, or the start of the range; empty means the first possible key.
    pub key: Bytes,
    /// The end of the range, in the forms of [`KeyRange::from_wire`].
    pub range_end: Bytes,
    /// The first revision wanted, zero for the next one.
    pub start_revision: i64,
    /// The id wanted, zero for any.
    pub watch_id: i64,
    /// Leave out puts.
    pub no_put: bool,
    /// Leave out deletions.
    pub no_delete: bool,
    /// Show the pair as it was before each event.
    pub prev_kv: bool,
    /// Send a progress notification now and then when there are no events.
    pub progress_notify: bool,
    /// Cut responses that are larger than [`FRAGMENT`](super::frame::FRAGMENT) between events.
    pub fragment: bool,
}

impl Create {
    /// The keys that are asked for.
    pub fn range(&self) -> KeyRange {
        let key = if self.key.is_empty() { Bytes::from_static(b"\0") } else { self.key.clone() };
        KeyRange::from_wire(key, self.range_end.clone())
    }
}

/// Why a watcher is refused, in etcd's words.
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const NEGATIVE_START: &str = "etcdserver: mvcc: required revision has been compacted";

/// One watch stream. Kept small, as there may be a hundred thousand.
#[derive(Debug)]
pub struct Session {
    hub: Arc<Shared>,
    stream: Arc<Stream>,
    /// By ascending id. Most streams have one.
    watchers: Vec<(WatchId, Watcher)>,
    /// The id at which the search for a free one starts.
    next_id: i64,
    /// The watcher after which the next turn starts, so that a busy one does not starve the others.
    turn: WatchId,
    /// Answers to requests. Bounded by the edge, which reads no further request while there is one.
    answers: VecDeque<Message>,
    /// Whether the other end is a mirror, which wants to know when several revisions come as one.
    exact: bool,
    /// Progress requests that wait for all watchers to have caught up.
    progress_requests: usize,
    /// Responses with events that were polled and the edge has not told of, and their events.
    unsent: [u32; 2],
    notify: Option<Box<Interval>>,
    /// None where everybody may see everything.
    permit: Option<Box<dyn Permit>>,
}

#[derive(Debug)]
enum Watcher {
    Running {
        place: Registration,
        /// The watcher asked for what a Compact request had given up.
        below_floor: bool,
        /// The revision that was asked for, until it is known whether it can be served from there.
        unproved: bool,
        history: u64,
        progress_notify: bool,
        fragment: bool,
        /// When anything was last sent.
        spoke: Instant,
    },
    /// Ended by the server. The id stays taken until the client cancels it.
    Ended,
}

impl Session {
    pub(super) fn new(hub: Arc<Shared>, protocol: Protocol, client: Option<IpAddr>) -> Self {
        hub.counts.streams[protocol as usize].fetch_add(1, Ordering::Relaxed);
        Self {
            hub,
            stream: Arc::new(Stream::new(protocol, client)),
            watchers: Vec::new(),
            next_id: 0,
            turn: WatchId(i64::MIN),
            answers: VecDeque::new(),
            exact: false,
            progress_requests: 0,
            unsent: [0; 2],
            notify: None,
            permit: None,
        }
    }

    /// Makes the stream one of a mirror: where this server knows of several revisions only what became of them, its
    /// watchers are told that they were compacted, so that the mirror knows as little. Others get the difference.
    pub fn be_exact(&mut self) {
        self.exact = true;
    }

    /// Makes a watcher. The answer comes out of [`poll_next`](Self::poll_next).
    pub fn create(&mut self, create: &Create) {
        let snapshot = self.hub.store.snapshot();
        let revision = snapshot.revision();
        let range = create.range();
        let refusal = if range.is_empty() {
            Some(EMPTY_RANGE)
        } else if create.start_revision < 0 {
            Some(NEGATIVE_START)
        } else if create.watch_id != 0 && self.position(WatchId(create.watch_id)).is_ok() {
            Some(DUPLICATE_ID)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return self.refuse(reason);
        }
        let id = if create.watch_id == 0 { self.free_id() } else { WatchId(create.watch_id) };
        let scope = Scope { range, no_put: create.no_put, no_delete: create.no_delete, prev_kv: create.prev_kv };
        let cursor = if create.start_revision == 0 { revision.next() } else { Revision(create.start_revision) };
        if cursor <= revision {
            metrics::counter!(crate::telemetry::watch::CATCH_UPS).increment(1);
        }
        self.answers.push_back(Message::Created { id, revision });
        let place = self.hub.registry.register(scope, self.stream.clone(), Cursor::new(cursor, revision));
        if create.progress_notify && self.notify.is_none() {
            let mut interval = tokio::time::interval(self.hub.progress_interval);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval.reset();
            self.notify = Some(Box::new(interval));
        }
        let Create { progress_notify, fragment, .. } = *create;
        // Told after the watcher was made. One that runs already is not harmed by a Compact request.
        let below_floor = create.start_revision != 0 && cursor < snapshot.compacted();
        let spoke = Instant::now();
        let (unproved, history) = (create.start_revision != 0, snapshot.history());
        let watcher = Watcher::Running { place, below_floor, unproved, history, progress_notify, fragment, spoke };
        let position = self.position(id).unwrap_or_else(|position| position);
        // Not more than is needed, which a list takes that is grown by pushing.
        if self.watchers.is_empty() {
            self.watchers.reserve_exact(1);
        }
        self.watchers.insert(position, (id, watcher));
        self.hub.counts.watchers.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of watchers, with those that were ended and not cancelled.
    pub fn watchers(&self) -> usize {
        self.watchers.len()
    }

    /// Answers a request for a watcher that is not to be.
    pub fn refuse(&mut self, reason: &'static str) {
        let revision = self.hub.store.snapshot().revision();
        self.answers.push_back(Message::Refused { revision, reason });
    }

    /// Ends a watcher. An unknown id is ignored, as etcd does.
    pub fn cancel(&mut self, id: WatchId) {
        if let Ok(position) = self.position(id) {
            let (_, watcher) = self.watchers.remove(position);
            if matches!(watcher, Watcher::Running { .. }) {
                self.hub.counts.watchers.fetch_sub(1, Ordering::Relaxed);
            }
            let cancel = Cancel::Requested(self.hub.store.snapshot().revision());
            self.answers.push_back(Message::Canceled { id, cancel });
        }
    }

    /// Asks for a notification once every watcher of the stream has caught up.
    pub fn request_progress(&mut self) {
        self.progress_requests += 1;
        self.stream.waker.wake();
    }

    /// Whether there are answers to requests that were not polled yet. The edge then reads no further request, so
    /// that a client that only writes cannot fill memory.
    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Notes that what was polled since the last time was sent, and in how many bytes.
    pub fn sent(&mut self, bytes: usize) {
        let [deliveries, events] = std::mem::take(&mut self.unsent).map(u64::from);
        self.hub.counts.sent.add(self.stream.protocol as usize * SENT, [deliveries, events, bytes as u64]);
    }

    /// The next message, if there is one. Never ends; `cx` is woken when there may be more.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Message> {
        let polled = self.poll_message(cx);
        if let Poll::Ready(message @ Message::Events { .. }) = &polled {
            self.unsent[0] += 1;
            self.unsent[1] += u32::try_from(message.events()).unwrap_or(u32::MAX);
        }
        polled
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Message> {
        self.look_at_permit();
        if let Some(answer) = self.answers.pop_front() {
            return Poll::Ready(answer);
        }
        // Before looking at the store: a commit after the look finds the waker.
        self.stream.waker.register(cx.waker());
        let snapshot = self.hub.store.snapshot();
        if let Some(message) = self.next_events(&snapshot) {
            return Poll::Ready(self.in_fragments(message));
        }
        // Every watcher is past the snapshot's revision, or starts in the future.
        if self.progress_requests > 0 {
            self.progress_requests -= 1;
            return Poll::Ready(Message::Progress { id: WatchId::ALL, revision: snapshot.revision() });
        }
        self.poll_notify(cx, &snapshot)
    }

    /// Takes turns among the watchers and returns the next events of the first that has some.
    fn next_events(&mut self, snapshot: &Snapshot) -> Option<Message> {
        let first = self.watchers.partition_point(|(id, _)| *id <= self.turn);
        let (before, after) = self.watchers.split_at_mut(first);
        for (id, watcher) in after.iter_mut().chain(before) {
            if let Some(message) = watcher.advance(*id, snapshot, self.exact) {
                if matches!(watcher, Watcher::Ended) {
                    metrics::counter!(crate::telemetry::watch::COMPACTED).increment(1);
                    self.hub.counts.watchers.fetch_sub(1, Ordering::Relaxed);
                }
                self.turn = *id;
                return Some(message);
            }
        }
        None
    }

    /// The first part of a message that is to be cut; the others are answers that come next.
    fn in_fragments(&mut self, message: Message) -> Message {
        let Message::Events { id, frame, part: None } = &message else { return message };
        let position = self.position(*id);
        let watcher = position.ok().and_then(|position| self.watchers.get(position));
        let Some((_, Watcher::Running { fragment: true, .. })) = watcher else { return message };
        let mut parts = frame.fragments().into_iter().map(|part| {
            let (id, frame) = (*id, frame.clone());
            Message::Events { id, frame, part: Some(part) }
        });
        let Some(first) = parts.next() else { return message };
        self.answers.extend(parts);
        first
    }

    fn poll_notify(&mut self, cx: &mut Context<'_>, snapshot: &Snapshot) -> Poll<Message> {
        let Some(notify) = &mut self.notify else { return Poll::Pending };
        while notify.poll_tick(cx).is_ready() {
            let now = Instant::now();
            let revision = snapshot.revision();
            for (id, watcher) in &mut self.watchers {
                if let Watcher::Running { place, progress_notify: true, spoke, .. } = watcher
                    && place.next() <= revision.next()
                    && now.duration_since(*spoke) >= self.hub.progress_interval
                {
                    *spoke = now;
                    self.answers.push_back(Message::Progress { id: *id, revision });
                }
            }
            if let Some(message) = self.answers.pop_front() {
                return Poll::Ready(message);
            }
        }
        Poll::Pending
    }

    /// Where the watcher is, or where it would be.
    fn position(&self, id: WatchId) -> Result<usize, usize> {
        self.watchers.binary_search_by_key(&id, |(id, _)| *id)
    }

    fn free_id(&mut self) -> WatchId {
        while self.position(WatchId(self.next_id)).is_ok() {
            self.next_id += 1;
        }
        self.next_id += 1;
        WatchId(self.next_id - 1)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hub.counts.streams[self.stream.protocol as usize].fetch_sub(1, Ordering::Relaxed);
        let running = self.watchers.iter().filter(|(_, watcher)| matches!(watcher, Watcher::Running { .. })).count();
        self.hub.counts.watchers.fetch_sub(running, Ordering::Relaxed);
    }
}

impl Watcher {
    /// Moves the cursor to the next event and returns it with what comes along; none if there is no event up to the
    /// snapshot's revision, and the cursor is behind it then.
    fn advance(&mut self, id: WatchId, snapshot: &Snapshot, exact: bool) -> Option<Message> {
        let Self::Running { place, below_floor, unproved, history, spoke, .. } = self else { return None };
        let mut cursor = place.next();
        // A watcher that waits for a revision to come is asked again when it has come.
        let waits = cursor > snapshot.revision();
        let lost = *history != snapshot.history()
            || (*unproved && snapshot.is_unknown_start(cursor))
            || (exact && snapshot.commits_from(cursor).any(|commit| commit.is_repair()));
        if lost {
            let replaced = exact && *history != snapshot.history();
            *self = Self::Ended;
            let floor = snapshot.floor();
            let cancel = if replaced { Cancel::Replaced(floor) } else { Cancel::Compacted(floor) };
            return Some(Message::Canceled { id, cancel });
        }
        *unproved &= waits;
        while cursor <= snapshot.revision() {
            let interest = place.interest();
            if cursor < snapshot.log_start() {
                if *below_floor || !snapshot.has_history(&interest.scope().range, cursor) {
                    let cancel = Cancel::Compacted(snapshot.floor());
                    *self = Self::Ended;
                    return Some(Message::Canceled { id, cancel });
                }
                cursor = snapshot.log_start();
                place.cursor.advance(cursor);
                continue;
            }
            let frame = interest.frame(snapshot, cursor);
            cursor = frame.through().next();
            place.cursor.advance(cursor);
            if !frame.events().is_empty() {
                *spoke = Instant::now();
                return Some(Message::Events { id, frame, part: None });
            }
        }
        None
    }
}
