//! The source of a server that serves it: what follows it, and what brings it into the store.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::UPDATES;
use crate::admin;
use crate::config::{Config, Source};
use crate::readiness::Readiness;
use crate::rpc::Node;
use crate::standalone::Standalone;
use crate::traces::Traces;
use crate::translate::Translator;
use crate::view::{Guard, Sink, Status, View};
use crate::xds::config::XdsConfig;
use crate::xds::{Update, driver, files};

/// Starts the source and the view that follows it.
pub(super) fn start(
    config: &Config,
    node: &Node,
    (guard, traces): (watch::Receiver<Guard>, Traces),
    background: &CancellationToken,
    core: &mut JoinSet<&'static str>,
) -> Option<admin::View> {
    let prefix = &config.prefix;
    let (sender, updates) = mpsc::channel::<Update>(UPDATES);
    match &config.source {
        Source::None | Source::Etcd(_) => return None,
        Source::ApisixYaml(yaml) => {
            let sink = Sink::new(node.store.clone(), prefix.as_str());
            let source = Standalone::new(yaml.clone(), sink, guard);
            let status = source.status();
            let shown = admin::View { status: status.clone(), report: Arc::default(), origins: None, wanted: None };
            let token = background.clone();
            follow(async move { source.run(token).await }, status, node.readiness.clone(), core);
            return Some(shown);
        }
        Source::Xds(config) => {
            let run = driver::run(XdsConfig::clone(config), sender, background.clone());
            core.spawn(async move {
                run.await;
                "xDS source"
            });
        }
        Source::XdsFiles(config) => {
            let run = files::run(config.clone(), sender, background.clone());
            core.spawn(async move {
                run.await;
                "file source"
            });
        }
    }
    let view =
        View::new(Translator::new(config.translate), Sink::new(node.store.clone(), prefix.as_str()), config.pace)
            .guarded(guard)
            .traced(traces);
    let shown =
        admin::View { status: view.status(), report: view.report(), origins: Some(view.origins()), wanted: None };
    let (status, token) = (view.status(), background.clone());
    follow(async move { view.run(updates, token).await }, status, node.readiness.clone(), core);
    Some(shown)
}

/// Runs what brings a configuration into the store, and says when the first is there.
fn follow(
    run: impl Future<Output = ()> + Send + 'static,
    mut status: watch::Receiver<Status>,
    readiness: Readiness,
    core: &mut JoinSet<&'static str>,
) {
    core.spawn(async move {
        let loaded = async {
            if status.wait_for(|status| status.loaded).await.is_ok() {
                readiness.loaded();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = run => {}
            () = loaded => {}
        }
        "view"
    });
}
