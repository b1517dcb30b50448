//! Which other objects an object refers to.

use serde_json::Value;

use super::{Kind, ObjectKey};

/// The fields that refer to an object, at any depth, and the kind that they name.
const FIELDS: [(&str, Kind); 5] = [
    ("upstream_id", Kind::Upstream),
    ("service_id", Kind::Service),
    ("plugin_config_id", Kind::PluginConfig),
    ("group_id", Kind::ConsumerGroup),
    ("client_cert_id", Kind::Ssl),
];

/// The objects that an object's JSON text refers to; none of them if it is not JSON.
pub fn references(json: &[u8]) -> Vec<ObjectKey> {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_slice(json) {
        visit(&value, &mut found);
    }
    found
}

fn visit(value: &Value, found: &mut Vec<ObjectKey>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let kind = FIELDS.iter().find(|(field, _)| field == name).map(|(_, kind)| *kind);
                match (kind, value) {
                    (Some(kind), Value::String(id)) => found.push(ObjectKey::new(kind, id.clone())),
                    // APISIX takes numbers for ids as well.
                    (Some(kind), Value::Number(id)) => found.push(ObjectKey::new(kind, id.to_string())),
                    _ => visit(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| visit(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_at_any_depth() {
        let json =
            br#"{"upstream_id":"a","plugins":{"traffic-split":{"rules":[{"weighted_upstreams":[{"upstream_id":7}]}]}},
            "upstream":{"tls":{"client_cert_id":"c"}},"id":"upstream_id"}"#;
        let mut found = references(json);
        found.sort();
        let key = |kind, id: &str| ObjectKey::new(kind, id);
        assert_eq!(found, [key(Kind::Ssl, "c"), key(Kind::Upstream, "7"), key(Kind::Upstream, "a")]);
        assert_eq!(references(b"init_dir"), []);
    }
}
