//! Resources in proto3 JSON, as files and dumps hold them.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage};
use serde_json::{Map, Value, json};

use super::decode::{self, DecodeError};
use super::resource::{Resource, ResourceType};

/// Envoy's messages, see `cargo xtask gen`.
static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(include_bytes!("descriptors.binpb").as_ref()).expect("the committed descriptors are whole")
});

/// The type that stands for a message of an unknown type.
const TYPED_STRUCT: &str = "type.googleapis.com/xds.type.v3.TypedStruct";

/// Deepest nesting that is read; Envoy's own messages stay far below.
const DEPTH: usize = 100;

/// Why a JSON value is not a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// No `@type`, and nothing else that tells.
    #[error("no \"@type\"; write for example \"@type\": \"{}\"", ResourceType::Cluster.url())]
    NoType,
    /// A type that is none of the five.
    #[error("\"@type\" {0} is not a resource; known are clusters, endpoints, listeners, routes and secrets")]
    UnknownType(String),
    /// Not an object.
    #[error("{0} where a resource was expected")]
    NotAnObject(&'static str),
    /// Not such a message.
    #[error("{0}")]
    Field(String),
    /// Nested too deeply.
    #[error("nested more than {DEPTH} levels deep")]
    TooDeep,
    /// Not a resource that can be taken.
    #[error(transparent)]
    Resource(#[from] DecodeError),
}

/// What is done with fields that are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// They are errors, as they are most likely misspelled.
    Refused,
    /// They are left out.
    Ignored,
}

/// Reads a resource, whose type is its `@type` or else `kind`.
pub fn read(value: Value, kind: Option<ResourceType>, unknown: Unknown) -> Result<Resource, JsonError> {
    let Value::Object(mut fields) = value else { return Err(JsonError::NotAnObject(name_of(&value))) };
    let kind = match fields.remove("@type") {
        Some(Value::String(url)) => ResourceType::from_url(&url).ok_or(JsonError::UnknownType(url))?,
        Some(other) => return Err(JsonError::UnknownType(other.to_string())),
        None => kind.ok_or(JsonError::NoType)?,
    };
    let name = kind.url().rsplit_once('/').map_or(kind.url(), |(_, name)| name);
    let descriptor = DESCRIPTORS.get_message_by_name(name).expect("the five types are among the descriptors");
    let value = known(Value::Object(fields), DEPTH)?;
    let options = DeserializeOptions::new().deny_unknown_fields(unknown == Unknown::Refused);
    let message = DynamicMessage::deserialize_with_options(descriptor, value, &options)
        .map_err(|error| JsonError::Field(error.to_string()))?;
    Ok(decode::decode(kind, &message.encode_to_vec())?)
}

/// Puts messages of types that are not known into the message that is made for them, so that the rest can be read.
fn known(value: Value, depth: usize) -> Result<Value, JsonError> {
    let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
    Ok(match value {
        Value::Object(fields) => {
            let fields: Map<_, _> = fields
                .into_iter()
                .filter(|(name, value)| !is_empty_message(name, value))
                .map(|(name, value)| Ok((name, known(value, depth)?)))
                .collect::<Result<_, JsonError>>()?;
            match fields.get("@type").and_then(Value::as_str) {
                Some(url) if !is_known(url) => {
                    let url = url.to_owned();
                    let rest: Map<_, _> = fields.into_iter().filter(|(name, _)| name != "@type").collect();
                    json!({"@type": TYPED_STRUCT, "typeUrl": url, "value": rest})
                }
                _ => Value::Object(fields),
            }
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| known(item, depth)).collect::<Result<_, _>>()?)
        }
        other => other,
    })
}

/// An `Any` without a type, which stands for none: some writers give one for an extension that needs no settings.
fn is_empty_message(field: &str, value: &Value) -> bool {
    ["config", "typedConfig", "typed_config"].contains(&field) && value.as_object().is_some_and(Map::is_empty)
}

fn is_known(url: &str) -> bool {
    let name = url.rsplit_once('/').map_or(url, |(_, name)| name);
    DESCRIPTORS.get_message_by_name(name).is_some()
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::{any, references};

    #[test]
    fn reads_both_spellings_and_keeps_unknown_types_apart() {
        let listener = json!({
            "@type": ResourceType::Listener.url(),
            "name": "http",
            "filter_chains": [{"filters": [{
                "name": "hcm",
                "typedConfig": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "statPrefix": "x",
                    "rds": {"routeConfigName": "routes", "config_source": {"ads": {}}},
                    "httpFilters": [{"name": "istio", "typedConfig": {"@type": "type.googleapis.com/istio.Unknown", "a": [1]}}],
                },
            }]}],
        });
        let resource = read(listener, None, Unknown::Refused).expect("reads");
        assert_eq!(references(&resource), [(ResourceType::Route, "routes".to_owned())]);
        let Resource::Listener(listener) = resource else { panic!("a listener") };
        let manager = references::connection_managers(&listener).next().expect("one");
        let Some(config) = &manager.http_filters[0].config_type else { panic!("a configuration") };
        let envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType::TypedConfig(config) = config
        else {
            panic!("a typed configuration")
        };
        assert_eq!(any::type_of(config), "istio.Unknown");
    }

    #[test]
    fn says_what_is_wrong() {
        let check = |value: Value, kind, expected: &str| {
            let error = read(value, kind, Unknown::Refused).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error} should say {expected}");
        };
        let cluster = Some(ResourceType::Cluster);
        check(json!({"name": "a"}), None, "@type");
        check(json!({"@type": "type.googleapis.com/x.Y"}), None, "x.Y is not a resource");
        check(json!([]), cluster, "a list where");
        check(json!({"name": "a", "lb_polcy": "RANDOM"}), cluster, "lb_polcy");
        check(json!({"name": 5}), cluster, "string");
        check(json!({"connect_timeout": "1s"}), cluster, "without a name");
        let hosts = json!([{"name": "a", "domains": ["*"]}, {"name": "b", "domains": ["*"]}]);
        check(json!({"name": "r", "virtual_hosts": hosts}), Some(ResourceType::Route), "in two virtual hosts");
        let deep = (0..200).fold(json!({}), |inner, _| json!({"x": inner}));
        check(deep, cluster, "levels deep");
    }
}
