//! Numbers with units, as Grafana writes them.

use anyhow::{Result, bail};

/// A unit of Grafana's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Short,
    Seconds,
    /// By powers of 1024.
    Bytes,
    BytesPerSecond,
    CountsPerSecond,
    OperationsPerSecond,
    /// Of 1.
    Percent,
}

impl Unit {
    pub(super) fn named(name: Option<&str>) -> Result<Self> {
        Ok(match name {
            Some("short") => Self::Short,
            Some("s") => Self::Seconds,
            Some("bytes") => Self::Bytes,
            Some("Bps") => Self::BytesPerSecond,
            Some("cps") => Self::CountsPerSecond,
            Some("ops") => Self::OperationsPerSecond,
            Some("percentunit") => Self::Percent,
            other => bail!("the unit {other:?} cannot be drawn"),
        })
    }

    /// What one of the number is called, and how much it is, for a number of that size.
    fn scale(self, size: f64) -> (f64, &'static str) {
        const SHORT: [(f64, &str); 3] = [(1e6, " Mil"), (1e3, " K"), (0.0, "")];
        const SECONDS: [(f64, &str); 3] = [(1.0, " s"), (1e-3, " ms"), (0.0, " µs")];
        const BYTES: [(f64, &str); 4] =
            [(1_073_741_824.0, " GiB"), (1_048_576.0, " MiB"), (1024.0, " KiB"), (0.0, " B")];
        const RATE: [(f64, &str); 4] = [(1e9, " GB/s"), (1e6, " MB/s"), (1e3, " kB/s"), (0.0, " B/s")];
        const COUNTS: [(f64, &str); 2] = [(1e3, "K c/s"), (0.0, " c/s")];
        const OPERATIONS: [(f64, &str); 2] = [(1e3, "K ops/s"), (0.0, " ops/s")];
        let scales: &[(f64, &str)] = match self {
            Self::Short => &SHORT,
            Self::Seconds => &SECONDS,
            Self::Bytes => &BYTES,
            Self::BytesPerSecond => &RATE,
            Self::CountsPerSecond => &COUNTS,
            Self::OperationsPerSecond => &OPERATIONS,
            Self::Percent => return (0.01, "%"),
        };
        let (from, name) = scales.iter().find(|(from, _)| size >= *from).copied().unwrap_or((1.0, ""));
        let least = if self == Self::Seconds { 1e-6 } else { 1.0 };
        (if from > 0.0 { from } else { least }, name)
    }

    /// A number, with no more digits than it needs.
    pub(super) fn text(self, value: f64) -> String {
        self.text_in(value, value.abs())
    }

    /// A number in the unit that suits another one.
    fn text_in(self, value: f64, size: f64) -> String {
        let (one, name) = self.scale(if size > 0.0 || self != Self::Seconds { size } else { 1.0 });
        let text = format!("{:.2}", value / one);
        format!("{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
    }

    /// Where an axis from 0 has its lines, the last of which is not below any value, and what is written at them.
    pub(super) fn ticks(self, most: f64) -> Vec<(f64, String)> {
        let most = if most > 0.0 { most } else { 1.0 };
        let (one, _) = self.scale(most);
        // Three or four steps of 1, 2 or 5 in the first digit.
        let step = most / one / 3.0;
        let power = 10_f64.powf(step.log10().floor());
        let digit = [1.0, 2.0, 5.0, 10.0].into_iter().find(|digit| digit * power >= step * 0.999).unwrap_or(10.0);
        // What is counted is whole.
        let whole = if self == Self::Short && most >= 1.0 && one <= 1.0 { 1.0 } else { 0.0 };
        let step = (digit * power).max(whole);
        let mut ticks = vec![(0.0, self.text(0.0))];
        let mut count = 0_u32;
        while ticks.last().is_some_and(|(at, _)| *at < most * 0.999) {
            count += 1;
            let at = f64::from(count) * step * one;
            ticks.push((at, self.text_in(at, most)));
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_unit_that_suits_them() {
        let texts = [
            (Unit::Short, 0.0, "0"),
            (Unit::Short, 1234.0, "1.23 K"),
            (Unit::Short, 950.0, "950"),
            (Unit::Seconds, 0.0, "0 s"),
            (Unit::Seconds, 0.0025, "2.5 ms"),
            (Unit::Seconds, 0.000_12, "120 µs"),
            (Unit::Bytes, 3.0 * 1_048_576.0, "3 MiB"),
            (Unit::BytesPerSecond, 2_500_000.0, "2.5 MB/s"),
            (Unit::OperationsPerSecond, 42.5, "42.5 ops/s"),
            (Unit::CountsPerSecond, 1500.0, "1.5K c/s"),
            (Unit::Percent, 0.031, "3.1%"),
        ];
        for (unit, value, text) in texts {
            assert_eq!(unit.text(value), text);
        }
        assert!(Unit::named(Some("parsecs")).is_err());
    }

    #[test]
    fn an_axis_has_round_numbers_and_room_for_all_values() {
        let labels = |unit: Unit, most: f64| {
            let ticks = unit.ticks(most);
            assert!(ticks.last().expect("a tick").0 >= most, "{ticks:?}");
            ticks.into_iter().map(|(_, text)| text).collect::<Vec<_>>()
        };
        assert_eq!(labels(Unit::Short, 0.0), ["0", "1"]);
        assert_eq!(labels(Unit::Short, 1.0), ["0", "1"]);
        assert_eq!(labels(Unit::Short, 230.0), ["0", "100", "200", "300"]);
        assert_eq!(labels(Unit::Bytes, 100.0 * 1_048_576.0), ["0 B", "50 MiB", "100 MiB"]);
        assert_eq!(labels(Unit::Seconds, 0.004), ["0 s", "2 ms", "4 ms"]);
        assert_eq!(labels(Unit::Percent, 0.0031), ["0%", "0.2%", "0.4%"]);
    }
}
