//! Reading a TOML table strictly: every key is asked for by name, what nobody asked for is an
//! error, and everything wrong is collected with its line before anyone gives up.
//!
//! ```text
//! Reader ── root ──► Section ── take/list/section/sections ──► values
//!    ▲                  └── finish: what was never asked for is unknown, "did you mean"
//!    └── problems, and the keys that were asked for and absent (the example's test reads those)
//! ```
//!
//! Knows nothing about what the options mean.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::Problem;

/// One pass over one text.
pub(super) struct Reader<'t> {
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
    absent: RefCell<Vec<String>>,
}

/// A scalar as the file has it.
pub(super) enum Raw<'v> {
    /// A string.
    Text(&'v str),
    /// A whole number that fits 64 bits.
    Number(u64),
    /// true or false.
    Flag(bool),
    /// Anything else: what it is called.
    Other(&'static str),
}

impl<'v> Raw<'v> {
    fn of(value: &'v DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text),
            DeValue::Integer(n) => u64::from_str_radix(n.as_str(), n.radix())
                .map_or(Self::Other("a negative or too large number"), Self::Number),
            DeValue::Float(_) => Self::Other("a fraction"),
            DeValue::Boolean(flag) => Self::Flag(*flag),
            DeValue::Datetime(_) => Self::Other("a date"),
            DeValue::Array(_) => Self::Other("a list"),
            DeValue::Table(_) => Self::Other("a section"),
        }
    }

    /// The string, or what to write instead.
    pub(super) fn text(&self) -> Result<&'v str, String> {
        match *self {
            Self::Text(text) => Ok(text),
            Self::Number(_) => Err("write it in quotes".to_owned()),
            Self::Flag(_) => Err("expected a text in quotes, found true or false".to_owned()),
            Self::Other(kind) => Err(format!("expected a text in quotes, found {kind}")),
        }
    }

    /// A whole number within `range`.
    pub(super) fn number(&self, range: std::ops::RangeInclusive<u64>) -> Result<u64, String> {
        let n = match self {
            Self::Number(n) => *n,
            Self::Text(_) => return Err("expected a number without quotes".to_owned()),
            Self::Flag(_) => return Err("expected a whole number, found true or false".to_owned()),
            Self::Other(kind) => return Err(format!("expected a whole number, found {kind}")),
        };
        within(n, range, |n| n.to_string())
    }

    /// true or false.
    pub(super) fn flag(&self) -> Result<bool, String> {
        match self {
            Self::Flag(flag) => Ok(*flag),
            _ => Err("expected true or false, without quotes".to_owned()),
        }
    }

    /// The text of a quantity, whether it was written with a unit or as a plain number.
    pub(super) fn quantity(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok((*text).to_owned()),
            Self::Number(n) => Ok(n.to_string()),
            Self::Flag(_) => {
                Err("expected a number or a text with a unit, found true or false".to_owned())
            }
            Self::Other(kind) => {
                Err(format!("expected a number or a text with a unit, found {kind}"))
            }
        }
    }
}

/// `n` if the bounds allow it.
pub(super) fn within<T: PartialOrd + Copy>(
    n: T,
    range: std::ops::RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T, String> {
    if range.contains(&n) {
        Ok(n)
    } else {
        let (low, high) = (show(*range.start()), show(*range.end()));
        Err(format!("{} is out of bounds, choose {low} to {high}", show(n)))
    }
}

impl<'t> Reader<'t> {
    /// The reader of `text` and its outermost table. A text that is not TOML gives an empty table
    /// and its problems.
    pub(super) fn new(text: &'t str) -> (Self, DeTable<'t>) {
        let reader = Self { text, problems: RefCell::default(), absent: RefCell::default() };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = error.span().map(|span| span.start);
            reader.report(at, String::new(), format!("not TOML: {}", error.message().trim()));
        }
        (reader, table.into_inner())
    }

    /// The section of the outermost table.
    pub(super) fn root(&self, table: DeTable<'t>) -> Section<'_, 't> {
        Section { reader: self, path: String::new(), at: None, table, asked: Vec::new() }
    }

    /// Notes a problem at a place in the text.
    pub(super) fn report(&self, at: Option<usize>, option: String, what: impl Display) {
        let line = at.map(|at| {
            let before = self.text.as_bytes().get(..at).unwrap_or_default();
            1 + before.iter().filter(|b| **b == b'\n').count()
        });
        self.problems.borrow_mut().push(Problem { line, option, what: what.to_string() });
    }

    /// Whether anything was reported so far.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// All problems in the order of their lines, and the keys asked for that were not there.
    pub(super) fn into_findings(self) -> (Vec<Problem>, Vec<String>) {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|p| p.line.unwrap_or(usize::MAX));
        (problems, self.absent.into_inner())
    }
}

/// One table of the file.
pub(super) struct Section<'r, 't> {
    reader: &'r Reader<'t>,
    path: String,
    at: Option<usize>,
    table: DeTable<'t>,
    asked: Vec<&'static str>,
}

impl<'r, 't> Section<'r, 't> {
    /// The value of `key` as `read` understands it; none if it is absent or wrong.
    pub(super) fn take<T, E: Display>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Raw<'_>) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.remove(key)?;
        self.scalar(key.to_owned(), &value, read)
    }

    /// As [`Self::take`], and its absence is a problem; `why` says what it is for.
    pub(super) fn need<T, E: Display>(
        &mut self,
        key: &'static str,
        why: &str,
        read: impl Fn(&Raw<'_>) -> Result<T, E>,
    ) -> Option<T> {
        if self.table.contains_key(key) {
            return self.take(key, read);
        }
        self.remove(key);
        self.reader.report(self.at, self.name(key), format!("is missing: {why}"));
        None
    }

    /// The list under `key`, each item as `read` understands it; items that are wrong are left
    /// out, having been reported.
    pub(super) fn list<T, E: Display>(
        &mut self,
        key: &'static str,
        most: usize,
        read: impl Fn(&Raw<'_>) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let value = self.remove(key)?;
        let at = value.span().start;
        let DeValue::Array(items) = value.into_inner() else {
            self.reader.report(Some(at), self.name(key), "expected a list: [\"...\", \"...\"]");
            return None;
        };
        if items.len() > most {
            let what = format!("{} entries are too many, at most {most}", items.len());
            self.reader.report(Some(at), self.name(key), what);
        }
        let read_item = |(i, item)| self.scalar(format!("{key}[{i}]"), item, &read);
        Some(items.iter().enumerate().filter_map(read_item).collect())
    }

    /// The section `[key]`, empty if it is absent.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'r, 't> {
        let path = self.name(key);
        let (at, table) = match self.remove(key).map(|v| (v.span().start, v.into_inner())) {
            None => (None, DeTable::new()),
            Some((at, DeValue::Table(table))) => (Some(at), table),
            Some((at, _)) => {
                self.reader.report(Some(at), path.clone(), format!("is a section: [{key}]"));
                (Some(at), DeTable::new())
            }
        };
        Section { reader: self.reader, path, at, table, asked: Vec::new() }
    }

    /// The sections `[[key]]`, in order.
    pub(super) fn sections(&mut self, key: &'static str, most: usize) -> Vec<Section<'r, 't>> {
        let Some(value) = self.remove(key) else { return Vec::new() };
        let (at, value) = (value.span().start, value.into_inner());
        let DeValue::Array(items) = value else {
            let what = format!("is a list of sections, write [[{key}]] in double brackets");
            self.reader.report(Some(at), self.name(key), what);
            return Vec::new();
        };
        if items.len() > most {
            let what = format!("{} sections are too many, at most {most}", items.len());
            self.reader.report(Some(at), self.name(key), what);
        }
        self.tables(key, items)
    }

    fn tables(&self, key: &str, items: DeArray<'t>) -> Vec<Section<'r, 't>> {
        let mut out = Vec::new();
        for (i, item) in items.into_iter().enumerate() {
            let path = format!("{}[{i}]", self.name(key));
            let (at, value) = (item.span().start, item.into_inner());
            if let DeValue::Table(table) = value {
                let (reader, asked) = (self.reader, Vec::new());
                out.push(Section { reader, path, at: Some(at), table, asked });
            } else {
                self.reader.report(Some(at), path, format!("is a section: [[{key}]]"));
            }
        }
        out
    }

    /// All keys of the section, whose names are the user's own; ends it.
    pub(super) fn entries<T>(
        mut self,
        most: usize,
        read: impl Fn(&str, &Raw<'_>) -> Result<T, String>,
    ) -> BTreeMap<String, T> {
        let table = std::mem::take(&mut self.table);
        if table.len() > most {
            self.report(format!("{} entries are too many, at most {most}", table.len()));
        }
        let mut out = BTreeMap::new();
        for (key, value) in table {
            let name = key.into_inner().into_owned();
            let found = self.scalar(name.clone(), &value, |raw| read(&name, raw));
            out.extend(found.map(|found| (name, found)));
        }
        out
    }

    /// Notes a problem with the section itself.
    pub(super) fn report(&self, what: impl Display) {
        self.reader.report(self.at, self.path.clone(), what);
    }

    /// Ends the section: whatever is still in it was never asked for.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            let close = closest(name, &self.asked);
            let hint = close.map_or_else(
                || format!("known here: {}", self.asked.join(", ")),
                |close| format!("did you mean `{close}`?"),
            );
            let what = format!("no such option; {hint}");
            self.reader.report(Some(key.span().start), self.name(name), what);
        }
    }

    fn remove(&mut self, key: &'static str) -> Option<Spanned<DeValue<'t>>> {
        self.asked.push(key);
        let value = self.table.remove(key);
        if value.is_none() {
            self.reader.absent.borrow_mut().push(self.name(key));
        }
        value
    }

    fn scalar<T, E: Display>(
        &self,
        key: String,
        value: &Spanned<DeValue<'_>>,
        read: impl Fn(&Raw<'_>) -> Result<T, E>,
    ) -> Option<T> {
        match read(&Raw::of(value.get_ref())) {
            Ok(value) => Some(value),
            Err(what) => {
                self.reader.report(Some(value.span().start), self.name(&key), what);
                None
            }
        }
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// The known word that `word` was most likely meant to be: a slip or two of the keyboard away, or
/// begun alike.
pub(super) fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_lowercase();
    let slips = |candidate: &str| strsim::osa_distance(&word, candidate);
    let alike = |candidate: &str| strsim::jaro_winkler(&word, candidate);
    let near = |c: &&str| slips(c) <= (c.len() / 3).clamp(1, 2) || alike(c) > 0.85;
    let nearer = |a: &&str, b: &&str| slips(a).cmp(&slips(b)).then(alike(b).total_cmp(&alike(a)));
    known.iter().copied().filter(near).min_by(nearer)
}
