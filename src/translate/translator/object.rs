//! The last gate: an object leaves the translation only if APISIX takes it.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::apisix::{Generation, Kind, Object, ObjectKey, schema};
use crate::envoy::ResourceType;
use crate::translate::report::{Entry, Notes};

/// An object that APISIX will take, in the form of the version if that is known. One that it would not is noted instead.
pub(super) fn object(
    (kind, id): (Kind, &str),
    content: &impl Serialize,
    of: (ResourceType, &str),
    version: Option<Generation>,
    entries: &mut Vec<Entry>,
) -> Option<Object> {
    let value = serde_json::to_vec(content).unwrap_or_default();
    let object = Object { key: ObjectKey::new(kind, id), value: value.into() };
    let mut notes = Notes::of(of.0, of.1);
    let object = match schema::check(&object) {
        Ok(()) => version.map_or_else(|| Some(object.clone()), |version| adapt(version, &object, &mut notes)),
        Err(reason) => {
            let reason = format!("APISIX would not take the result: {reason}");
            let instead = closed(&object);
            let effect = if instead.is_some() { "such requests are answered 503" } else { "it is left out" };
            notes.not_expressible(kind.directory(), &reason, effect);
            instead
        }
    };
    entries.extend_from_slice(notes.entries());
    object
}

/// A route in place of one that APISIX would not take: to leave it out would send its requests to the next wider one.
fn closed(object: &Object) -> Option<Object> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(&object.value) else { return None };
    let abort = json!({"http_status": 503, "body": "this route cannot be expressed; see the report\n"});
    let with = |names: &[&str]| {
        let kept = names.iter().filter_map(|name| Some(((*name).to_owned(), fields.get(*name)?.clone())));
        let plugins = ("plugins".to_owned(), json!({"fault-injection": {"abort": abort}}));
        let value = serde_json::to_vec(&kept.chain([plugins]).collect::<Map<_, _>>()).unwrap_or_default();
        Object { key: object.key.clone(), value: value.into() }
    };
    // Without its conditions, if they are what is wrong.
    let places = ["id", "uris", "hosts", "priority"];
    let whole = [&places[..], &["methods", "vars"]].concat();
    let candidates = [with(&whole), with(&places)];
    candidates.into_iter().find(|route| object.key.kind == Kind::Route && schema::check(route).is_ok())
}

fn adapt(version: Generation, object: &Object, notes: &mut Notes) -> Option<Object> {
    let kind = object.key.kind;
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(&object.value) else { return None };
    let mut losses = Vec::new();
    let kept = version.adapt(kind, &mut fields, &mut losses);
    for loss in losses {
        notes.not_expressible(&format!("{}.{}", kind.directory(), loss.field), &loss.reason, loss.effect);
    }
    let value = serde_json::to_vec(&fields).unwrap_or_default();
    kept.then(|| Object { key: version.key(object.key.clone()), value: value.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(content: &impl Serialize) -> (Option<Value>, Vec<Entry>) {
        let mut entries = Vec::new();
        let object = object((Kind::Route, "r"), content, (ResourceType::Route, "rc"), None, &mut entries);
        (object.map(|object| serde_json::from_slice(&object.value).expect("JSON")), entries)
    }

    fn route(field: &str, value: Value) -> Value {
        let mut route = json!({"id": "r", "uris": ["/a"], "upstream_id": "u", "priority": 3});
        route[field] = value;
        route
    }

    /// In place of the route there is one at the same place that answers 503.
    #[track_caller]
    fn is_closed(poison: &Value) {
        let (object, entries) = gate(poison);
        let object = object.expect("a route");
        let abort = json!({"http_status": 503, "body": "this route cannot be expressed; see the report\n"});
        let expected =
            json!({"id": "r", "uris": ["/a"], "priority": 3, "plugins": {"fault-injection": {"abort": abort}}});
        assert_eq!(object, expected);
        assert!(entries.len() == 1 && entries[0].effect.contains("503"), "{entries:?}");
    }

    #[test]
    fn conditions_on_which_apisix_throws_do_not_leave() {
        let poison = json!(["NOT", ["arg_a", "==", "1"]]);
        let nested = json!(["OR", ["arg_b", "==", "1"], poison]);
        for condition in [&poison, &nested, &json!(["arg_a", ["=="], "1"]), &json!(["arg_a", "!", ["=="], "1"])] {
            is_closed(&route("vars", json!([condition])));
            let abort = json!({"http_status": 403, "body": "", "vars": [[condition]]});
            is_closed(&route("plugins", json!({"fault-injection": {"abort": abort}})));
        }
        let good = route("vars", json!([["arg_a", "!", "==", "1"]]));
        assert_eq!(gate(&good), (Some(good), Vec::new()));
    }

    #[test]
    fn an_and_of_one_does_not_leave() {
        let one = json!(["arg_a", "==", "1"]);
        for operator in ["AND", "OR", "!AND", "!OR"] {
            is_closed(&route("vars", json!([[operator, one]])));
            is_closed(&route("vars", json!([["OR", one, [operator, one]]])));
        }
    }

    #[test]
    fn a_star_inside_a_path_does_not_leave() {
        for path in ["/m*x", "/n/*/z", "*/a"] {
            let (object, entries) = gate(&route("uris", json!([path])));
            assert!(object.is_none() && entries[0].effect.contains("left out"), "{path}");
        }
    }

    #[test]
    fn what_is_no_json_does_not_leave() {
        let (object, entries) = gate(&std::collections::BTreeMap::from([((1, 2), 3)]));
        assert!(object.is_none() && entries[0].reason.contains("not JSON"), "{entries:?}");
        // A number that JSON does not have becomes null, which is no value for APISIX.
        is_closed(&route("timeout", json!({"connect": f64::NAN, "send": 1, "read": 1})));
    }
}
