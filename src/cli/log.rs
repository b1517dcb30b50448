//! The program's log, whose filter can be changed while it runs.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::args::LogFormat;
use crate::telemetry::log::LogFilter;

/// The filter, in a place where the subscriber looks at it.
#[derive(Debug)]
struct Reloadable {
    handle: reload::Handle<EnvFilter, Registry>,
    /// As it was given, which says more than what the filter makes of it.
    levels: Mutex<String>,
}

impl LogFilter for Reloadable {
    fn levels(&self) -> String {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, levels: &str) -> Result<(), String> {
        let filter = parse(levels)?;
        // Held until the filter is the new one, so that both always are of the same levels.
        let mut known = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        self.handle.reload(filter).map_err(|error| error.to_string())?;
        levels.clone_into(&mut known);
        Ok(())
    }
}

/// What is logged if nothing is said.
pub(super) const DEFAULT: &str = "info";

/// Whether these levels can be used, or why not.
pub(super) fn check(levels: &str) -> Result<(), String> {
    parse(levels).map(drop)
}

fn parse(levels: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(levels).map_err(|error| format!("{error}; use for example info or confcast=debug"))
}

/// Begins to log, to the standard error output. Returns what changes the filter.
pub(super) fn start(levels: &str, format: LogFormat) -> anyhow::Result<Arc<dyn LogFilter>> {
    let filter = parse(levels).map_err(anyhow::Error::msg).with_context(|| format!("--log {levels}"))?;
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => registry.with(lines.with_target(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .context("the log")?;
    Ok(Arc::new(Reloadable { handle, levels: Mutex::new(levels.to_owned()) }))
}
