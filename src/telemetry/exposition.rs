//! Metrics that the recorder cannot hold: histograms that are counted elsewhere, and sums with fractions.

use std::fmt::Write;

use super::{Kind, Metric};

/// Text in the form that Prometheus reads, version 0.0.4.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Adds a sum.
    pub fn sum(&mut self, metric: &Metric, value: f64) {
        self.head(metric);
        let _ = writeln!(self.0, "{} {value}", metric.name);
    }

    /// Adds a number for each of these labels, which are written as Prometheus reads them.
    pub fn sums(&mut self, metric: &Metric, series: impl Iterator<Item = (String, u64)>) {
        self.head(metric);
        for (labels, value) in series {
            let _ = writeln!(self.0, "{}{{{labels}}} {value}", metric.name);
        }
    }

    /// Adds a histogram for each of these labels: how many values fell up to each bound and not up to the one before it,
    /// with those beyond the last bound at the end; and the sum of the values.
    pub fn histograms<'a>(
        &mut self,
        metric: &Metric,
        bounds: &[f64],
        series: impl Iterator<Item = (&'a str, Vec<u64>, f64)>,
    ) {
        self.head(metric);
        let name = metric.name;
        for (labels, counts, sum) in series {
            let mut count = 0;
            let bounds = bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
            for (bound, more) in bounds.zip(counts) {
                count += more;
                let _ = writeln!(self.0, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(self.0, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}");
        }
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.0
    }

    fn head(&mut self, metric: &Metric) {
        let kind = match metric.kind {
            Kind::Counter | Kind::Sum => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(self.0, "# HELP {0} {1}\n# TYPE {0} {kind}", metric.name, metric.meaning());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let metric = Metric { name: "a_seconds", kind: Kind::Histogram, labels: &[], meaning: " A" };
        let mut text = Text::default();
        text.histograms(&metric, &[0.5, 1.0], [("b=\"c\"", vec![1, 0, 2], 7.25)].into_iter());
        let lines = [
            "# HELP a_seconds A",
            "# TYPE a_seconds histogram",
            "a_seconds_bucket{b=\"c\",le=\"0.5\"} 1",
            "a_seconds_bucket{b=\"c\",le=\"1\"} 1",
            "a_seconds_bucket{b=\"c\",le=\"+Inf\"} 3",
            "a_seconds_sum{b=\"c\"} 7.25",
            "a_seconds_count{b=\"c\"} 3",
            "",
        ];
        assert_eq!(text.into_string(), lines.join("\n"));
    }
}
