//! Definitions of services of gRPC, as Envoy has them for requests in JSON.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};

/// A set of files, with the options that a pool knows.
fn set(pool: &DescriptorPool, files: &[Value]) -> Vec<u8> {
    let kind = pool.get_message_by_name("google.protobuf.FileDescriptorSet").expect("known");
    DynamicMessage::deserialize(kind, json!({"file": files})).expect("a set").encode_to_vec()
}

fn field(name: &str, number: i32, label: &str, kind: &str) -> Value {
    let field = json!({"name": name, "number": number, "label": format!("LABEL_{label}")});
    let mut fields = field.as_object().cloned().unwrap_or_default();
    if kind.is_empty() {
        fields.insert("type".into(), json!("TYPE_STRING"));
    } else {
        fields.insert("type".into(), json!("TYPE_MESSAGE"));
        fields.insert("typeName".into(), json!(kind));
    }
    Value::Object(fields)
}

/// The definition, as a set of descriptors, of a service `a.Svc` whose methods have these options. They take and give
/// messages with the texts `name`, `id` and `shelf`.
///
/// # Panics
/// If the options are none.
pub fn definition(methods: &Value) -> Vec<u8> {
    let global = DescriptorPool::global();
    let known = global.get_file_by_name("google/protobuf/descriptor.proto").expect("known");
    let known = prost_types::FileDescriptorSet { file: vec![known.file_descriptor_proto().clone()] };
    let text = |name: &str, number: i32| field(name, number, "OPTIONAL", "");
    let rule = [
        text("get", 2),
        text("put", 3),
        text("post", 4),
        text("delete", 5),
        text("patch", 6),
        text("body", 7),
        field("custom", 8, "OPTIONAL", ".google.api.CustomHttpPattern"),
        field("additional_bindings", 11, "REPEATED", ".google.api.HttpRule"),
    ];
    let mut option = field("http", 72_295_728, "OPTIONAL", ".google.api.HttpRule");
    option["extendee"] = json!(".google.protobuf.MethodOptions");
    let annotations = json!({
        "name": "google/api/annotations.proto", "package": "google.api", "syntax": "proto3",
        "dependency": ["google/protobuf/descriptor.proto"],
        "messageType": [
            {"name": "HttpRule", "field": rule},
            {"name": "CustomHttpPattern", "field": [text("kind", 1), text("path", 2)]},
        ],
        "extension": [option],
    });
    let method = |(name, options): (&String, &Value)| json!({"name": name, "inputType": ".a.M", "outputType": ".a.M", "options": options});
    let methods: Vec<_> = methods.as_object().into_iter().flatten().map(method).collect();
    let own = json!({
        "name": "a.proto", "package": "a", "syntax": "proto3", "dependency": ["google/api/annotations.proto"],
        "messageType": [{"name": "M", "field": [text("name", 1), text("id", 2), text("shelf", 3)]}],
        "service": [{"name": "Svc", "method": methods}],
    });
    // Sets that follow each other are one.
    let mut all = known.encode_to_vec();
    all.extend(set(&global, &[annotations]));
    let pool = DescriptorPool::decode(all.as_slice()).expect("valid");
    all.extend(set(&pool, &[own]));
    all
}
