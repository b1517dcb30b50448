//! Settings of a replica that publishes into an etcd.

use super::upstream::UpstreamConfig;
use crate::publish::{Settings, Upstream};

/// Where and how the source's configuration is published.
#[derive(Clone, Debug)]
pub struct PublishConfig {
    /// The etcd.
    pub upstream: Upstream,
    /// The same, as what the replica serves.
    pub mirrored: UpstreamConfig,
    /// The election, and what is written.
    pub settings: Settings,
}
