//! Settings of a replica that publishes into an etcd.

use super::upstream::UpstreamConfig;
use crate::publish::Settings;

/// Where and how the source's configuration is published.
#[derive(Clone, Debug)]
pub struct PublishConfig {
    /// The etcd, which is also what the replica serves.
    pub upstream: UpstreamConfig,
    /// The election, and what is written.
    pub settings: Settings,
}
