//! Where Envoy resources come from: a control plane over gRPC, or files.
//!
//! Both report the same [`Update`]s, so that what comes after does not know the difference.

pub mod config;
pub mod discovery;
pub mod driver;
pub mod engine;
pub mod files;

use crate::envoy::ResourceChange;
use crate::traces::Heard;

/// What a source has to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Resources that changed, in the order in which the source sent them.
    pub changes: Vec<ResourceChange>,
    /// Whether the source has all that its resources refer to.
    pub sync: Sync,
    /// When and where it was heard.
    pub heard: Heard,
}

/// Whether a source has all that its resources refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Not yet.
    Pending {
        /// Number of types and resources that are waited for.
        awaited: usize,
    },
    /// Everything that was asked for was answered, or given up.
    Complete,
}
