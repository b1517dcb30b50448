//! Traces of the changes, if they are wanted.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::config::Config;
use crate::traces::Traces;
use crate::watch::Hub;

/// Starts what exports traces, and returns where it is told of changes.
#[cfg(feature = "otel")]
pub(super) fn start(
    config: &Config,
    hub: &Arc<Hub>,
    background: &CancellationToken,
    core: &mut JoinSet<&'static str>,
) -> Result<Traces, StartError> {
    let Some(config) = &config.traces else { return Ok(Traces::default()) };
    let (traces, follower) = crate::traces::follow::start(config).map_err(StartError::Traces)?;
    tracing::info!(endpoint = config.endpoint, sample = config.sample, "changes are traced");
    let (hub, token) = (hub.clone(), background.clone());
    core.spawn(async move {
        follower.run(hub, token).await;
        "traces"
    });
    Ok(traces)
}

/// Without the feature nothing is exported, which is said when settings are read.
#[cfg(not(feature = "otel"))]
#[expect(clippy::unnecessary_wraps, reason = "what can fail does with the feature")]
pub(super) fn start(
    _: &Config,
    _: &Arc<Hub>,
    _: &CancellationToken,
    _: &mut JoinSet<&'static str>,
) -> Result<Traces, StartError> {
    Ok(Traces::default())
}
