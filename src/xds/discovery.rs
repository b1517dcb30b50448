//! The messages of the discovery protocol, with payloads that are not copied.
//!
//! Written by hand, as those of the crate with Envoy's types copy every resource out of the response. Numbers are
//! those of `envoy.service.discovery.v3`.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;
use prost_types::Struct;

/// `DiscoveryRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct SotwRequest {
    /// The last version that was accepted.
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// Who asks; only in the first request of a stream.
    #[prost(message, optional, tag = "2")]
    pub node: Option<Node>,
    /// All names that are wanted; none for all of a type that has no names.
    #[prost(string, repeated, tag = "3")]
    pub resource_names: Vec<String>,
    /// The type.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// Of the response that is answered.
    #[prost(string, tag = "5")]
    pub response_nonce: String,
    /// Why the response was refused.
    #[prost(message, optional, tag = "6")]
    pub error_detail: Option<Status>,
}

/// `DiscoveryResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct SotwResponse {
    /// The version.
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// The resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Any>,
    /// The type.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// To be repeated in the answer.
    #[prost(string, tag = "5")]
    pub nonce: String,
}

/// `DeltaDiscoveryRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct DeltaRequest {
    /// Who asks; only in the first request of a stream.
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    /// The type.
    #[prost(string, tag = "2")]
    pub type_url: String,
    /// Names that are wanted from now on.
    #[prost(string, repeated, tag = "3")]
    pub resource_names_subscribe: Vec<String>,
    /// Names that are no longer wanted.
    #[prost(string, repeated, tag = "4")]
    pub resource_names_unsubscribe: Vec<String>,
    /// What the client has; only in the first request of a type.
    #[prost(map = "string, string", tag = "5")]
    pub initial_resource_versions: HashMap<String, String>,
    /// Of the response that is answered.
    #[prost(string, tag = "6")]
    pub response_nonce: String,
    /// Why the response was refused.
    #[prost(message, optional, tag = "7")]
    pub error_detail: Option<Status>,
}

/// `DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct DeltaResponse {
    /// The resources that changed.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    /// The type.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// To be repeated in the answer.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Names of resources that are gone.
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
}

/// `Resource`.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    /// The version.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The payload.
    #[prost(message, optional, tag = "2")]
    pub resource: Option<Any>,
    /// The name.
    #[prost(string, tag = "3")]
    pub name: String,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    /// The type.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// `envoy.config.core.v3.Node`.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    /// The id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The cluster.
    #[prost(string, tag = "2")]
    pub cluster: String,
    /// More.
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<Struct>,
    /// The program.
    #[prost(string, tag = "6")]
    pub user_agent_name: String,
    /// Its version.
    #[prost(string, tag = "7")]
    pub user_agent_version: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// A gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// The JSON object that metadata is given as.
pub fn metadata(fields: &serde_json::Map<String, serde_json::Value>) -> Struct {
    Struct { fields: fields.iter().map(|(name, value)| (name.clone(), metadata_value(value))).collect() }
}

fn metadata_value(value: &serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    use serde_json::Value;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Value::String(value) => Kind::StringValue(value.clone()),
        Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.iter().map(metadata_value).collect() })
        }
        Value::Object(fields) => Kind::StructValue(metadata(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}
