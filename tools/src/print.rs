//! What people and programs get to see: aligned columns, JSON lines, durations and dates.
//!
//! The only door to standard output. A closed pipe is an answer here, not a panic. Colours and
//! terminal widths are left alone: the same text reaches a terminal, a pipe and a file.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use trunkline_proto::base::Wall;

use crate::failure::Failure;

/// Prints `text` and a line feed.
///
/// # Errors
/// If nobody reads it.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Prints `value` as one line of JSON.
///
/// # Errors
/// If nobody reads it.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|e| Failure::Other(e.to_string()))?;
    line(&text)
}

/// Prints bytes as they are.
///
/// # Errors
/// If nobody reads them.
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Rows under a heading, each column as wide as its widest cell.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings; none for pairs of name and value.
    #[must_use]
    pub fn new(heading: &[&str]) -> Self {
        let heading = heading.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        Self { rows: if heading.is_empty() { Vec::new() } else { vec![heading] } }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) -> &mut Self {
        self.rows.push(cells.into());
        self
    }

    /// Adds a name and its value.
    pub fn pair(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.row([name.to_owned(), value.to_string()])
    }

    /// Prints it.
    ///
    /// # Errors
    /// If nobody reads it.
    pub fn print(&self) -> Result<(), Failure> {
        line(self.text().trim_end())
    }

    fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut out = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a string cannot fail.
                let _ = write!(out, "{cell:width$}  ");
            }
            text.push_str(out.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A round trip, in milliseconds with microseconds behind the point.
#[must_use]
pub fn round_trip(us: Option<u64>) -> String {
    us.map_or_else(|| "-".to_owned(), |us| format!("{}.{:03} ms", us / 1_000, us % 1_000))
}

/// A span of time in its two largest units.
#[must_use]
pub fn span(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0 => format!("{ms}ms"),
        1..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3_600 % 24),
    }
}

/// Bytes in binary units, three digits of them.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1_024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1_024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS.get(unit).unwrap_or(&"EiB"))
}

/// The date of `wall`, in UTC, and how far it is from `now`.
#[must_use]
pub fn date(wall: Wall, now: Wall) -> String {
    let (year, month, day) = civil(wall.as_secs() / 86_400);
    let left = wall.as_secs().abs_diff(now.as_secs()) / 86_400;
    let when = if wall >= now { format!("in {left} days") } else { format!("{left} days ago") };
    format!("{year}-{month:02}-{day:02} ({when})")
}

/// The Gregorian date of a day counted from 1970-01-01: whole 400-year cycles first, then years
/// that begin in March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    const CYCLE: u64 = 146_097;
    let days = days + 719_468;
    let (cycle, day) = (days / CYCLE, days % CYCLE);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (400 * cycle + year + u64::from(month <= 2), month, of_month)
}

/// The calendar.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "commands without a node have no runtime clock")]
pub fn now() -> Wall {
    Wall::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["hop", "name"]);
        table.row(["1".into(), "größer".into()]).row(["10".into(), String::new()]);
        assert_eq!(table.text(), "hop  name\n1    größer\n10\n");
    }

    #[test]
    fn quantities_read_easily() {
        assert_eq!(round_trip(Some(1_042)), "1.042 ms");
        assert_eq!(round_trip(None), "-");
        for (ms, text) in
            [(5, "5ms"), (61_000, "1m01s"), (3_660_000, "1h01m"), (90_000_000, "1d01h")]
        {
            assert_eq!(span(ms), text);
        }
        for (bytes, text) in
            [(1_023, "1023 B"), (1_536, "1.5 KiB"), (1 << 20, "1.0 MiB"), (u64::MAX, "15.9 EiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn dates_are_gregorian() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (11_016, (2000, 2, 29)),
            (20_779, (2026, 11, 22)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), expected, "{days}");
        }
    }
}
