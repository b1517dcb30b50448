//! What a watch stream says, and how it is written.

use std::sync::Arc;

use bytes::Bytes;

use super::frame::{Frame, Part};
use super::session::WatchId;
use crate::store::Revision;
use crate::wire::Identity;
use crate::wire::chunk::Chunk;
use crate::wire::json::Object;
use crate::wire::proto::{put_bool, put_bytes, put_int64, put_message};

/// One response on a watch stream.
#[derive(Clone, Debug)]
pub enum Message {
    /// The watcher exists. Always before its first event.
    Created {
        /// The watcher.
        id: WatchId,
        /// The store's revision at that moment.
        revision: Revision,
    },
    /// The watcher could not be made: told as created and cancelled at once.
    Refused {
        /// The store's revision.
        revision: Revision,
        /// Why.
        reason: &'static str,
    },
    /// The watcher has ended.
    Canceled {
        /// The watcher.
        id: WatchId,
        /// Why.
        cancel: Cancel,
    },
    /// Every event up to `revision` has been sent: to one watcher, or with id -1 to all of the stream.
    Progress {
        /// The watcher, or [`WatchId::ALL`].
        id: WatchId,
        /// The bookmark.
        revision: Revision,
    },
    /// Events of a watcher.
    Events {
        /// The watcher.
        id: WatchId,
        /// The events, of which there is at least one.
        frame: Arc<Frame>,
        /// The part of them that this message has; none if it has them all.
        part: Option<Part>,
    },
}

/// Why a watcher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// The client asked for it, at this revision of the store.
    Requested(Revision),
    /// Events that it wanted are gone; a watch from this revision on can be served.
    Compacted(Revision),
    /// The same for a mirror, as the store has another history now.
    Replaced(Revision),
    /// The client may not see the watcher's range any more, as of this revision of the store.
    Denied(Revision),
}

/// Why a watcher is refused, or ended, where not all of its range may be read. With the prefix that etcd's has, whatever
/// the reason is in detail.
pub const DENIED: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";

/// Why a mirror's watcher ended, when it was [replaced](Cancel::Replaced).
pub const REPLACED: &str = "confcast: another history";

/// The parts of a `WatchResponse` other than events.
#[derive(Default)]
struct Head {
    revision: Revision,
    id: WatchId,
    created: bool,
    canceled: bool,
    compact_revision: Revision,
    reason: &'static str,
    fragment: bool,
}

impl Message {
    /// Number of events in it.
    pub fn events(&self) -> usize {
        match self {
            Self::Events { part: Some(part), .. } => part.events.len(),
            Self::Events { frame, part: None, .. } => frame.events().len(),
            Self::Created { .. } | Self::Refused { .. } | Self::Canceled { .. } | Self::Progress { .. } => 0,
        }
    }

    /// Appends the protobuf `WatchResponse` apart from its events, which are returned to be sent right after.
    ///
    /// Protobuf fields may come in any order and repeated ones concatenate, so head and events make one message.
    pub fn put_proto(&self, identity: &Identity, buf: &mut Vec<u8>) -> Option<Bytes> {
        let (head, frame) = self.parts();
        let mut header = Vec::with_capacity(40);
        identity.put_proto(&mut header, head.revision.0);
        put_message(buf, 1, &header);
        put_int64(buf, 2, head.id.0);
        put_bool(buf, 3, head.created);
        put_bool(buf, 4, head.canceled);
        put_int64(buf, 5, head.compact_revision.0);
        put_bytes(buf, 6, head.reason.as_bytes());
        put_bool(buf, 7, head.fragment);
        frame.map(|(frame, part)| match part {
            None => frame.proto().clone(),
            Some(part) => frame.proto_of(part),
        })
    }

    /// The line of the gateway's stream: `{"result":…}` and a newline, as one HTTP chunk.
    ///
    /// Shared by all streams of the interest when the watcher's id is 0, the first that a stream gives.
    pub fn json_chunk(&self, identity: &Identity) -> Chunk {
        if let Self::Events { id: WatchId(0), frame, part: None } = self {
            // Encoded right into the chunk, so that it is kept once.
            let make = || Chunk::new(256, |buf| self.put_json_line(identity, Frame::put_json, buf));
            return frame.chunk(make).clone();
        }
        let put = |frame: &Frame, buf: &mut Vec<u8>| buf.extend_from_slice(frame.json());
        Chunk::new(256, |buf| self.put_json_line(identity, put, buf))
    }

    fn put_json_line(&self, identity: &Identity, put_events: impl FnOnce(&Frame, &mut Vec<u8>), buf: &mut Vec<u8>) {
        let (head, frame) = self.parts();
        buf.extend_from_slice(b"{\"result\":");
        let mut result = Object::open(buf);
        identity.put_json(result.value("header"), head.revision.0);
        result.int64("watch_id", head.id.0);
        result.bool("created", head.created);
        result.bool("canceled", head.canceled);
        result.int64("compact_revision", head.compact_revision.0);
        result.text("cancel_reason", head.reason);
        result.bool("fragment", head.fragment);
        if let Some((frame, part)) = frame {
            let list = result.value("events");
            list.push(b'[');
            match part {
                None => put_events(frame, list),
                Some(part) => frame.put_json_of(part, list),
            }
            list.push(b']');
        }
        result.close();
        buf.extend_from_slice(b"}\n");
    }

    fn parts(&self) -> (Head, Option<(&Frame, Option<&Part>)>) {
        let head = Head::default();
        match self {
            Self::Created { id, revision } => (Head { id: *id, revision: *revision, created: true, ..head }, None),
            Self::Refused { revision, reason } => {
                let id = WatchId::ALL;
                (Head { id, revision: *revision, created: true, canceled: true, reason, ..head }, None)
            }
            Self::Canceled { id, cancel: Cancel::Requested(revision) } => {
                (Head { id: *id, revision: *revision, canceled: true, ..head }, None)
            }
            // Without a revision in the header, as etcd sends it.
            Self::Canceled { id, cancel: Cancel::Compacted(floor) } => {
                (Head { id: *id, canceled: true, compact_revision: *floor, ..head }, None)
            }
            Self::Canceled { id, cancel: Cancel::Replaced(floor) } => {
                (Head { id: *id, canceled: true, compact_revision: *floor, reason: REPLACED, ..head }, None)
            }
            Self::Canceled { id, cancel: Cancel::Denied(revision) } => {
                (Head { id: *id, revision: *revision, canceled: true, reason: DENIED, ..head }, None)
            }
            Self::Progress { id, revision } => (Head { id: *id, revision: *revision, ..head }, None),
            Self::Events { id, frame, part } => {
                let fragment = part.as_ref().is_some_and(|part| part.more);
                let head = Head { id: *id, revision: frame.revision(), fragment, ..head };
                (head, Some((frame, part.as_ref())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::pb::etcdserverpb::WatchResponse;
    use crate::store::{KeyRange, LeaseId, MemoryOnly, Origin, Restored, Retention, Writer};
    use crate::watch::Scope;

    const IDENTITY: Identity = Identity { cluster_id: u64::MAX, member_id: 7, raft_term: 2 };

    /// A frame with a put, an overwriting put and a deletion.
    fn frame(prev_kv: bool) -> Arc<Frame> {
        let restored = Restored::empty_at(Revision(10));
        let (mut writer, _) = Writer::new(restored, Retention::default(), Box::new(MemoryOnly));
        for step in 0..3 {
            let mut transaction = writer.begin();
            transaction.put("a".into(), vec![step; 3].into(), LeaseId::NONE, Origin::Client);
            if step == 2 {
                transaction.delete(b"a");
            }
            writer.commit(transaction);
        }
        let scope = Scope { prev_kv, ..Scope::all_of(KeyRange::all()) };
        Arc::new(Frame::collect(&scope, writer.snapshot(), Revision(11)))
    }

    /// What is written by hand is what the generated code makes of the same message, in both formats.
    #[test]
    fn both_forms_are_those_of_the_generated_code() {
        let (zero, other) = (WatchId(0), WatchId(-5));
        let messages = [
            Message::Created { id: zero, revision: Revision(5) },
            Message::Created { id: other, revision: Revision(5) },
            Message::Refused { revision: Revision(5), reason: "a \"reason\"" },
            Message::Canceled { id: other, cancel: Cancel::Requested(Revision(5)) },
            Message::Canceled { id: zero, cancel: Cancel::Compacted(Revision(3)) },
            Message::Canceled { id: zero, cancel: Cancel::Denied(Revision(5)) },
            Message::Progress { id: WatchId::ALL, revision: Revision(5) },
            Message::Events { id: zero, frame: frame(false), part: None },
            Message::Events { id: other, frame: frame(true), part: None },
            Message::Events { id: other, frame: frame(true), part: Some(Part { events: 1..3, more: true }) },
            Message::Events { id: zero, frame: frame(false), part: Some(Part { events: 3..4, more: false }) },
        ];
        for message in messages {
            let mut bytes = Vec::new();
            let events = message.put_proto(&IDENTITY, &mut bytes);
            bytes.extend(events.unwrap_or_default());
            let decoded = WatchResponse::decode(bytes.as_slice()).expect("decodes");
            let json = serde_json::json!({"result": decoded}).to_string() + "\n";
            let ours: serde_json::Value = serde_json::from_slice(&message.json_chunk(&IDENTITY).line()).expect("JSON");
            let theirs: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            assert_eq!(ours, theirs);
            if let Message::Events { frame, part, .. } = &message {
                let part = part.clone().unwrap_or(Part { events: 0..4, more: false });
                assert_eq!((decoded.events.len(), decoded.fragment), (part.events.len(), part.more));
                assert_eq!(decoded.header.expect("a header").revision, frame.revision().0);
                let has_previous = decoded.events.iter().skip(1).any(|event| event.prev_kv.is_some());
                assert_eq!(has_previous, decoded.watch_id != 0);
            }
        }
    }
}
