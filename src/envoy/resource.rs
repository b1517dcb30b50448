//! The five resource types that confcast subscribes to.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;

/// Type of an xDS resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceType {
    /// CDS, `envoy.config.cluster.v3.Cluster`.
    Cluster,
    /// EDS, `envoy.config.endpoint.v3.ClusterLoadAssignment`.
    Endpoints,
    /// LDS, `envoy.config.listener.v3.Listener`.
    Listener,
    /// RDS, `envoy.config.route.v3.RouteConfiguration`.
    Route,
    /// SDS, `envoy.extensions.transport_sockets.tls.v3.Secret`.
    Secret,
}

impl ResourceType {
    /// Every type, in the order in which a control plane is meant to send them (make before break).
    pub const ALL: [Self; 5] = [Self::Cluster, Self::Endpoints, Self::Listener, Self::Route, Self::Secret];

    /// The type URL on the wire.
    pub const fn url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        }
    }

    /// The type with this URL, if it is one of the five.
    pub fn from_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.url() == url)
    }
}

/// A decoded resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// A cluster.
    Cluster(Box<Cluster>),
    /// The endpoints of a cluster.
    Endpoints(Box<ClusterLoadAssignment>),
    /// A listener.
    Listener(Box<Listener>),
    /// A route configuration.
    Route(Box<RouteConfiguration>),
    /// A secret.
    Secret(Box<Secret>),
}

impl Resource {
    /// The type of this resource.
    pub fn resource_type(&self) -> ResourceType {
        match self {
            Self::Cluster(_) => ResourceType::Cluster,
            Self::Endpoints(_) => ResourceType::Endpoints,
            Self::Listener(_) => ResourceType::Listener,
            Self::Route(_) => ResourceType::Route,
            Self::Secret(_) => ResourceType::Secret,
        }
    }

    /// The name by which the resource is subscribed to and referred to.
    pub fn name(&self) -> &str {
        match self {
            Self::Cluster(cluster) => &cluster.name,
            Self::Endpoints(endpoints) => &endpoints.cluster_name,
            Self::Listener(listener) => &listener.name,
            Self::Route(route) => &route.name,
            Self::Secret(secret) => &secret.name,
        }
    }
}

/// One step of change in the set of resources that a source holds.
#[derive(Clone, Debug, PartialEq)]
pub enum ResourceChange {
    /// The resource is new or has new content.
    Set(Resource),
    /// The resource is gone.
    Remove(ResourceType, String),
}
