//! Quantities as people write them on a command line: `25ms`, `1.5%`, `100mbit`, `256k`.

use std::num::NonZeroU64;
use std::time::Duration;

/// Why a text is not a quantity, with examples of what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected something like {0}")]
pub struct NotAQuantity(&'static str);

/// Splits a text into a number and its unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| c.is_ascii_alphabetic() || c == '%').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some((number, unit))
}

/// The whole number nearest to `number`, if 64 bits hold it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the range is checked
fn whole(number: f64) -> Option<u64> {
    (0.0..1e18).contains(&number).then(|| number.round() as u64)
}

/// A time: a number with `s`, `ms` or `us`; milliseconds if it stands alone, as in `tc` scripts.
///
/// # Errors
/// If it is not one, or longer than an hour.
pub fn duration(text: &str) -> Result<Duration, NotAQuantity> {
    let wrong = NotAQuantity("25ms, 1.5ms, 100us or 1s, at most an hour");
    let (number, unit) = split(text).ok_or(wrong)?;
    let micros = match unit {
        "us" => 1.0,
        "ms" | "" => 1e3,
        "s" => 1e6,
        _ => return Err(wrong),
    };
    let micros = whole(number * micros).filter(|m| *m <= 3_600_000_000).ok_or(wrong)?;
    Ok(Duration::from_micros(micros))
}

/// A share, in parts per million: a number with `%` or `ppm`; percent if it stands alone.
///
/// # Errors
/// If it is not one, or above 100%.
pub fn share_ppm(text: &str) -> Result<u32, NotAQuantity> {
    let wrong = NotAQuantity("1%, 0.05% or 500ppm, at most 100%");
    let (number, unit) = split(text).ok_or(wrong)?;
    let parts = match unit {
        "%" | "" => 1e4,
        "ppm" => 1.0,
        _ => return Err(wrong),
    };
    let parts = whole(number * parts).filter(|p| *p <= 1_000_000).ok_or(wrong)?;
    u32::try_from(parts).map_err(|_| wrong)
}

/// A rate in bytes a second, from bits a second: a number with `bit`, `kbit`, `mbit` or `gbit`
/// (thousands, as networks count); megabits if it stands alone.
///
/// # Errors
/// If it is not one, or less than a byte a second.
pub fn rate(text: &str) -> Result<NonZeroU64, NotAQuantity> {
    let wrong = NotAQuantity("100mbit, 1gbit or 512kbit");
    let (number, unit) = split(text).ok_or(wrong)?;
    let bits = match unit {
        "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" | "" => 1e6,
        "gbit" => 1e9,
        _ => return Err(wrong),
    };
    whole(number * bits / 8.0).and_then(NonZeroU64::new).ok_or(wrong)
}

/// Bytes: a number with `k`, `m` or `g` (powers of 1,024, as memory is counted), or none.
///
/// # Errors
/// If it is not one.
pub fn bytes(text: &str) -> Result<usize, NotAQuantity> {
    let wrong = NotAQuantity("256k, 1m or 1500");
    let (number, unit) = split(text).ok_or(wrong)?;
    let factor = match unit {
        "" | "b" => 1.0,
        "k" | "kb" => 1024.0,
        "m" | "mb" => 1024.0 * 1024.0,
        "g" | "gb" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong),
    };
    whole(number * factor).and_then(|b| usize::try_from(b).ok()).ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_with_their_units() {
        assert_eq!(duration("25ms"), Ok(Duration::from_millis(25)));
        assert_eq!(duration("1.5"), Ok(Duration::from_micros(1_500)));
        assert_eq!(duration("100us"), Ok(Duration::from_micros(100)));
        assert_eq!(share_ppm("1%"), Ok(10_000));
        assert_eq!(share_ppm("0.05"), Ok(500));
        assert_eq!(share_ppm("7ppm"), Ok(7));
        assert_eq!(rate("100mbit").map(NonZeroU64::get), Ok(12_500_000));
        assert_eq!(rate("0.5gbit").map(NonZeroU64::get), Ok(62_500_000));
        assert_eq!(bytes("256k"), Ok(256 << 10));
        assert_eq!(bytes("1500"), Ok(1_500));
    }

    #[test]
    fn what_is_not_a_quantity_is_refused() {
        for bad in ["", "x", "-1", "-1ms", "1parsec", "inf", "nan", "1e400", "7200s", "1 2ms"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(share_ppm("101%").is_err());
        assert!(rate("0").is_err() && rate("1bit").is_err());
        assert!(bytes("1e30").is_err());
    }
}
