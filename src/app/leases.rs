//! The clock of the leases.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::{Store, Writer};

/// How often leases are looked at, as etcd does.
const LEASE_TICK: Duration = Duration::from_millis(500);

/// Ends leases whose time is over.
pub(super) async fn expire(store: Store, token: CancellationToken) -> &'static str {
    let mut tick = tokio::time::interval(LEASE_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = token.cancelled() => return "lease clock",
            _ = tick.tick() => {}
        }
        if let Err(error) = store.submit(Writer::expire_leases).await {
            tracing::error!(%error, "leases could not be ended");
        }
    }
}
