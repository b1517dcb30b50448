//! Questions to a Prometheus.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Seconds between two points of a series.
pub(super) const STEP: f64 = 1.0;

/// A line: the labels that tell it from others, and its points, of which some may be missing.
pub(super) struct Series {
    pub(super) labels: Value,
    pub(super) points: Vec<(f64, f64)>,
}

/// A running Prometheus on this machine.
pub(super) struct Prometheus {
    port: u16,
}

impl Prometheus {
    pub(super) fn at(port: u16) -> Self {
        Self { port }
    }

    /// Waits until a query has a result.
    pub(super) fn wait(&self, query: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            let answer = self.get(&format!("query?query={}", escaped(query)));
            if answer.as_ref().is_ok_and(|answer| answer["result"].as_array().is_some_and(|list| !list.is_empty())) {
                return Ok(());
            }
            ensure!(begun.elapsed() < Duration::from_mins(1), "never: {query}; see target/dashboard: {answer:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Seconds since the epoch, as it sees them.
    pub(super) fn now(&self) -> Result<f64> {
        number(&self.get("query?query=time()")?["result"][1])
    }

    /// The values of a query over a time, which begins with 0 in the points.
    pub(super) fn range(&self, query: &str, begin: f64, end: f64) -> Result<Vec<Series>> {
        let path = format!("query_range?query={}&start={begin}&end={end}&step={STEP}", escaped(query));
        let answer = self.get(&path).with_context(|| query.to_owned())?;
        let series = answer["result"].as_array().context("no list")?.iter().map(|series| {
            let points = series["values"].as_array().context("no values")?.iter();
            let points = points.map(|point| {
                let at = point[0].as_f64().context("no time")?;
                Ok((at - begin, number(&point[1])?))
            });
            let points = points.filter(|point| point.as_ref().map_or(true, |(_, value)| value.is_finite()));
            Ok(Series { labels: series["metric"].clone(), points: points.collect::<Result<_>>()? })
        });
        series.collect()
    }

    fn get(&self, path: &str) -> Result<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        // HTTP/1.0, as its answers end with their connection and have no chunks.
        write!(stream, "GET /api/v1/{path} HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (_, body) = text.split_once("\r\n\r\n").context("no body")?;
        let answer: Value = serde_json::from_str(body)?;
        ensure!(answer["status"] == "success", "{answer}");
        Ok(answer["data"].clone())
    }
}

fn number(value: &Value) -> Result<f64> {
    Ok(value.as_str().context("no number")?.parse()?)
}

fn escaped(query: &str) -> String {
    query.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}"))
}
