//! Requests of real APISIX instances, as they were recorded between them and an etcd, sent again to confcast: it answers
//! each with the status, the headers that matter and the shape that etcd answered with.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use support::http::{Connection, b64, post};
use support::{Confcast, shared};

/// A request and what etcd answered.
#[derive(Debug)]
struct Exchange {
    head: String,
    body: String,
    status: u16,
    content_type: Option<String>,
    /// The body, or the first line of a stream.
    answer: Value,
}

/// What is known of a connection while its recording is read.
#[derive(Default)]
struct Conversation {
    sent: String,
    received: String,
}

/// Reads a recording: pieces of connections, each after a line with time, connection, direction and length.
fn read(text: &str) -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    let mut conversations: BTreeMap<String, Conversation> = BTreeMap::new();
    let mut current: Option<(String, bool)> = None;
    for line in text.lines() {
        if let Some(event) = line.strip_prefix("--- ") {
            let words: Vec<_> = event.split_whitespace().collect();
            current = match words.as_slice() {
                [_, "conn", id, direction @ (">" | "<"), _, "bytes"] => Some(((*id).to_owned(), *direction == ">")),
                _ => None,
            };
            if let Some((id, true)) = &current
                && conversations.get(id).is_some_and(|conversation| !conversation.received.is_empty())
            {
                exchanges.extend(conversations.remove(id).and_then(Conversation::exchange));
            }
        } else if line.starts_with("## ") {
            // A note of what was done to the etcd.
        } else if let Some((id, sent)) = &current {
            let conversation = conversations.entry(id.clone()).or_default();
            let text = if *sent { &mut conversation.sent } else { &mut conversation.received };
            text.push_str(line);
            text.push('\n');
        }
    }
    exchanges.extend(conversations.into_values().filter_map(Conversation::exchange));
    exchanges
}

impl Conversation {
    fn exchange(self) -> Option<Exchange> {
        let head: Vec<_> =
            self.sent.lines().filter(|line| !line.is_empty()).take_while(|line| !line.starts_with('{')).collect();
        let body = self.sent.lines().find(|line| line.starts_with('{')).unwrap_or_default();
        let status = self.received.lines().next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let header = |name: &str| self.received.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        let answer = self.received.lines().find(|line| line.starts_with('{'))?;
        Some(Exchange {
            head: head
                .iter()
                .filter(|line| !line.starts_with("Content-Length"))
                .flat_map(|line| [line, "\r\n"])
                .collect(),
            body: body.to_owned(),
            status,
            content_type: header("Content-Type: "),
            // A long answer may be cut in the recording.
            answer: serde_json::from_str(answer).ok()?,
        })
    }
}

/// Whether an answer has the fields and kinds of another one. What a store holds may differ: fields that are there
/// for some contents only may be missing on either side.
fn same_shape(path: &str, ours: &Value, theirs: &Value) -> Result<(), String> {
    const OF_CONTENT: [&str; 7] = ["kvs", "count", "value", "prev_kv", "lease", "more", "storage"];
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for name in ours.keys().chain(theirs.keys()).filter(|name| !OF_CONTENT.contains(&name.as_str())) {
                if ours.contains_key(name) != theirs.contains_key(name) {
                    return Err(format!("{path}.{name} is only on one side"));
                }
            }
            ours.iter().try_for_each(|(name, value)| match theirs.get(name) {
                Some(other) => same_shape(&format!("{path}.{name}"), value, other),
                None => Ok(()),
            })
        }
        (Value::Array(ours), Value::Array(theirs)) => match (ours.first(), theirs.first()) {
            (Some(ours), Some(theirs)) => same_shape(&format!("{path}[]"), ours, theirs),
            _ => Ok(()),
        },
        _ if std::mem::discriminant(ours) == std::mem::discriminant(theirs) => Ok(()),
        _ => Err(format!("{path} is {ours} and was {theirs}")),
    }
}

#[test]
fn recorded_requests_are_answered_in_the_same_shape() {
    let Some(folder) = shared("apisix-traffic") else { return };
    let confcast = Confcast::serve(&["--source", "none"]).ready();
    for (key, value) in [
        ("/apisix/routes/", "init_dir"),
        ("/apisix/routes/1", "{\"uri\":\"/hello\"}"),
        ("/apisix/upstreams/1", "{\"type\":\"roundrobin\"}"),
    ] {
        assert_eq!(post(confcast.address, "/v3/kv/put", &json!({"key": b64(key), "value": b64(value)})).status, 200);
    }
    let mut files: Vec<_> = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for file in files {
        let name = file.file_name().expect("a file").to_string_lossy().into_owned();
        for exchange in read(&fs::read_to_string(&file).expect("text")) {
            let call = exchange.head.split(' ').nth(1).unwrap_or_default().to_owned();
            // Users and tokens are not there yet: such a client is told that it needs none.
            if name.contains("auth") || call.contains("/auth/") || exchange.head.is_empty() {
                continue;
            }
            // Its changes were made against what that etcd held.
            if call.contains("txn") || exchange.status != 200 {
                continue;
            }
            // The lease that the recorded etcd had granted.
            let request: Value = serde_json::from_str(&exchange.body).unwrap_or_default();
            if let Some(lease) = request["lease"].as_str() {
                post(confcast.address, "/v3/lease/grant", &json!({"ID": lease, "TTL": 60}));
            }
            let mut connection = Connection::open(confcast.address);
            let length = exchange.body.len();
            // Head and body in pieces of their own, as APISIX sends them.
            connection.send(format!("{}Content-Length: {length}\r\n\r\n", exchange.head).as_bytes());
            connection.send(exchange.body.as_bytes());
            let (status, headers) = connection.head();
            let header =
                |name: &str| headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone());
            assert_eq!(status, exchange.status, "{name}: {exchange:?}");
            assert_eq!(header("content-type"), exchange.content_type, "{name}: {exchange:?}");
            assert_eq!(header("access-control-allow-origin").as_deref(), Some("*"));
            assert!(header("trailer").is_none() && header("content-encoding").is_none());
            let body = if header("transfer-encoding").is_some() {
                connection.chunk()
            } else {
                let length = header("content-length").and_then(|length| length.parse().ok()).expect("a length");
                let mut body = vec![0; length];
                std::io::Read::read_exact(&mut connection.stream, &mut body).expect("reads");
                body
            };
            let ours: Value = serde_json::from_slice(&body).expect("JSON");
            if let Err(difference) = same_shape("", &ours, &exchange.answer) {
                // Later lines of a stream were recorded on their own, without the first.
                assert!(call == "/v3/watch", "{name} {call}: {difference}\n{ours}\n{}", exchange.answer);
                assert_eq!(ours["result"]["created"], true, "{name}: {ours}");
            }
            *calls.entry(call).or_default() += 1;
        }
    }
    println!("{calls:?}");
    for call in ["/version", "/v3/kv/range", "/v3/kv/put", "/v3/watch"] {
        assert!(calls.get(call).is_some_and(|count| *count > 0), "no {call} among the recordings: {calls:?}");
    }
}
