//! Panels of the dashboard with what they show.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::prometheus::Prometheus;
use super::unit::Unit;

/// How a panel looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// A heading over the panels below it.
    Heading,
    /// The last numbers, large.
    Numbers,
    /// Lines over time.
    Lines,
}

/// A named line.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A panel.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) look: Look,
    /// Which heading it is below, or is.
    pub(super) row: usize,
    /// Left, top, width and height in the steps of the grid, of which 24 make the width.
    pub(super) place: [f64; 4],
    pub(super) unit: Unit,
    /// From which value on the numbers have which colour.
    pub(super) thresholds: Vec<(f64, String)>,
    pub(super) lines: Vec<Line>,
}

/// The panels, in their order, with the values of a time. Fails when a query has none.
pub(super) fn read(dashboard: &Value, prometheus: &Prometheus, begin: f64, end: f64) -> Result<Vec<Panel>> {
    let mut row = None;
    let panels = dashboard["panels"].as_array().context("no panels")?.iter().map(|json| {
        let title = json["title"].as_str().context("no title")?.to_owned();
        let look = match json["type"].as_str() {
            Some("row") => Look::Heading,
            Some("stat") => Look::Numbers,
            Some("timeseries") => Look::Lines,
            other => bail!("{title} is a {other:?}"),
        };
        if look == Look::Heading {
            row = Some(row.map_or(0, |row: usize| row + 1));
        }
        let side = |name: &str| json["gridPos"][name].as_f64().with_context(|| format!("{title} has no place"));
        let defaults = &json["fieldConfig"]["defaults"];
        let steps = defaults["thresholds"]["steps"].as_array().into_iter().flatten();
        let threshold = |step: &Value| {
            let colour = step["color"].as_str().unwrap_or_default().to_owned();
            (step["value"].as_f64().unwrap_or(f64::NEG_INFINITY), colour)
        };
        let mut lines = Vec::new();
        for target in json["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().context("no query")?;
            let found = prometheus.range(&filled(query), begin, end)?;
            ensure!(found.iter().any(|series| !series.points.is_empty()), "{title} shows nothing of {query}");
            let legend = target["legendFormat"].as_str().unwrap_or_default();
            lines.extend(
                found.into_iter().map(|series| Line { name: named(legend, &series.labels), points: series.points }),
            );
        }
        Ok(Panel {
            look,
            row: row.context("a panel above all headings")?,
            place: [side("x")?, side("y")?, side("w")?, side("h")?],
            unit: if look == Look::Heading { Unit::Short } else { Unit::named(defaults["unit"].as_str())? },
            thresholds: steps.map(threshold).collect(),
            lines,
            title,
        })
    });
    panels.collect()
}

/// A query as Grafana sends it when everything is chosen. Rates are over a few of the points, which are a second apart.
fn filled(query: &str) -> String {
    query.replace("$__rate_interval", "8s").replace("$instance", ".*").replace("$job", ".*")
}

fn named(legend: &str, labels: &Value) -> String {
    let mut parts = legend.split("{{");
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (label, rest) = part.split_once("}}").unwrap_or((part, ""));
        name += labels[label.trim()].as_str().unwrap_or_default();
        name += rest;
    }
    name
}
