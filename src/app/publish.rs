//! A replica that publishes: the source and its view, as long as they are needed, and the publisher.

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{StartError, UPDATES};
use crate::admin;
use crate::config::{Config, PublishConfig, Source};
use crate::publish::{Publisher, Standby, Status, Wanted};
use crate::standalone::Standalone;
use crate::traces::Traces;
use crate::translate::{self, Translator};
use crate::view::{Guard, Pace, Target, View};
use crate::xds::config::XdsConfig;
use crate::xds::{driver, files};

/// What there is to see of a publisher.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) view: Option<admin::View>,
    pub(super) status: watch::Receiver<Status>,
}

/// Starts the publisher, and the source that it publishes.
pub(super) fn start(
    publish: &PublishConfig,
    config: &Config,
    (guard, traces): (watch::Receiver<Guard>, Traces),
    background: &CancellationToken,
    core: &mut JoinSet<&'static str>,
) -> Result<Shown, StartError> {
    let standby = publish.settings.standby;
    let (publisher, desk) = Publisher::new(publish.settings.clone(), &publish.upstream)?;
    let (status, mut leads) = (desk.status(), desk.status());
    let token = background.clone();
    core.spawn(async move {
        publisher.run(token).await;
        "publisher"
    });
    let feed = Feed {
        source: config.source.clone(),
        pace: config.pace,
        guard,
        traces,
        options: config.translate,
        wanted: desk.place(),
    };
    let token = background.clone();
    if standby == Standby::Warm {
        let view = feed.view();
        let shown = admin::View {
            status: view.status(),
            report: view.report(),
            origins: Some(view.origins()),
            wanted: Some(feed.wanted.subscribe()),
        };
        core.spawn(async move {
            feed.run(view, token).await;
            "source and view"
        });
        return Ok(Shown { view: Some(shown), status });
    }
    core.spawn(async move {
        loop {
            let elected = leads.wait_for(|status| status.term.is_some());
            tokio::select! {
                () = token.cancelled() => break,
                elected = elected => if elected.is_err() { break },
            }
            let term = token.child_token();
            tokio::select! {
                () = feed.run(feed.view(), term.clone()) => {}
                _ = leads.wait_for(|status| status.term.is_none()) => {}
            }
            term.cancel();
            // What is wanted is not known any more.
            feed.wanted.send_replace(None);
        }
        "source and view"
    });
    Ok(Shown { view: None, status })
}

/// Tells the publisher what a source wants.
struct Feed {
    source: Source,
    pace: Pace,
    guard: watch::Receiver<Guard>,
    traces: Traces,
    options: translate::Options,
    wanted: watch::Sender<Option<Wanted>>,
}

impl Feed {
    fn view(&self) -> View {
        View::new(Translator::new(self.options), Target::Publisher(self.wanted.clone()), self.pace)
            .guarded(self.guard.clone())
            .traced(self.traces.clone())
    }

    /// Follows the source until `token` is cancelled.
    async fn run(&self, view: View, token: CancellationToken) {
        let (sender, updates) = mpsc::channel(UPDATES);
        let view = view.run(updates, token.clone());
        match &self.source {
            Source::None | Source::Etcd(_) => token.cancelled().await,
            Source::ApisixYaml(config) => {
                let target = Target::Publisher(self.wanted.clone());
                Standalone::new(config.clone(), target, self.guard.clone()).run(token).await;
            }
            Source::Xds(config) => {
                tokio::join!(driver::run(XdsConfig::clone(config), sender, token), view);
            }
            Source::XdsFiles(config) => {
                tokio::join!(files::run(config.clone(), sender, token), view);
            }
        }
    }
}
