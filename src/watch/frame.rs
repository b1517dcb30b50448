//! A frame: the events of one interest over a stretch of the log, and their encoded forms.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;

use super::interest::Scope;
use crate::store::{Event, Revision, Snapshot};
use crate::wire;
use crate::wire::chunk::Chunk;

/// Catch-up frames end at multiples of this revision, so that watchers that started at different revisions soon share
/// the same frames.
const GRID: i64 = 256;

/// A frame takes no further commit once its events have this many bytes of keys and values. A single larger commit
/// still is one frame, as a revision is never split.
const TARGET_SIZE: usize = 1 << 20;

/// Bytes of events in a response, beyond which it is cut if the client wants that: etcd's bound, which is its largest
/// request and what surrounds it.
pub const FRAGMENT: usize = 2 << 20;

/// Some of the events of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which.
    pub events: Range<usize>,
    /// Whether there are more after them.
    pub more: bool,
}

/// The events of one interest in the revisions [`from`](Self::from)..=[`through`](Self::through). May be empty.
#[derive(Debug)]
pub struct Frame {
    history: u64,
    from: Revision,
    through: Revision,
    events: Vec<Event>,
    /// Of the last commit with an event.
    revision: Revision,
    prev_kv: bool,
    proto: OnceLock<Bytes>,
    json: OnceLock<Bytes>,
    chunk: OnceLock<Chunk>,
}

impl Frame {
    /// Collects the events from `from` on, which must not be after the snapshot's revision nor before its log.
    pub(super) fn collect(scope: &Scope, snapshot: &Snapshot, from: Revision) -> Self {
        let last = Revision((from.0 / GRID + 1) * GRID - 1);
        let mut through = snapshot.revision().min(last);
        let mut events = Vec::new();
        let (mut size, mut revision) = (0, Revision::ZERO);
        for commit in snapshot.commits_from(from) {
            if commit.revision() > through {
                break;
            }
            if size >= TARGET_SIZE {
                through = commit.revision().previous();
                break;
            }
            for event in commit.events().iter().filter(|event| scope.wants(event)) {
                size += event.record.size();
                revision = commit.revision();
                events.push(event.clone());
            }
        }
        let (proto, json, chunk) = Default::default();
        Self {
            history: snapshot.history(),
            from,
            through,
            events,
            revision,
            prev_kv: scope.prev_kv,
            proto,
            json,
            chunk,
        }
    }

    /// Whether the frame is what a watcher needs that has seen everything before `from`.
    pub fn is_of(&self, snapshot: &Snapshot, from: Revision) -> bool {
        self.from == from && self.history == snapshot.history()
    }

    /// Which history it is of.
    pub(super) fn history(&self) -> u64 {
        self.history
    }

    /// The first revision that the frame covers.
    pub fn from(&self) -> Revision {
        self.from
    }

    /// The last revision that the frame covers, with or without an event.
    pub fn through(&self) -> Revision {
        self.through
    }

    /// The events, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The revision of the last event's commit, which is what the header of the response says (`INV-5`). Zero without
    /// events.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The events as `events` fields of a protobuf `WatchResponse`.
    pub fn proto(&self) -> &Bytes {
        self.proto.get_or_init(|| {
            encoded("proto");
            let mut buf = Vec::new();
            for event in &self.events {
                let previous = self.previous(event).map(|record| record.proto_message());
                wire::event::put_proto(&mut buf, event.is_delete(), event.record.proto(), previous);
            }
            buf.into()
        })
    }

    /// The events as JSON objects with commas between.
    pub fn json(&self) -> &Bytes {
        self.json.get_or_init(|| {
            encoded("json");
            let mut buf = Vec::new();
            self.put_json(&mut buf);
            buf.into()
        })
    }

    /// Where to cut so that no part is larger than [`FRAGMENT`], unless it has one event alone. None if there is
    /// nothing to cut.
    pub(super) fn fragments(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        if self.events.len() < 2 || self.proto().len() < FRAGMENT {
            return parts;
        }
        let (mut start, mut size) = (0, 0);
        for (position, event) in self.events.iter().enumerate() {
            let length = self.proto_of_event(event).len();
            if position > start && size + length >= FRAGMENT {
                parts.push(Part { events: start..position, more: true });
                (start, size) = (position, 0);
            }
            size += length;
        }
        parts.push(Part { events: start..self.events.len(), more: false });
        parts
    }

    /// As [`proto`](Self::proto), of a part.
    pub(super) fn proto_of(&self, part: &Part) -> Bytes {
        let events = &self.events[part.events.clone()];
        events.iter().flat_map(|event| self.proto_of_event(event)).collect::<Vec<_>>().into()
    }

    /// As [`put_json`](Self::put_json), of a part.
    pub(super) fn put_json_of(&self, part: &Part, buf: &mut Vec<u8>) {
        self.put_json_events(&self.events[part.events.clone()], buf);
    }

    fn proto_of_event(&self, event: &Event) -> Vec<u8> {
        let mut buf = Vec::new();
        let previous = self.previous(event).map(|record| record.proto_message());
        wire::event::put_proto(&mut buf, event.is_delete(), event.record.proto(), previous);
        buf
    }

    /// Appends the events as JSON objects with commas between.
    pub(super) fn put_json(&self, buf: &mut Vec<u8>) {
        self.put_json_events(&self.events, buf);
    }

    fn put_json_events(&self, events: &[Event], buf: &mut Vec<u8>) {
        for (position, event) in events.iter().enumerate() {
            if position > 0 {
                buf.push(b',');
            }
            let previous = self.previous(event).map(|record| record.json().as_ref());
            wire::event::put_json(buf, event.is_delete(), event.record.json(), previous);
        }
    }

    /// The whole chunk of the gateway's stream for a watcher with id 0, which nearly all of them have.
    pub(super) fn chunk(&self, make: impl FnOnce() -> Chunk) -> &Chunk {
        self.chunk.get_or_init(|| {
            encoded("json");
            make()
        })
    }

    fn previous<'a>(&self, event: &'a Event) -> Option<&'a std::sync::Arc<crate::store::Record>> {
        event.previous.as_ref().filter(|_| self.prev_kv)
    }
}

/// Counts that a frame was encoded, which happens once for all streams of an interest.
fn encoded(format: &'static str) {
    metrics::counter!(crate::telemetry::watch::ENCODINGS, "format" => format).increment(1);
}
