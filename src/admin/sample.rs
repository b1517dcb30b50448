//! Metrics of what is counted anyway, taken when they are looked at.

use metrics::gauge;

use super::Admin;
use crate::apisix::Kind;
use crate::rpc::node::{CLUSTER_VERSION, ETCD_VERSION};
use crate::store::{KeyRange, Origin, Revision, Snapshot};
use crate::telemetry::exposition::Text;
use crate::telemetry::{etcd, process, serve, store, translation, watch};
use crate::translate::Fidelity;

/// Sets the metrics of the server as it is, and returns those that the recorder cannot hold.
pub(super) fn sample(admin: &Admin) -> String {
    let mut text = Text::default();
    let snapshot = admin.node.store.snapshot();
    sample_store(&snapshot);
    sample_watch(admin);
    sample_translation(admin, &snapshot);
    gauge!(serve::READY).set(f64::from(u8::from(admin.node.readiness.is_ready())));
    process::sample(&mut text);
    text.into_string()
}

fn sample_store(snapshot: &Snapshot) {
    let (commits, bytes) = snapshot.log_size();
    let size: usize = snapshot.range(&KeyRange::all()).map(|record| record.size()).sum();
    gauge!(store::REVISION).set(revision(snapshot.revision()));
    gauge!(store::KEYS).set(count(snapshot.len()));
    gauge!(store::BYTES).set(count(size));
    gauge!(store::LOG_COMMITS).set(count(commits));
    gauge!(store::LOG_BYTES).set(count(bytes));
    gauge!(store::LOG_START).set(revision(snapshot.log_start()));
    gauge!(etcd::HAS_LEADER).set(1);
    gauge!(etcd::IS_LEADER).set(1);
    gauge!(etcd::SERVER_VERSION, "server_version" => ETCD_VERSION).set(1);
    gauge!(etcd::CLUSTER, "cluster_version" => CLUSTER_VERSION).set(1);
    gauge!(etcd::KEYS).set(count(snapshot.len()));
    gauge!(etcd::CURRENT_REVISION).set(revision(snapshot.revision()));
    gauge!(etcd::COMPACT_REVISION).set(revision(snapshot.compacted()).max(0.0));
    gauge!(etcd::SIZE).set(count(size));
    gauge!(etcd::SIZE_IN_USE).set(count(size));
}

fn sample_watch(admin: &Admin) {
    let hub = &admin.node.hub;
    gauge!(watch::STREAMS).set(count(hub.streams()));
    gauge!(watch::WATCHERS).set(count(hub.watchers()));
    gauge!(watch::INTERESTS).set(count(hub.interests()));
    gauge!(etcd::WATCH_STREAMS).set(count(hub.streams()));
    gauge!(etcd::WATCHERS).set(count(hub.watchers()));
}

fn sample_translation(admin: &Admin, snapshot: &Snapshot) {
    let Some(view) = &admin.view else { return };
    for kind in Kind::ALL {
        let directory = format!("{}/{}/", view.prefix, kind.directory());
        // The directory's placeholder is no object.
        let range = KeyRange::prefix(directory.clone());
        let objects = snapshot.range(&range);
        let objects = objects.filter(|it| it.origin == Origin::Source && it.key.len() > directory.len()).count();
        gauge!(translation::OBJECTS, "kind" => kind.directory()).set(count(objects));
    }
    let report = view.report.load();
    for (fidelity, label) in [(Fidelity::Approximate, "approximate"), (Fidelity::NotExpressible, "not-expressible")] {
        let reported = report.entries.iter().filter(|entry| entry.fidelity == fidelity).count();
        gauge!(translation::REPORTED, "fidelity" => label).set(count(reported));
    }
    gauge!(translation::HELD).set(f64::from(u8::from(view.status.borrow().held)));
    metrics::counter!(translation::ROUNDS).absolute(view.status.borrow().rounds);
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers; revisions are below 10^14")]
fn revision(revision: Revision) -> f64 {
    revision.0 as f64
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn count(count: usize) -> f64 {
    count as f64
}
