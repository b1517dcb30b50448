//! A key-value pair at one revision, with its encoded forms.

use std::sync::OnceLock;

use bytes::Bytes;

use super::lease::LeaseId;
use super::revision::Revision;
use crate::wire;

/// Who a key belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A client of the API wrote it, and clients may change it.
    #[default]
    Client,
    /// The configuration source wrote it; clients may only read it.
    Source,
}

/// A key-value pair as it was at one revision. Never changes; a change of the key makes a new record.
///
/// The encoded forms are made when they are first asked for and shared by everyone who reads or watches the key.
#[derive(Debug)]
pub struct Record {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// Revision at which the key was created, 0 in the record of a deletion.
    pub create_revision: Revision,
    /// Revision that made this record.
    pub mod_revision: Revision,
    /// 1 at creation, one more with each change, 0 in the record of a deletion.
    pub version: i64,
    /// The lease that the key is attached to.
    pub lease: LeaseId,
    /// Who the key belongs to.
    pub origin: Origin,
    proto: OnceLock<Bytes>,
    json: OnceLock<Bytes>,
}

/// Field number of a pair both in `RangeResponse.kvs` and in `Event.kv`.
const PAIR: u32 = 2;

impl Record {
    /// A record of a key that exists.
    pub fn new(
        key: Bytes,
        value: Bytes,
        (create_revision, mod_revision, version): (Revision, Revision, i64),
        lease: LeaseId,
        origin: Origin,
    ) -> Self {
        let (proto, json) = Default::default();
        Self { key, value, create_revision, mod_revision, version, lease, origin, proto, json }
    }

    /// The record of a deletion: only the key and the revision that deleted it.
    pub fn deletion(key: Bytes, revision: Revision) -> Self {
        let numbers = (Revision::ZERO, revision, 0);
        Self::new(key, Bytes::new(), numbers, LeaseId::NONE, Origin::default())
    }

    /// The pair as a protobuf field: the `kvs` of a Range answer, or the `kv` of an event.
    pub fn proto(&self) -> &Bytes {
        self.proto.get_or_init(|| proto_field(&self.pair()))
    }

    /// The bare protobuf message, without tag and length.
    pub fn proto_message(&self) -> &[u8] {
        let field = self.proto();
        &field[field.len() - self.pair().proto_len()..]
    }

    /// The pair as a JSON object.
    pub fn json(&self) -> &Bytes {
        self.json.get_or_init(|| json_object(&self.pair()))
    }

    /// As [`proto`](Self::proto), without the value.
    pub fn proto_without_value(&self) -> Bytes {
        proto_field(&wire::KeyValue { value: b"", ..self.pair() })
    }

    /// As [`json`](Self::json), without the value.
    pub fn json_without_value(&self) -> Bytes {
        json_object(&wire::KeyValue { value: b"", ..self.pair() })
    }

    /// Appends what [`proto`](Self::proto) is, with or without the value, and keeps nothing.
    pub fn put_proto(&self, buf: &mut Vec<u8>, with_value: bool) {
        if let Some(made) = self.proto.get().filter(|_| with_value) {
            return buf.extend_from_slice(made);
        }
        let pair = self.pair_with(with_value);
        wire::proto::put_message_head(buf, PAIR, pair.proto_len());
        pair.put_proto(buf);
    }

    /// Appends what [`json`](Self::json) is, with or without the value, and keeps nothing.
    pub fn put_json(&self, buf: &mut Vec<u8>, with_value: bool) {
        match self.json.get().filter(|_| with_value) {
            Some(made) => buf.extend_from_slice(made),
            None => self.pair_with(with_value).put_json(buf),
        }
    }

    /// Bytes of key and value together: what retention counts.
    pub fn size(&self) -> usize {
        self.key.len() + self.value.len()
    }

    /// Whether it is the record of a deletion.
    pub fn is_deletion(&self) -> bool {
        self.version == 0
    }

    /// Bytes of memory that it takes, once both encoded forms are there: the value is a third longer in JSON. The rest
    /// is this struct, the forms' fields and the place in the index.
    pub fn memory(&self) -> usize {
        512 + self.size() * 10 / 3
    }

    fn pair_with(&self, value: bool) -> wire::KeyValue<'_> {
        let pair = self.pair();
        if value { pair } else { wire::KeyValue { value: b"", ..pair } }
    }

    fn pair(&self) -> wire::KeyValue<'_> {
        wire::KeyValue {
            key: &self.key,
            create_revision: self.create_revision.0,
            mod_revision: self.mod_revision.0,
            version: self.version,
            value: &self.value,
            lease: self.lease.0,
        }
    }
}

fn proto_field(pair: &wire::KeyValue<'_>) -> Bytes {
    let len = pair.proto_len();
    let mut buf = Vec::with_capacity(wire::proto::message_len(PAIR, len));
    wire::proto::put_message_head(&mut buf, PAIR, len);
    pair.put_proto(&mut buf);
    buf.into()
}

fn json_object(pair: &wire::KeyValue<'_>) -> Bytes {
    let mut buf = Vec::with_capacity((pair.key.len() + pair.value.len()) * 4 / 3 + 128);
    pair.put_json(&mut buf);
    buf.into()
}
