//! What a measurement comes to, and what several of them say together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::drive::Measured;

/// What is measured. The order is that of the tables' columns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Processor seconds of the relay, or of all of them, for a million messages that came.
    CpuPerMillion,
    /// Processor seconds of a tunnel for a GiB.
    CpuPerGib,
    /// Processor milliseconds of a tunnel for a connection.
    CpuPerConnection,
    /// Messages a second.
    Rate,
    /// Gbit/s of a tunnel.
    Gbit,
    /// Connections a second.
    Connections,
    /// Of the throughput, in percent, what others lost to a receiver that does not read.
    Loss,
    /// Microseconds from when a message was due to when it came.
    P50,
    /// The same of all but one in a hundred,
    P99,
    /// and of all but one in a thousand.
    P999,
    /// Share of its processor the relay used, in percent.
    Busy,
    /// MiB at most.
    Peak,
    /// Messages that never came, in percent.
    Lost,
}

impl Metric {
    /// The head of its column.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::CpuPerMillion => "cpu-s per million",
            Self::CpuPerGib => "cpu-s per GiB",
            Self::CpuPerConnection => "cpu-ms per connection",
            Self::Rate => "messages/s",
            Self::Gbit => "Gbit/s",
            Self::Connections => "connections/s",
            Self::Loss => "others lose, %",
            Self::P50 => "p50, µs",
            Self::P99 => "p99, µs",
            Self::P999 => "p99.9, µs",
            Self::Busy => "busy, %",
            Self::Peak => "MiB",
            Self::Lost => "lost, %",
        }
    }
}

/// What one measurement came to.
pub(crate) type Figures = BTreeMap<Metric, f64>;

/// What a run through a relay came to.
pub(crate) fn of(measured: &Measured) -> Result<Figures, String> {
    let outcome = &measured.outcome;
    if outcome.arrived == 0 {
        return Err("nothing arrived".into());
    }
    let mut figures = Figures::from([
        (Metric::CpuPerMillion, measured.cpu / (whole(outcome.arrived) / 1e6)),
        (Metric::Rate, whole(outcome.arrived) / outcome.seconds),
        (Metric::Busy, measured.cpu / outcome.seconds * 100.0),
        (Metric::Peak, measured.peak),
    ]);
    // What was on its way when measuring began and when it ended is not lost.
    let lost = whole(outcome.sent.saturating_sub(outcome.arrived)) / whole(outcome.sent.max(1));
    figures.insert(Metric::Lost, lost * 100.0);
    if let Some([p50, p99, p999]) = outcome.latency_us {
        figures.extend([(Metric::P50, p50), (Metric::P99, p99), (Metric::P999, p999)]);
    }
    Ok(figures)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 messages")]
fn whole(count: u64) -> f64 {
    count as f64
}

/// Several values of one metric.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Sample {
    /// The one in the middle.
    pub(crate) median: f64,
    /// The least,
    pub(crate) least: f64,
    /// and the most.
    pub(crate) most: f64,
}

impl Sample {
    /// Of these values; none if there are none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get((values.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), least, most })
    }
}

/// A number with three digits that count, and thousands set apart.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1_000.0 {
        let unit = 10f64.powi(i32::from(size >= 1e5) + i32::from(size >= 1e6));
        let mut digits = format!("{:.0}", (value / unit).round() * unit);
        let mut at = digits.len();
        while at > 3 && digits.as_bytes().get(at - 4).is_some_and(u8::is_ascii_digit) {
            at -= 3;
            digits.insert(at, ',');
        }
        return digits;
    }
    let digits = match size {
        _ if size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 || size == 0.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_of_one_two_or_more() {
        let of = |values: &[f64]| Sample::of(values.to_vec());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[2.0]), Some(Sample { median: 2.0, least: 2.0, most: 2.0 }));
        assert_eq!(of(&[4.0, 2.0]), Some(Sample { median: 3.0, least: 2.0, most: 4.0 }));
        assert_eq!(of(&[9.0, 1.0, 2.0]), Some(Sample { median: 2.0, least: 1.0, most: 9.0 }));
    }

    #[test]
    fn numbers_are_as_long_as_they_are_meant() {
        let cases = [
            (0.0, "0.00"),
            (0.1234, "0.123"),
            (1.236, "1.24"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1_234.4, "1,234"),
            (123_456.0, "123,460"),
            (2_345_678.0, "2,345,700"),
            (-1_234.0, "-1,234"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }
}
