//! Metrics of what is counted anyway, taken when they are looked at.

use std::collections::HashMap;

use metrics::{counter, gauge};

use super::Admin;
use crate::apisix::Kind;
use crate::rpc::node::{CLUSTER_VERSION, ETCD_VERSION};
use crate::serve::traffic::Version;
use crate::store::{KeyRange, Origin, Revision, Snapshot};
use crate::telemetry::exposition::Text;
use crate::telemetry::{calls, etcd, process, serve, store, translation, watch};
use crate::translate::Fidelity;
use crate::watch::{Protocol, Scope};

/// Sets the metrics of the server as it is, and returns those that the recorder cannot hold.
pub(super) fn sample(admin: &Admin) -> String {
    let mut text = Text::default();
    let snapshot = admin.node.store.snapshot();
    sample_store(&snapshot);
    sample_watch(admin);
    sample_translation(admin, &snapshot);
    sample_traffic();
    gauge!(serve::MEMORY).set(count(admin.node.memory.used()));
    gauge!(serve::RANGES).set(count(admin.node.ranges.kept() + admin.node.ranges.outdated()));
    gauge!(serve::BUDGET).set(count(admin.budget.map_or(0, |budget| budget.0)));
    gauge!(serve::READY).set(f64::from(u8::from(admin.node.readiness.is_ready())));
    calls::sample(&mut text);
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
    gauge!(store::MEMORY).set(count(snapshot.memory()));
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

fn sample_traffic() {
    for version in Version::ALL {
        let name = match version {
            Version::Http1 => serve::HTTP1,
            Version::Http2 => serve::HTTP2,
        };
        let [sent, received] = version.totals();
        counter!(serve::SENT, "protocol" => name).absolute(sent);
        counter!(serve::RECEIVED, "protocol" => name).absolute(received);
        if version == Version::Http2 {
            counter!(etcd::SENT).absolute(sent);
            counter!(etcd::RECEIVED).absolute(received);
        }
    }
}

fn sample_watch(admin: &Admin) {
    let hub = &admin.node.hub;
    for protocol in Protocol::ALL {
        let (name, sent) = (protocol.name(), hub.sent(protocol));
        gauge!(watch::STREAMS, "protocol" => name).set(count(hub.streams_of(protocol)));
        counter!(watch::DELIVERIES, "protocol" => name).absolute(sent.deliveries);
        counter!(watch::EVENTS, "protocol" => name).absolute(sent.events);
        counter!(watch::SENT_BYTES, "protocol" => name).absolute(sent.bytes);
    }
    let mut watchers: HashMap<_, usize> = watch::DIRECTORIES.iter().map(|directory| (*directory, 0)).collect();
    for interest in hub.all_interests() {
        *watchers.entry(directory(&admin.prefix, interest.scope())).or_default() += interest.watchers();
    }
    for (directory, watchers) in watchers {
        gauge!(watch::WATCHERS, "directory" => directory).set(count(watchers));
    }
    let lag = hub.lag();
    gauge!(watch::BEHIND).set(count(lag.streams));
    gauge!(watch::LAG).set(count(usize::try_from(lag.revisions).unwrap_or(usize::MAX)));
    gauge!(watch::LAG_SECONDS).set(lag.age.as_secs_f64());
    gauge!(watch::INTERESTS).set(count(hub.interests()));
    gauge!(etcd::WATCH_STREAMS).set(count(hub.streams()));
    gauge!(etcd::WATCHERS).set(count(hub.watchers()));
}

/// Which of APISIX's directories is watched, in whole or in part.
fn directory(prefix: &str, scope: &Scope) -> &'static str {
    let range = &scope.range;
    let below = range.start().strip_prefix(prefix.as_bytes());
    let Some(below) = below.filter(|_| range.as_prefix().is_some() || range.as_single().is_some()) else {
        return watch::OTHER;
    };
    match below {
        b"" | b"/" if range.as_prefix().is_some() => watch::PREFIX,
        // With or without the slash, as versions of APISIX differ in it; or one key.
        [b'/', rest @ ..] => {
            let name = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
            let known = translation::KINDS.iter().find(|kind| kind.as_bytes() == name);
            known.copied().unwrap_or(watch::OTHER)
        }
        _ => watch::OTHER,
    }
}

fn sample_translation(admin: &Admin, snapshot: &Snapshot) {
    let Some(view) = &admin.view else { return };
    let wanted = view.wanted.as_ref().map(|wanted| wanted.borrow().clone().unwrap_or_default());
    for kind in Kind::ALL {
        let objects = if let Some(wanted) = &wanted {
            // Not those in the store, which has them from the etcd, beside those of others.
            wanted.iter().filter(|(key, _)| key.kind == kind).count()
        } else {
            let directory = format!("{}/{}/", admin.prefix, kind.directory());
            // The directory's placeholder is no object.
            let range = KeyRange::prefix(directory.clone());
            let objects = snapshot.range(&range);
            objects.filter(|it| it.origin == Origin::Source && it.key.len() > directory.len()).count()
        };
        gauge!(translation::OBJECTS, "kind" => kind.directory()).set(count(objects));
    }
    let report = view.report.load();
    for (fidelity, label) in [(Fidelity::Approximate, "approximate"), (Fidelity::NotExpressible, "not-expressible")] {
        let reported = report.entries.iter().filter(|entry| entry.fidelity == fidelity).count();
        gauge!(translation::REPORTED, "fidelity" => label).set(count(reported));
    }
    gauge!(translation::HELD).set(f64::from(u8::from(view.status.borrow().held)));
    counter!(translation::ROUNDS).absolute(view.status.borrow().rounds);
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers; revisions are below 10^14")]
fn revision(revision: Revision) -> f64 {
    revision.0 as f64
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn count(count: usize) -> f64 {
    count as f64
}
