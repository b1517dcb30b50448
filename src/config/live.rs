//! Settings that change while the server runs.
//!
//! Each is read where it is used, so that a change holds for the next connection, stream, watcher or request, and what
//! there is already stays. Readers never wait: the settings are immutable, behind one pointer.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::Config;
use super::admin::AdminAccess;
use super::limits::Limits;
use crate::serve::Times;

/// What can change, with the meaning that it has in [`Config`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSettings {
    /// What clients may hold at the same time.
    pub limits: Limits,
    /// How connections are timed.
    pub times: Times,
    /// Who may do more than look on the admin port.
    pub admin: AdminAccess,
    /// How often a space is sent on an idle gateway watch; none for never.
    pub gateway_keepalive: Option<Duration>,
    /// How long running requests may take when the server stops.
    pub drain: Duration,
    /// Over what time watch streams are ended before that.
    pub drain_spread: Duration,
}

impl LiveSettings {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            limits: config.limits,
            times: config.times,
            admin: config.admin.clone(),
            gateway_keepalive: config.gateway_keepalive,
            drain: config.drain,
            drain_spread: config.drain_spread,
        }
    }
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self::of(&Config::default())
    }
}

/// What came of it when settings were last read again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// When, in seconds since 1970.
    pub at: f64,
    /// Why they could not be used, so that those from before hold; none if they hold.
    pub failure: Option<String>,
    /// Names of the settings that are not as the server was started, and have to wait until it is started again.
    pub need_restart: Vec<String>,
}

/// The settings as they are now. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    settings: ArcSwap<LiveSettings>,
    reading: ArcSwapOption<Reading>,
}

impl Live {
    /// Begins with these.
    pub fn new(settings: LiveSettings) -> Self {
        let live = Self::default();
        live.set(settings);
        live
    }

    /// The settings now. Not to be held for long.
    pub fn get(&self) -> impl Deref<Target = Arc<LiveSettings>> + use<> {
        self.0.settings.load()
    }

    /// Changes them.
    pub fn set(&self, settings: LiveSettings) {
        self.0.settings.store(Arc::new(settings));
    }

    /// What came of it when they were last read again; none if they never were.
    pub fn reading(&self) -> Option<Arc<Reading>> {
        self.0.reading.load_full()
    }

    /// Tells what came of it.
    pub fn note(&self, reading: Reading) {
        self.0.reading.store(Some(Arc::new(reading)));
    }
}
