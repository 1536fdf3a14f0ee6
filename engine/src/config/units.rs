//! Values with units: `250ms`, `64KiB`, `100mbit`.
//!
//! Whole numbers only, and units are spelled as in the tables below: a configuration that can be
//! read in two ways will be. A number without a unit is taken in the smallest everyday unit of
//! its kind (seconds, bytes, bits a second).

use std::time::Duration;

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAQuantity(String);

/// Durations, in microseconds.
const DURATIONS: &[(&str, u64)] = &[
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("min", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

/// Sizes, in bytes.
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// Rates, in bits a second.
const RATES: &[(&str, u64)] =
    &[("bit", 1), ("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)];

/// A duration: `250ms`, `2s`, `10min`. A number alone is seconds.
///
/// # Errors
/// If it is not a whole number with one of the units, or too large.
pub fn duration(text: &str) -> Result<Duration, NotAQuantity> {
    quantity(text, DURATIONS, "s").map(Duration::from_micros)
}

/// A size in bytes: `64KiB`, `1MB`. A number alone is bytes.
///
/// # Errors
/// If it is not a whole number with one of the units, or too large.
pub fn bytes(text: &str) -> Result<u64, NotAQuantity> {
    quantity(text, SIZES, "B")
}

/// A rate in bits a second: `100mbit`. A number alone is bits a second.
///
/// # Errors
/// If it is not a whole number with one of the units, or too large.
pub fn bits_per_second(text: &str) -> Result<u64, NotAQuantity> {
    quantity(text, RATES, "bit")
}

/// A duration in the largest unit that keeps it whole, as [`duration()`] reads it.
#[must_use]
pub fn show_duration(d: Duration) -> String {
    show(u64::try_from(d.as_micros()).unwrap_or(u64::MAX), DURATIONS, |_| true)
}

/// A size in the largest binary unit that keeps it whole, as [`bytes()`] reads it.
#[must_use]
pub fn show_bytes(n: u64) -> String {
    show(n, SIZES, |unit| unit == "B" || unit.contains('i'))
}

fn quantity(text: &str, units: &[(&str, u64)], plain: &str) -> Result<u64, NotAQuantity> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let digits = digits.replace('_', "");
    let unit = match unit.trim() {
        "" => plain,
        unit => unit,
    };
    let names = || units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if digits.is_empty() || unit.starts_with('.') {
        return Err(NotAQuantity(format!(
            "`{text}` is not a whole number with a unit ({})",
            names()
        )));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(NotAQuantity(format!("`{unit}` is not one of the units {}", names())));
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(*factor))
        .ok_or_else(|| NotAQuantity(format!("`{text}` is too large")))
}

fn show(n: u64, units: &[(&str, u64)], wanted: impl Fn(&str) -> bool) -> String {
    let fitting =
        units.iter().rev().find(|(name, f)| wanted(name) && n >= *f && n.is_multiple_of(*f));
    match (n, fitting) {
        (0, _) | (_, None) => n.to_string(),
        (_, Some((name, factor))) => format!("{}{name}", n / factor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_read_as_written() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("10 min"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("3"), Ok(Duration::from_secs(3)));
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("1_000"), Ok(1_000));
        assert_eq!(bits_per_second("100mbit"), Ok(100_000_000));
    }

    #[test]
    fn anything_else_says_what_would_do() {
        for (text, part) in [
            ("", "whole number"),
            ("-1s", "whole number"),
            ("1.5s", "whole number"),
            ("ten", "whole number"),
            ("5 weeks", "us, ms, s, min, h, d"),
            ("99999999999999999999s", "too large"),
            ("18446744073709551615d", "too large"),
        ] {
            let error = duration(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(bytes("64kib").is_err(), "units are spelled one way only");
    }

    #[test]
    fn quantities_show_as_they_are_read() {
        for text in ["250ms", "10min", "2s", "30s", "5min", "1d"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for text in ["16KiB", "1MiB", "1000B", "8MiB"] {
            assert_eq!(show_bytes(bytes(text).unwrap()), text);
        }
    }
}
