//! Objects that somebody wrote for APISIX, of whatever version.

use serde_json::Value;

use super::{check_id, check_vars};
use crate::apisix::object::{Kind, Object};

/// Fields of plugins that hold conditions.
const CONDITIONS: [&str; 5] = ["vars", "case", "filter", "include_req_body_expr", "include_resp_body_expr"];

/// Checks an object that somebody wrote: only that it cannot do harm to others.
pub fn check_foreign(object: &Object) -> Result<(), String> {
    let value: Value = serde_json::from_slice(&object.value).map_err(|error| format!("not JSON: {error}"))?;
    let Value::Object(fields) = &value else { return Err("not a JSON object".into()) };
    match (object.key.kind, object.key.id.split_once('/')) {
        // Secrets are below their manager.
        (Kind::Secret, Some((manager, id))) => check_id(manager).and_then(|()| check_id(id))?,
        _ => check_id(&object.key.id)?,
    }
    fields.get("vars").map_or(Ok(()), check_vars)?;
    find_conditions(&value)
}

/// Looks at conditions wherever plugins have them.
fn find_conditions(value: &Value) -> Result<(), String> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| match value {
            Value::Array(items) if CONDITIONS.contains(&name.as_str()) => survives(items),
            _ => find_conditions(value),
        }),
        Value::Array(items) => items.iter().try_for_each(find_conditions),
        _ => Ok(()),
    }
}

/// Whether APISIX's checker survives a list of conditions, or a condition: it throws where an operator is no text, and
/// with it all that the instance would take over.
fn survives(items: &[Value]) -> Result<(), String> {
    let rest = match items.first() {
        Some(Value::String(first)) if ["AND", "OR", "!AND", "!OR"].contains(&first.to_ascii_uppercase().as_str()) => {
            &items[1..]
        }
        Some(Value::String(_)) => {
            let operator = items.get(if items.get(1).is_some_and(|not| not == "!") { 2 } else { 1 });
            let good = operator.is_none_or(Value::is_string);
            return if good { Ok(()) } else { Err(format!("a condition without an operator: {}", Value::from(items))) };
        }
        _ => items,
    };
    rest.iter().filter_map(Value::as_array).try_for_each(|items| survives(items))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apisix::ObjectKey;

    #[test]
    fn poison_is_found_wherever_plugins_have_conditions() {
        let check = |value: Value| {
            check_foreign(&Object { key: ObjectKey::new(Kind::Route, "r"), value: value.to_string().into() })
        };
        let good = [
            json!(["arg_a", "in", ["1", 5]]),
            json!(["OR", ["arg_a", "==", 1], ["arg_b", "!", "~~", "x"]]),
            json!([["arg_a", "==", 1], ["and", ["arg_a", "==", 1], ["arg_a", "==", 1]]]),
        ];
        let bad = [json!(["NOT", ["arg_a", "==", 1]]), json!(["a", 5, 1]), json!(["or", ["a", "!", {}, 1], ["a"]])];
        let places = |condition: &Value| {
            [
                json!({"fault-injection": {"abort": {"http_status": 403, "vars": [[condition]]}}}),
                json!({"traffic-split": {"rules": [{"match": [{"vars": [condition]}]}]}}),
                json!({"workflow": {"rules": [{"case": [condition], "actions": []}]}}),
                json!({"key-auth": {"_meta": {"filter": [condition]}}}),
                json!({"http-logger": {"include_resp_body_expr": [condition]}}),
            ]
        };
        for (conditions, passes) in [(&good, true), (&bad, false)] {
            for plugins in conditions.iter().flat_map(places) {
                assert_eq!(check(json!({"uri": "/", "plugins": plugins})).is_ok(), passes, "{plugins}");
            }
        }
        // Lists of other things by such a name.
        assert_eq!(check(json!({"uri": "/", "plugins": {"own": {"filter": ["a", "b"], "case": []}}})), Ok(()));
    }
}
