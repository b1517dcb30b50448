//! Settings that are read again while the server runs: on SIGHUP, and when their file changes.
//!
//! Flags and environment are what they were, and come before the file as at the start. Either all that can change is
//! taken over, or, if anything is wrong, nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::args::ServeArgs;
use super::settings::file::{self, LIVE};
use super::settings::{self, SettingsError};
use crate::app::Server;
use crate::config::Config;
use crate::config::live::Reading;
use crate::telemetry::{now, settings as metrics};

/// How often the file is looked at. It is small, and what mounts it gives no better sign that works everywhere.
const POLL: Duration = Duration::from_secs(5);

/// For how long it has to stay as it is before it is taken over: what is read while it is written may be shorter, and no
/// less correct.
const REST: Duration = Duration::from_millis(500);

/// The name of the setting whose file is a part of the settings: the secret of tokens.
const SECRET: &str = "auth_token_key_file";

/// How settings are read again.
#[derive(Debug)]
pub(super) struct Reload {
    args: ServeArgs,
    /// What the file said when the server started.
    started: toml::Table,
    /// What it said when it was last taken over.
    taken: toml::Table,
    /// The secret of the start.
    secret: Option<Vec<u8>>,
    /// The file as it was last looked at; what was wrong with it if it could not be read.
    seen: Result<String, String>,
    /// The same, if it was another one then and may still be written.
    restless: Option<Result<String, String>>,
    hangup: Signal,
    look: Interval,
}

/// Why settings are read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// SIGHUP.
    Signal,
    /// It may be that their file has changed.
    Look,
}

impl Reload {
    /// Reads the settings for the first time. Needs a runtime.
    pub(super) fn start(args: ServeArgs) -> anyhow::Result<(Self, Config)> {
        let text = args.config.as_deref().map(file::text).transpose()?.unwrap_or_default();
        let config = settings::resolve_with(args.clone(), &text)?;
        let started: toml::Table = toml::from_str(&text).unwrap_or_default();
        let (taken, secret) = (started.clone(), config.auth_token_key.clone());
        let (hangup, mut look) = (signal(SignalKind::hangup())?, tokio::time::interval_at(Instant::now() + POLL, POLL));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok((Self { args, started, taken, secret, seen: Ok(text), restless: None, hangup, look }, config))
    }

    /// Waits until they are to be read again. Can be dropped and asked again.
    async fn asked(&mut self) -> Why {
        tokio::select! {
            _ = self.hangup.recv() => Why::Signal,
            _ = self.look.tick(), if self.args.config.is_some() => Why::Look,
        }
    }

    /// Reads them, and has the server take them over.
    pub(super) async fn run(&mut self, why: Why, server: &Server) {
        let Some(path) = self.args.config.clone() else {
            tracing::info!("there is no file with settings that could be read again (--config)");
            return;
        };
        let text = match tokio::fs::read_to_string(&path).await {
            Ok(text) => Ok(text),
            Err(error) => Err(error.to_string()),
        };
        let before = self.restless.take();
        if why == Why::Look && text == self.seen {
            return;
        }
        if why == Why::Look && before.as_ref() != Some(&text) {
            self.restless = Some(text);
            self.look.reset_after(REST);
            return;
        }
        self.seen.clone_from(&text);
        let args = self.args.clone();
        // Looks at other files as well, and asks for addresses of names.
        let read = tokio::task::spawn_blocking(move || {
            let text = text.map_err(|error| settings::wrong("--config", error))?;
            settings::resolve_with(args, &text).map(|config| (toml::from_str(&text).unwrap_or_default(), config))
        });
        let reading = match read.await {
            Ok(Ok((table, config))) => self.take(&path, table, &config, server),
            Ok(Err(error)) => refuse(&path, &error, server),
            Err(error) => refuse(&path, &settings::wrong("--config", error), server),
        };
        tell(&reading);
        server.live().note(reading);
    }

    fn take(&mut self, path: &Path, table: toml::Table, config: &Config, server: &Server) -> Reading {
        server.apply(config);
        let (is_live, is_given) = (|name: &str| LIVE.contains(&name), |name: &str| self.is_given(name));
        let changed = changed(&self.taken, &table);
        for setting in changed.iter().filter(|name| is_given(name)) {
            tracing::info!(setting, "is given by a flag or a variable, which comes before the file");
        }
        let mut need_restart: Vec<_> = self::changed(&self.started, &table).into_iter().collect();
        need_restart.retain(|name| !is_live(name) && !is_given(name));
        if config.auth_token_key != self.secret && !need_restart.iter().any(|name| name == SECRET) {
            need_restart.push(SECRET.to_owned());
        }
        for setting in &need_restart {
            tracing::warn!(setting, "needs a restart");
        }
        let live: Vec<_> = changed.iter().filter(|name| is_live(name) && !is_given(name)).cloned().collect();
        tracing::info!(file = %path.display(), changed = live.join(", "), "the settings were read again");
        self.taken = table;
        Reading { at: now(), failure: None, need_restart }
    }

    /// Whether what the file says of a setting does not matter.
    fn is_given(&self, name: &str) -> bool {
        self.args.given.iter().any(|given| given == name)
    }
}

/// Leaves everything as it was.
fn refuse(path: &Path, error: &SettingsError, server: &Server) -> Reading {
    tracing::error!(file = %path.display(), %error, "the settings cannot be used; those from before hold");
    let before = server.live().reading();
    let need_restart = before.map(|before| before.need_restart.clone()).unwrap_or_default();
    Reading { at: now(), failure: Some(error.to_string()), need_restart }
}

/// Waits until settings are to be read again; for ever if there are none.
pub(super) async fn asked(reload: &mut Option<Reload>) -> Why {
    match reload {
        Some(reload) => reload.asked().await,
        None => std::future::pending().await,
    }
}

/// Tells metrics what came of it.
#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
pub(super) fn tell(reading: &Reading) {
    ::metrics::gauge!(metrics::GOOD).set(f64::from(u8::from(reading.failure.is_none())));
    ::metrics::gauge!(metrics::LAST_READ).set(reading.at);
    ::metrics::gauge!(metrics::NEED_RESTART).set(reading.need_restart.len() as f64);
}

/// The names of what is different.
fn changed(old: &toml::Table, new: &toml::Table) -> BTreeSet<String> {
    let names = old.keys().chain(new.keys());
    names.filter(|name| old.get(*name) != new.get(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_no_more_has_changed_too() {
        let table = |text| toml::from_str::<toml::Table>(text).expect("TOML");
        let old = table("a = 1\nb = [1, 2]\nc = 'x'\n[d]\ne = 1");
        let new = table("b = [2, 1]\nc = 'x'\nf = 1\n[d]\ne = 2");
        assert_eq!(changed(&old, &new).into_iter().collect::<Vec<_>>(), ["a", "b", "d", "f"]);
        assert!(changed(&old, &old).is_empty());
    }
}
