//! The last gate: an object leaves the translation only if APISIX takes it.

use serde::Serialize;
use serde_json::Value;

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
            notes.not_expressible(kind.directory(), &reason, "it is left out");
            None
        }
    };
    entries.extend_from_slice(notes.entries());
    object
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
