//! `confcast serve` and `confcast check`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::args::ServeArgs;
use super::reload::{self, Reload};
use super::settings;
use crate::app::Server;
use crate::config::live::Reading;
use crate::config::{Config, Source};
use crate::telemetry::log::LogFilter;
use crate::{standalone, telemetry, xds};

/// Runs a server until it is told to stop.
pub(super) fn serve(args: Box<ServeArgs>, log: Arc<dyn LogFilter>) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        let (reload, config) = Reload::start(*args)?;
        run(config, log, Some(reload), |_| {}).await
    })
}

/// Runs a server until SIGTERM, SIGINT or SIGQUIT. Settings are read again when they change, and on SIGHUP, if it is
/// known how.
pub(super) async fn run(
    mut config: Config,
    log: Arc<dyn LogFilter>,
    mut reload: Option<Reload>,
    started: impl FnOnce(&Server),
) -> anyhow::Result<ExitCode> {
    config.log = Some(log);
    config.metrics = Some(telemetry::install().context("metrics")?);
    reload::tell(&Reading { at: telemetry::now(), ..Reading::default() });
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut server = Server::start(config).await?;
    let admin = server.admin_address().map_or_else(|| "off".to_owned(), |address| address.to_string());
    tracing::info!(listen = %server.address(), %admin, version = env!("CARGO_PKG_VERSION"), "confcast is running");
    started(&server);
    loop {
        // All can be dropped and asked again without a loss.
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = quit.recv() => break,
            why = reload::asked(&mut reload) => if let Some(reload) = &mut reload { reload.run(why, &server).await },
            ended = server.failure() => {
                server.shutdown().await;
                return Err(ended.into());
            }
        }
    }
    tracing::info!("stopping: running requests are finished, watch streams are ended");
    server.shutdown().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Checks settings and the files that they name.
pub(super) fn check(args: Box<ServeArgs>) -> anyhow::Result<ExitCode> {
    let config = settings::resolve(*args)?;
    if let Source::XdsFiles(files) = &config.source {
        let (resources, errors) = xds::files::load(&files.paths);
        for error in &errors {
            eprintln!("error: {error}");
        }
        if !errors.is_empty() {
            return Ok(ExitCode::FAILURE);
        }
        println!("{} resources", resources.len());
    }
    if let Source::ApisixYaml(yaml) = &config.source {
        let content = std::fs::read(&yaml.path).with_context(|| yaml.path.display().to_string())?;
        let objects = standalone::read(&content).with_context(|| yaml.path.display().to_string())?;
        println!("{} objects", objects.len());
    }
    println!("the settings are good");
    Ok(ExitCode::SUCCESS)
}
