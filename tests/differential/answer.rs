//! Answers in a form in which two servers' can be compared.

use serde::Serialize;
use serde_json::{Map, Value, json};
use tonic::Status;

/// Fields that hold a revision.
const REVISIONS: [&str; 4] = ["revision", "create_revision", "mod_revision", "compact_revision"];

/// Fields that name the server.
const NAMES: [&str; 3] = ["cluster_id", "member_id", "raft_term"];

/// An answer over gRPC.
pub fn grpc<T: Serialize>(answer: Result<T, Status>, origin: i64) -> Value {
    match answer {
        Ok(message) => normal(serde_json::to_value(message).expect("JSON"), origin),
        Err(status) => json!({"code": status.code() as i32, "message": status.message()}),
    }
}

/// An answer of the gateway.
pub fn gateway(status: u16, body: &[u8], origin: i64) -> Value {
    let body: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {body:?}"));
    if status == 200 {
        return normal(body, origin);
    }
    // What etcd 3.4 says to a failed precondition.
    let status = if status == 412 { 400 } else { status };
    json!({"code": body["code"], "message": body["message"], "error": body["error"], "status": status})
}

/// Without what names the server, with revisions counted from the origin, and without the seconds that have passed.
pub fn normal(value: Value, origin: i64) -> Value {
    match value {
        Value::Object(fields) => {
            let mut left = Map::new();
            for (name, value) in fields {
                if NAMES.contains(&name.as_str()) {
                    continue;
                }
                let value = if REVISIONS.contains(&name.as_str()) {
                    let number: i64 = value.as_str().and_then(|text| text.parse().ok()).expect("a number in a string");
                    json!(number - origin)
                } else if name == "keys" {
                    // Of a lease, in no order.
                    let mut keys: Vec<_> = value.as_array().cloned().unwrap_or_default();
                    keys.sort_by_key(Value::to_string);
                    Value::Array(keys)
                } else {
                    normal(value, origin)
                };
                left.insert(name, value);
            }
            // What is left of a lease's time.
            let number = |name: &str| left.get(name).and_then(Value::as_str).and_then(|text| text.parse::<i64>().ok());
            if let (Some(granted), Some(rest)) = (number("grantedTTL"), number("TTL"))
                && (granted - 60..=granted).contains(&rest)
            {
                left.insert("TTL".into(), json!("running"));
            }
            Value::Object(left)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| normal(item, origin)).collect()),
        other => other,
    }
}
