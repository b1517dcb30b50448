//! Descriptors of Envoy's messages, by which files in proto3 JSON are read.
//!
//! They come with the crate that has the messages as Rust types; here they are reduced to what a configuration can
//! hold, without comments, which makes them small enough to be part of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

use super::Files;

/// Files that a configuration may hold messages of, by the beginning of their name. What they import comes along.
const WANTED: [&str; 14] = [
    "envoy/service/discovery/v3/discovery.proto",
    "envoy/config/bootstrap/v3/",
    "envoy/config/cluster/v3/",
    "envoy/config/endpoint/v3/endpoint.proto",
    "envoy/config/listener/v3/",
    "envoy/config/route/v3/",
    "envoy/config/trace/v3/",
    "envoy/admin/v3/config_dump",
    "envoy/extensions/",
    "envoy/type/matcher/v3/",
    "xds/type/matcher/v3/",
    "google/protobuf/struct.proto",
    "google/protobuf/wrappers.proto",
    "google/protobuf/empty.proto",
];

/// Generates `src/envoy/descriptors.binpb`.
pub(super) fn generate() -> Result<Files> {
    let path = source()?;
    let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
    let all = FileDescriptorSet::decode(bytes.as_slice())?;
    let by_name: BTreeMap<String, FileDescriptorProto> =
        all.file.into_iter().map(|file| (file.name().to_owned(), file)).collect();
    let mut wanted = BTreeSet::new();
    let mut ordered = Vec::new();
    for name in by_name.keys().filter(|name| WANTED.iter().any(|prefix| name.starts_with(prefix))) {
        collect(name, &by_name, &mut wanted, &mut ordered);
    }
    let mut file: Vec<_> =
        ordered.into_iter().map(|file| FileDescriptorProto { source_code_info: None, ..file }).collect();
    file.push(typed_struct());
    let set = FileDescriptorSet { file };
    Ok(Files::from([("src/envoy/descriptors.binpb".into(), set.encode_to_vec())]))
}

/// The file of `xds.type.v3.TypedStruct`, which the crate has not: a message of a type that is not known.
fn typed_struct() -> FileDescriptorProto {
    let field = |name: &str, number, kind: Type, type_name: Option<&str>| FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        type_name: type_name.map(Into::into),
        ..FieldDescriptorProto::default()
    };
    let message = DescriptorProto {
        name: Some("TypedStruct".into()),
        field: vec![
            field("type_url", 1, Type::String, None),
            field("value", 2, Type::Message, Some(".google.protobuf.Struct")),
        ],
        ..DescriptorProto::default()
    };
    FileDescriptorProto {
        name: Some("xds/type/v3/typed_struct.proto".into()),
        package: Some("xds.type.v3".into()),
        dependency: vec!["google/protobuf/struct.proto".into()],
        message_type: vec![message],
        syntax: Some("proto3".into()),
        ..FileDescriptorProto::default()
    }
}

/// Adds a file after those that it imports.
fn collect(
    name: &str,
    by_name: &BTreeMap<String, FileDescriptorProto>,
    seen: &mut BTreeSet<String>,
    ordered: &mut Vec<FileDescriptorProto>,
) {
    let Some(file) = by_name.get(name) else { return };
    if seen.insert(name.to_owned()) {
        for import in &file.dependency {
            collect(import, by_name, seen, ordered);
        }
        ordered.push(file.clone());
    }
}

/// The descriptor file in the source of the `envoy-types` crate.
fn source() -> Result<PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo).args(["metadata", "--format-version=1", "--locked"]).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let package = packages.iter().find(|package| package["name"] == "envoy-types").context("no envoy-types")?;
    let manifest = PathBuf::from(package["manifest_path"].as_str().context("no manifest_path")?);
    Ok(manifest.parent().context("a manifest is in a folder")?.join("src/generated/types.bin"))
}
