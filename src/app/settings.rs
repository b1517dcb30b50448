//! Settings that change while the server runs, and those who have to be told.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::Server;
use crate::config::Config;
use crate::config::live::{Live, LiveSettings};
use crate::telemetry::log::LogFilter;
use crate::view::Guard;

/// Who has to be told, as they do not look by themselves.
#[derive(Debug)]
pub(super) struct Told {
    guard: watch::Sender<Guard>,
    log: Option<Arc<dyn LogFilter>>,
    /// What is logged according to the settings, from which an operator may have gone away.
    levels: Mutex<Option<String>>,
}

impl Told {
    pub(super) fn new(config: &Config) -> Self {
        let told = Self { guard: watch::Sender::new(config.guard), log: config.log.clone(), levels: Mutex::default() };
        told.set_levels(config.log_levels.as_deref());
        told
    }

    pub(super) fn guard(&self) -> watch::Receiver<Guard> {
        self.guard.subscribe()
    }

    /// Changes what is logged if the settings have changed, so that one who changed something else does not take back
    /// what somebody has set over the admin port.
    fn set_levels(&self, levels: Option<&str>) {
        let mut known = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() == levels {
            return;
        }
        *known = levels.map(str::to_owned);
        let (Some(log), Some(levels)) = (&self.log, levels) else { return };
        if let Err(error) = log.set(levels) {
            tracing::error!(error, levels, "what is logged stays as it is");
        }
    }
}

impl Server {
    /// Takes over what can change while the server runs: everything in [`LiveSettings`], what is logged, how long tokens
    /// are good, and when a change of the source is held back. The rest of `config` is for another start.
    pub fn apply(&self, config: &Config) {
        let settings = LiveSettings::of(config);
        self.node.auth.tune(config.auth_token_lifetime, settings.limits.failed_logins);
        self.node.live.set(settings);
        self.told.guard.send_if_modified(|guard| std::mem::replace(guard, config.guard) != config.guard);
        self.told.set_levels(config.log_levels.as_deref());
    }

    /// The settings that change while the server runs, as they are.
    pub fn live(&self) -> &Live {
        &self.node.live
    }
}
