//! What comes of a run.

use serde::Serialize;

/// A number.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    /// Digits after the point.
    #[serde(skip)]
    pub(crate) digits: usize,
    /// Whether it is held against that of the first target.
    #[serde(skip)]
    pub(crate) ratio: bool,
}

/// A number that changes in the course of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// Seconds, and the number.
    pub(crate) points: Vec<(f64, f64)>,
}

/// What came of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Outcome {
    pub(crate) figures: Vec<Figure>,
    pub(crate) series: Vec<Series>,
    /// Whether the load generator had no time left, so that the numbers are its own more than the server's.
    pub(crate) client_was_the_limit: bool,
}

impl Outcome {
    /// Adds a number that is only shown.
    pub(crate) fn show(&mut self, name: &'static str, value: f64, digits: usize) {
        self.figures.push(Figure { name, value, digits, ratio: false });
    }

    /// Adds a number that is held against that of the first target.
    pub(crate) fn hold(&mut self, name: &'static str, value: f64, digits: usize) {
        self.figures.push(Figure { name, value, digits, ratio: true });
    }

    /// Adds a number that is not known of every server.
    pub(crate) fn hold_if(&mut self, name: &'static str, value: Option<f64>, digits: usize) {
        if let Some(value) = value {
            self.hold(name, value, digits);
        }
    }
}

/// A number of things, to be divided.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) fn float(count: impl TryInto<u64>) -> f64 {
    count.try_into().map_or(0.0, |count: u64| count as f64)
}
