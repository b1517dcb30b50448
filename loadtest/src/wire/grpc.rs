//! Messages of etcd's services, read without making anything of what is not needed.

use super::Said;
use crate::content::{Event, Reader};

/// One field of a protobuf message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a message, up to the first that is malformed.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Field<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Number(self.varint()?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            1 | 5 => {
                self.0 = self.0.get(if tag & 7 == 1 { 8 } else { 4 }..)?;
                Field::Other
            }
            _ => return None,
        };
        Some((tag >> 3, field))
    }
}

/// What a `WatchResponse` says.
pub(crate) fn watch_response(message: &[u8], reader: &mut Reader, said: &mut Vec<Said>) {
    let (mut created, mut canceled, mut compacted, mut events) = (false, false, 0, false);
    for field in Fields(message) {
        match field {
            (3, Field::Number(number)) => created = number != 0,
            (4, Field::Number(number)) => canceled = number != 0,
            (5, Field::Number(number)) => compacted = number.cast_signed(),
            (11, Field::Bytes(event)) => {
                events = true;
                said.push(Said::Event(self::event(event, reader)));
            }
            _ => {}
        }
    }
    match (created, canceled, events) {
        (true, false, false) => said.push(Said::Created),
        (false, true, false) => said.push(Said::Canceled(compacted)),
        (false, false, true) => {}
        _ => said.push(Said::Other),
    }
}

fn event(event: &[u8], reader: &mut Reader) -> Event {
    let (mut revision, mut key, mut value) = (0, &[][..], &[][..]);
    let pair = Fields(event).find_map(|field| match field {
        (2, Field::Bytes(pair)) => Some(pair),
        _ => None,
    });
    for field in Fields(pair.unwrap_or_default()) {
        match field {
            (1, Field::Bytes(bytes)) => key = bytes,
            (3, Field::Number(number)) => revision = number.cast_signed(),
            (5, Field::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Event { revision, content: reader.look(key, value, |bytes| Some(bytes.to_vec())) }
}

/// Takes gRPC messages out of the data of one stream.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    buffer: Vec<u8>,
}

impl Messages {
    /// Reads data as it came and calls `each` with every whole message.
    pub(crate) fn read(&mut self, data: &[u8], mut each: impl FnMut(&[u8])) {
        let kept = std::mem::take(&mut self.buffer);
        let joined;
        let mut rest = if kept.is_empty() {
            data
        } else {
            joined = [&kept, data].concat();
            joined.as_slice()
        };
        while let Some((&[_, a, b, c, d], body)) = rest.split_first_chunk::<5>() {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            let Some((message, after)) = body.split_at_checked(length) else { break };
            each(message);
            rest = after;
        }
        self.buffer = rest.to_vec();
    }
}

/// A message with the prefix that gRPC puts before it.
pub(crate) fn framed(message: &impl prost::Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    let length = u32::try_from(body.len()).expect("a message is below 4 GiB");
    [&[0], length.to_be_bytes().as_slice(), &body].concat()
}

#[cfg(test)]
mod tests {
    use confcast::pb::etcdserverpb::WatchResponse;
    use confcast::pb::mvccpb::{self, KeyValue};

    use super::*;
    use crate::content::Content;

    #[test]
    fn messages_come_out_whatever_the_pieces() {
        let value = crate::content::value("k", 100, 77);
        let content = Content { identity: crate::content::identity(b"k", &value), sent: 77, is_sound: true };
        let value = value.into();
        let kv = KeyValue { key: "k".into(), mod_revision: 12, create_revision: 3, version: 4, value, lease: 0 };
        let event = mvccpb::Event { kv: Some(kv), ..mvccpb::Event::default() };
        let responses = [
            WatchResponse { created: true, watch_id: 5, ..WatchResponse::default() },
            WatchResponse { events: vec![event], ..WatchResponse::default() },
            WatchResponse { canceled: true, compact_revision: 9, ..WatchResponse::default() },
            WatchResponse::default(),
        ];
        let wire: Vec<_> = responses.iter().flat_map(framed).collect();
        for size in [1, 7, 1000] {
            let (mut messages, mut said) = (Messages::default(), Vec::new());
            for piece in wire.chunks(size) {
                messages.read(piece, |message| watch_response(message, &mut Reader::default(), &mut said));
            }
            let event = Said::Event(Event { revision: 12, content });
            assert_eq!(said, [Said::Created, event, Said::Canceled(9), Said::Other]);
        }
    }
}
