//! Decoding a resource, and the checks whose failure a control plane is told of.

use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use prost::Message;

use super::resource::{Resource, ResourceType};

/// Why a resource cannot be taken. What is merely not supported is no reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not such a message.
    #[error("not a {kind:?}: {reason}")]
    Malformed {
        /// What it should have been.
        kind: ResourceType,
        /// What is wrong.
        reason: String,
    },
    /// The name by which it is referred to is missing.
    #[error("a {0:?} without a name")]
    NoName(ResourceType),
    /// A message that no Envoy takes.
    #[error("{kind:?} {name}: {reason}")]
    Invalid {
        /// The type.
        kind: ResourceType,
        /// The name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// Reads a resource of a known type.
pub fn decode(kind: ResourceType, bytes: &[u8]) -> Result<Resource, DecodeError> {
    fn read<M: Message + Default>(kind: ResourceType, bytes: &[u8]) -> Result<Box<M>, DecodeError> {
        let message = M::decode(bytes).map_err(|error| DecodeError::Malformed { kind, reason: error.to_string() })?;
        Ok(Box::new(message))
    }
    let resource = match kind {
        ResourceType::Cluster => Resource::Cluster(read(kind, bytes)?),
        ResourceType::Endpoints => Resource::Endpoints(read(kind, bytes)?),
        ResourceType::Listener => Resource::Listener(read(kind, bytes)?),
        ResourceType::Route => Resource::Route(read(kind, bytes)?),
        ResourceType::Secret => Resource::Secret(read(kind, bytes)?),
    };
    check(&resource)?;
    Ok(resource)
}

/// The checks that Envoy makes of such a resource and that matter here.
pub fn check(resource: &Resource) -> Result<(), DecodeError> {
    let kind = resource.resource_type();
    if resource.name().is_empty() {
        return Err(DecodeError::NoName(kind));
    }
    let problem = match resource {
        Resource::Route(route) => route_problem(route),
        Resource::Cluster(_) | Resource::Endpoints(_) | Resource::Listener(_) | Resource::Secret(_) => None,
    };
    problem.map_or(Ok(()), |reason| Err(DecodeError::Invalid { kind, name: resource.name().to_owned(), reason }))
}

/// Two virtual hosts with one name, or one domain in two of them, have no meaning.
fn route_problem(route: &RouteConfiguration) -> Option<String> {
    let mut names = std::collections::HashSet::new();
    let mut domains = std::collections::HashSet::new();
    for host in &route.virtual_hosts {
        if host.name.is_empty() {
            return Some("a virtual host without a name".into());
        }
        if !names.insert(&host.name) {
            return Some(format!("two virtual hosts named {}", host.name));
        }
        if host.domains.is_empty() {
            return Some(format!("virtual host {} has no domains", host.name));
        }
        if let Some(domain) = host.domains.iter().find(|domain| !domains.insert(domain.to_ascii_lowercase())) {
            return Some(format!("domain {domain} is in two virtual hosts"));
        }
        if let Some(position) = host.routes.iter().position(|route| route.r#match.is_none()) {
            return Some(format!("route {position} of virtual host {} has no match", host.name));
        }
    }
    None
}
