//! A frame: the events of one interest over a stretch of the log, and their encoded forms.

use std::sync::OnceLock;

use bytes::Bytes;

use super::interest::Scope;
use crate::store::{Event, Revision, Snapshot};
use crate::wire;

/// Catch-up frames end at multiples of this revision, so that watchers that started at different revisions soon share
/// the same frames.
const GRID: i64 = 256;

/// A frame takes no further commit once its events have this many bytes of keys and values. A single larger commit
/// still is one frame, as a revision is never split.
const TARGET_SIZE: usize = 1 << 20;

/// The events of one interest in the revisions [`from`](Self::from)..=[`through`](Self::through). May be empty.
#[derive(Debug)]
pub struct Frame {
    from: Revision,
    through: Revision,
    events: Vec<Event>,
    prev_kv: bool,
    proto: OnceLock<Bytes>,
    json: OnceLock<Bytes>,
    line: OnceLock<Bytes>,
}

impl Frame {
    /// Collects the events from `from` on, which must not be after the snapshot's revision nor before its log.
    pub(super) fn collect(scope: &Scope, snapshot: &Snapshot, from: Revision) -> Self {
        let last = Revision((from.0 / GRID + 1) * GRID - 1);
        let mut through = snapshot.revision().min(last);
        let mut events = Vec::new();
        let mut size = 0;
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
                events.push(event.clone());
            }
        }
        let (proto, json, line) = Default::default();
        Self { from, through, events, prev_kv: scope.prev_kv, proto, json, line }
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

    /// The revision of the last event, which is what the header of the response says (`INV-5`).
    pub fn revision(&self) -> Revision {
        self.events.last().map_or(Revision::ZERO, |event| event.record.mod_revision)
    }

    /// The events as `events` fields of a protobuf `WatchResponse`.
    pub fn proto(&self) -> &Bytes {
        self.proto.get_or_init(|| {
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
            let mut buf = Vec::new();
            self.put_json(&mut buf);
            buf.into()
        })
    }

    /// Appends the events as JSON objects with commas between.
    pub(super) fn put_json(&self, buf: &mut Vec<u8>) {
        for (position, event) in self.events.iter().enumerate() {
            if position > 0 {
                buf.push(b',');
            }
            let previous = self.previous(event).map(|record| record.json().as_ref());
            wire::event::put_json(buf, event.is_delete(), event.record.json(), previous);
        }
    }

    /// The whole line of the gateway's stream for a watcher with id 0, which nearly all of them have.
    pub(super) fn line(&self, make: impl FnOnce() -> Bytes) -> &Bytes {
        self.line.get_or_init(make)
    }

    fn previous<'a>(&self, event: &'a Event) -> Option<&'a std::sync::Arc<crate::store::Record>> {
        event.previous.as_ref().filter(|_| self.prev_kv)
    }
}
