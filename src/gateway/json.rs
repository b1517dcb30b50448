//! Requests in JSON: everything that one of etcd's gateways accepts is accepted here.

use bytes::{Buf, BytesMut};
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use super::ends::End;
use crate::config::limits::JSON_DEPTH;
use crate::rpc::EtcdError;
use crate::serve::memory::{Hold, Ledger};
use crate::telemetry::serve as limits;

/// Reads a message. An empty body is an empty message, and what follows the first object is ignored. Levels inside of
/// each other are refused at `depth`.
pub fn read<T: DeserializeOwned + Default>(body: &[u8], depth: usize) -> Result<T, EtcdError> {
    match serde_json::Deserializer::from_slice(body).into_iter::<Value>().next() {
        None => Ok(T::default()),
        Some(Ok(value)) => from_value(value, depth),
        Some(Err(error)) => Err(malformed(&error)),
    }
}

/// Bytes of memory, about, that are needed at most for as long as a text is read, beyond those of its strings: objects
/// have room for several fields, lists for twice what is in them, and messages for all fields that they may have.
pub fn footprint(text: &[u8]) -> usize {
    let of = |byte: &u8| match byte {
        b'{' => 640,
        b':' => 160,
        b'[' | b',' => 64,
        _ => 0,
    };
    text.iter().map(of).sum()
}

/// Reads a message from its JSON value.
fn from_value<T: DeserializeOwned + Default>(value: Value, depth: usize) -> Result<T, EtcdError> {
    if value.is_null() {
        return Ok(T::default());
    }
    // The parser has its own limit, which is never less.
    if depth < JSON_DEPTH && is_as_deep_as(&value, depth) {
        limits::refused(limits::OF_JSON);
        return Err(EtcdError::malformed(TOO_DEEP));
    }
    serde_json::from_value(lenient(value)).map_err(EtcdError::malformed)
}

/// What the parser says of a text that is too deep for it, before it says where.
const TOO_DEEP: &str = "recursion limit exceeded";

/// What is said of a text that is no JSON, or too deep.
fn malformed(error: &serde_json::Error) -> EtcdError {
    let text = error.to_string();
    if text.starts_with(TOO_DEEP) {
        limits::refused(limits::OF_JSON);
    }
    EtcdError::malformed(text)
}

/// Whether there are so many levels inside of each other, as the parser counts.
fn is_as_deep_as(value: &Value, depth: usize) -> bool {
    let inside = depth.saturating_sub(1);
    match value {
        Value::Object(_) | Value::Array(_) if inside == 0 => true,
        Value::Object(fields) => fields.values().any(|value| is_as_deep_as(value, inside)),
        Value::Array(items) => items.iter().any(|item| is_as_deep_as(item, inside)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Brings what is accepted beyond proto3 JSON into its form: absent fields given as `null`, integers written as
/// `1.0` or `1e3`, which Lua does with large ones, and white space in a number or in base64.
fn lenient(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(name, value)| (name, lenient(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(lenient).collect()),
        Value::Number(number) => Value::Number(whole(&number).unwrap_or(number)),
        Value::String(text) if text.contains(char::is_whitespace) => {
            Value::String(text.chars().filter(|c| !c.is_whitespace()).collect())
        }
        other => other,
    }
}

/// The integer that a floating-point number stands for.
#[expect(clippy::cast_possible_truncation, clippy::float_cmp, reason = "checked to be whole and in range")]
fn whole(number: &Number) -> Option<Number> {
    let value = number.as_f64().filter(|_| number.is_f64())?;
    // 2^63 as a floating-point number; integers that large lose digits anyway.
    (value.trunc() == value && value.abs() < 9_223_372_036_854_775_808.0).then(|| (value as i64).into())
}

/// Takes JSON messages out of the bytes of a request that goes on: one after the other, with or without newlines.
#[derive(Debug)]
pub struct Messages {
    buffer: BytesMut,
    limit: usize,
    /// Levels at which one is refused.
    depth: usize,
    /// Of the first message.
    end: End,
    /// How many bytes there were when they were last read.
    tried: usize,
    /// Where what is kept is counted, and how much it is.
    ledger: Ledger,
    hold: Option<Hold>,
}

impl Messages {
    /// For messages of at most `limit` bytes, with fewer than `depth` levels.
    pub fn new(limit: usize, depth: usize) -> Self {
        let (buffer, end) = Default::default();
        Self { buffer, limit, depth, end, tried: 0, ledger: Ledger::default(), hold: None }
    }

    /// Counts what is kept until it is a whole message.
    #[must_use]
    pub fn counted(self, ledger: &Ledger) -> Self {
        Self { ledger: ledger.clone(), ..self }
    }

    /// Adds bytes as they came.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether nothing is left but white space.
    pub fn is_empty(&self) -> bool {
        self.buffer.iter().all(u8::is_ascii_whitespace)
    }

    /// The next whole message, if there is one.
    pub fn take<T: DeserializeOwned + Default>(&mut self) -> Result<Option<T>, EtcdError> {
        self.ledger.bound(&mut self.hold, self.buffer.len())?;
        // What is no message is told before it ends, by a look each time that there is twice as much.
        let is_time = self.buffer.len() >= self.tried * 2 || self.buffer.len() > self.limit;
        if self.end.is_in(&self.buffer) || is_time { self.read() } else { Ok(None) }
    }

    /// What is left when nothing more comes, if it is a message.
    pub fn finish<T: DeserializeOwned + Default>(&mut self) -> Result<Option<T>, EtcdError> {
        self.read()
    }

    fn read<T: DeserializeOwned + Default>(&mut self) -> Result<Option<T>, EtcdError> {
        self.tried = self.buffer.len();
        if self.hold.is_some() {
            self.ledger.bound(&mut self.hold, self.buffer.len() + footprint(&self.buffer))?;
        }
        let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<Value>();
        let value = values.next();
        let read = values.byte_offset();
        match value {
            None => Ok(None),
            Some(Ok(value)) => {
                self.buffer.advance(read);
                (self.end, self.tried) = (End::default(), 0);
                from_value(value, self.depth).map(Some)
            }
            Some(Err(error)) if error.is_eof() && self.buffer.len() <= self.limit => Ok(None),
            Some(Err(error)) if error.is_eof() => Err(EtcdError::message_too_large(self.buffer.len(), self.limit)),
            Some(Err(error)) => Err(malformed(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::etcdserverpb::{PutRequest, RangeRequest, TxnRequest, WatchRequest};

    fn range(body: &str) -> Result<RangeRequest, String> {
        read(body.as_bytes(), JSON_DEPTH).map_err(|error| error.text().to_owned())
    }

    #[test]
    fn accepts_what_any_gateway_accepts() {
        let key = |body: &str| range(body).expect(body).key;
        for body in [
            r#"{"key":"YT8+"}"#,
            r#"{"key":"YT8-"}"#,
            " {\"key\":\"YT\\n8+\"} ",
            r#"{"key":"YT8+","unknown":[1]}"#,
            r#"{"key":"YT8+","revision":null}"#,
            r#"{"key":"YT8+"} trailing"#,
        ] {
            assert_eq!(key(body), "a?>", "{body}");
        }
        assert_eq!(key(r#"{"key":"YQ"}"#), "a", "without padding");
        assert_eq!(key(""), "");
        assert_eq!(key("null"), "");
        let revision = |text: &str| range(&format!(r#"{{"revision":{text}}}"#)).expect(text).revision;
        for text in ["15", "\"15\"", "15.0", "1.5e1", "\" 15\""] {
            assert_eq!(revision(text), 15, "{text}");
        }
        assert_eq!(revision("1.7e13"), 17_000_000_000_000);
        for body in [r#"{"range_end":"YQ==","sort_order":"DESCEND"}"#, r#"{"rangeEnd":"YQ==","sortOrder":2}"#] {
            let request = range(body).expect(body);
            assert_eq!((request.range_end.as_ref(), request.sort_order), (b"a".as_ref(), 2));
        }
        let txn: TxnRequest = read(
            br#"{"compare":[{"key":"YQ==","target":"MOD","result":"EQUAL","mod_revision":5}],
                "success":[{"requestPut":{"key":"YQ==","value":"Yg==","lease":"7"}}]}"#,
            JSON_DEPTH,
        )
        .expect("as APISIX writes it");
        assert_eq!((txn.compare.len(), txn.success.len()), (1, 1));
        assert!(txn.success[0].request.is_some());
    }

    #[test]
    fn refuses_what_is_not_a_message() {
        for body in ["{", "[]", "5", r#"{"key":5}"#, r#"{"revision":"x"}"#, r#"{"revision":1.5}"#, r#"{"key":"*"}"#] {
            assert!(range(body).is_err(), "{body}");
        }
        assert!(read::<PutRequest>(br#"{"key":"YQ==","value":{}}"#, JSON_DEPTH).is_err());
    }

    #[test]
    fn levels_are_counted_as_the_parser_counts_them() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        for depth in [3, 5, JSON_DEPTH] {
            let read = |levels| read::<RangeRequest>(nested(levels).as_bytes(), depth);
            assert!(read(depth - 1).is_ok(), "{depth}");
            for levels in [depth, depth + 1, 1000] {
                let refused = read(levels).expect_err("too deep");
                assert!(refused.text().starts_with(TOO_DEEP), "{depth} {levels}: {}", refused.text());
            }
        }
    }

    #[test]
    fn messages_of_a_stream() {
        let wire = br#"{"create_request":{"key":"YQ=="}}{"cancel_request":{"watch_id":3}}
            {"progress_request":{}}"#;
        for size in [1, 7, 1000] {
            let mut messages = Messages::new(1000, JSON_DEPTH);
            let mut seen = 0;
            for piece in wire.chunks(size) {
                messages.feed(piece);
                while let Some(request) = messages.take::<WatchRequest>().expect("well formed") {
                    assert!(request.request_union.is_some());
                    seen += 1;
                }
            }
            assert_eq!(seen, 3, "in pieces of {size}");
        }
        let mut messages = Messages::new(10, JSON_DEPTH);
        messages.feed(b"{\"create_request\":{");
        assert!(messages.take::<WatchRequest>().is_err(), "above the limit");
        let mut messages = Messages::new(1000, JSON_DEPTH);
        messages.feed(b"{\"create_request\":");
        assert!(messages.take::<WatchRequest>().expect("may go on").is_none());
        messages.feed(b"x");
        assert!(messages.finish::<WatchRequest>().is_err());
        let mut messages = Messages::new(10, JSON_DEPTH);
        messages.feed(b"}");
        assert!(messages.take::<WatchRequest>().is_err());
    }
}
