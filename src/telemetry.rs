//! Every metric: its name, its labels and what it means, in one place each.
//!
//! A subject declares its metrics with `subject!`, which makes a constant of each name, to be used with the macros of
//! the `metrics` crate, and an entry in [`all`]. From there come the descriptions that Prometheus gets, the value zero
//! of what did not happen yet, and `docs/metrics.md`. The values that a label can have are part of the declaration, so
//! that the number of time series does not depend on what clients or control planes send.

use std::time::SystemTime;

use metrics::{Counter, Gauge, Key, Label, Level, Metadata, with_recorder};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Only grows, by fractions or with labels that depend on each other; made by [`exposition`].
    Sum,
    /// Counts in buckets; made by [`exposition`].
    Histogram,
}

/// A label and all values that it can have.
pub type Dimension = (&'static str, &'static [&'static str]);

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// What it is to Prometheus.
    pub kind: Kind,
    /// The labels.
    pub labels: &'static [Dimension],
    /// What it means, in one sentence.
    meaning: &'static str,
}

impl Metric {
    /// What it means, in one sentence.
    pub fn meaning(&self) -> &'static str {
        self.meaning.trim()
    }
}

/// Declares the metrics of a subject: a constant for each name, and the list `ALL`.
macro_rules! subject {
    ($( $(#[doc = $doc:literal])+ $kind:ident $constant:ident = $name:literal $(, $label:literal in $values:expr)*; )+) => {
        $( $(#[doc = $doc])+ pub const $constant: &str = $name; )+

        /// The metrics of this subject.
        pub const ALL: &[crate::telemetry::Metric] = &[
            $( crate::telemetry::Metric {
                name: $name,
                kind: crate::telemetry::Kind::$kind,
                labels: &[$( ($label, $values) ),*],
                meaning: concat!($( $doc ),+),
            } ),+
        ];
    };
}

pub mod calls;
pub mod etcd;
pub mod exposition;
pub mod log;
pub mod process;
pub mod publish;
pub mod serve;
pub mod settings;
pub mod store;
pub mod striped;
pub mod translation;
pub mod upstream;
pub mod watch;
pub mod xds;

/// The subjects, with what they are about.
pub const SUBJECTS: [(&str, &[Metric]); 11] = [
    ("Serving", serve::ALL),
    ("Settings", settings::ALL),
    ("Store", store::ALL),
    ("Watching", watch::ALL),
    ("Control plane (xDS)", xds::ALL),
    ("Upstream etcd", upstream::ALL),
    ("Publisher", publish::ALL),
    ("Translation", translation::ALL),
    ("Calls of the API", calls::ALL),
    ("Under etcd's names", etcd::ALL),
    ("Process", process::ALL),
];

/// Every metric.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    SUBJECTS.into_iter().flat_map(|(_, metrics)| metrics)
}

/// Makes this process record metrics. Once per process, as a program that embeds the server may have its own recorder.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new().install_recorder()?;
    all().for_each(register);
    Ok(handle)
}

/// The time of day, in seconds since 1970, as metrics tell it.
pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// Describes a metric and gives it the value zero for every value of its labels, so that a rate can be taken of what
/// happens for the first time.
fn register(metric: &Metric) {
    const METADATA: Metadata<'static> = Metadata::new("confcast", Level::INFO, None);
    let (name, meaning) = (metric.name, metric.meaning());
    with_recorder(|recorder| match metric.kind {
        Kind::Counter => {
            recorder.describe_counter(name.into(), None, meaning.into());
            for labels in combinations(metric.labels) {
                let counter: Counter = recorder.register_counter(&Key::from_parts(name, labels), &METADATA);
                counter.increment(0);
            }
        }
        Kind::Gauge => {
            recorder.describe_gauge(name.into(), None, meaning.into());
            for labels in combinations(metric.labels) {
                let gauge: Gauge = recorder.register_gauge(&Key::from_parts(name, labels), &METADATA);
                gauge.set(0.0);
            }
        }
        Kind::Sum | Kind::Histogram => {}
    });
}

/// Every combination of the labels' values.
fn combinations(labels: &[Dimension]) -> Vec<Vec<Label>> {
    labels.iter().fold(vec![Vec::new()], |made, (label, values)| {
        let with = |old: &Vec<Label>, value: &'static str| {
            let mut new = old.clone();
            new.push(Label::from_static_parts(label, value));
            new
        };
        made.iter().flat_map(|old| values.iter().map(|value| with(old, value)).collect::<Vec<_>>()).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_good_and_series_are_few() {
        let mut names = BTreeSet::new();
        let mut series = 0;
        for metric in all() {
            let name = metric.name;
            assert!(names.insert(name), "{name} is there twice");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
            let ours = ["confcast_", "etcd_", "grpc_server_", "process_"].iter().any(|start| name.starts_with(start));
            assert!(ours, "{name} has a prefix of its own");
            // etcd's own names are what they are.
            if name.starts_with("confcast_") {
                assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
                assert_ne!(metric.kind, Kind::Sum, "{name}");
            }
            assert!(metric.meaning().len() > 10 && !metric.meaning().ends_with('.'), "{name}: {}", metric.meaning());
            assert!(metric.labels.iter().all(|(_, values)| !values.is_empty()), "{name}");
            series += combinations(metric.labels).len();
        }
        assert!(series < 2000, "{series} time series");
    }

    #[test]
    fn labels_are_combined() {
        let text = |labels: &[Label]| labels.iter().map(Label::value).collect::<Vec<_>>().join(" ");
        let made = combinations(&[("a", &["1", "2"]), ("b", &["x", "y"])]);
        assert_eq!(made.iter().map(|labels| text(labels)).collect::<Vec<_>>(), ["1 x", "1 y", "2 x", "2 y"]);
        assert_eq!(combinations(&[]), [Vec::new()]);
    }
}
