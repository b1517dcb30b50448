//! The content of one file: what forms it can have, and what can be wrong with it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::dump;
use crate::envoy::json::{self, Unknown};
use crate::envoy::{Resource, ResourceType};

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// Which resource in it, counted from 1, with its name if it has one.
    pub resource: Option<String>,
    /// What is wrong, with line and column when they are known.
    pub reason: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        if let Some(resource) = &self.resource {
            write!(f, "{resource}: ")?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for FileError {}

/// Reads the resources of a file: one, a list of them, a `DiscoveryResponse`, a dump of Envoy's configuration, or
/// several such YAML documents.
///
/// All or nothing: half of a file is no state that anybody wanted.
pub(crate) fn read(path: &Path, content: &[u8]) -> Result<Vec<Resource>, FileError> {
    let error = |resource, reason| FileError { path: path.into(), resource, reason };
    let text = std::str::from_utf8(content).map_err(|reason| error(None, format!("not UTF-8: {reason}")))?;
    let documents = if path.extension().is_some_and(|extension| extension == "json") {
        serde_json::from_str(text).map(|value| vec![value]).map_err(|reason| error(None, reason.to_string()))?
    } else {
        serde_saphyr::from_multiple::<Value>(text).map_err(|reason| error(None, reason.to_string()))?
    };
    let kind = kind_of(path);
    let mut resources = Vec::new();
    let values = documents.into_iter().flat_map(resources_of);
    for (position, (value, unknown)) in values.enumerate() {
        let name = ["name", "cluster_name", "clusterName"].iter().find_map(|field| value.get(field)?.as_str());
        let label = match name {
            Some(name) => format!("resource {} ({name})", position + 1),
            None => format!("resource {}", position + 1),
        };
        resources.push(json::read(value, kind, unknown).map_err(|reason| error(Some(label), reason.to_string()))?);
    }
    Ok(resources)
}

/// Fields of a response beside its resources. One that has nothing else is empty.
const OF_RESPONSE: [&str; 6] = ["version_info", "versionInfo", "type_url", "typeUrl", "nonce", "canary"];

/// The resources of a document, and what is done with fields that are not known.
fn resources_of(document: Value) -> Vec<(Value, Unknown)> {
    match document {
        // Dumped by an Envoy that may be newer than what is known here.
        Value::Object(fields) if dump::is_dump(&fields) => {
            dump::resources(fields).into_iter().map(|value| (value, Unknown::Ignored)).collect()
        }
        written => of_written(written).into_iter().map(|value| (value, Unknown::Refused)).collect(),
    }
}

/// The resources of a document that was written by hand or by a control plane.
fn of_written(document: Value) -> Vec<Value> {
    match document {
        Value::Null => Vec::new(),
        Value::Array(items) => items.into_iter().map(unwrapped).collect(),
        Value::Object(mut fields) => match fields.remove("resources") {
            Some(Value::Array(items)) => items.into_iter().map(unwrapped).collect(),
            Some(other) => vec![other],
            None if fields.keys().all(|name| OF_RESPONSE.contains(&name.as_str())) => Vec::new(),
            None => vec![unwrapped(Value::Object(fields))],
        },
        other => vec![other],
    }
}

/// A resource inside the envelope that delta xDS puts around it.
fn unwrapped(value: Value) -> Value {
    match value {
        Value::Object(mut fields)
            if !fields.contains_key("@type") && fields.get("resource").is_some_and(Value::is_object) =>
        {
            fields.remove("resource").unwrap_or_default()
        }
        other => other,
    }
}

/// The type that a name like `mesh.clusters.yaml` gives to resources that do not say theirs.
fn kind_of(path: &Path) -> Option<ResourceType> {
    let name = path.file_name()?.to_str()?;
    name.split('.').rev().find_map(|part| match part {
        "clusters" | "cds" => Some(ResourceType::Cluster),
        "endpoints" | "eds" => Some(ResourceType::Endpoints),
        "listeners" | "lds" => Some(ResourceType::Listener),
        "routes" | "rds" => Some(ResourceType::Route),
        "secrets" | "sds" => Some(ResourceType::Secret),
        _ => None,
    })
}
