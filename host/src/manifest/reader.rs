//! A table of the manifest, read key by key. What is wrong is recorded, and reading
//! goes on, so that all faults are reported together.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Fault;
use super::reference::{Expanded, ReferenceError, expand};
use super::source::Source;

/// What the whole reading shares.
pub(super) struct Reading<'a> {
    pub(super) source: Source<'a>,
    /// The folder that relative paths start from.
    pub(super) dir: PathBuf,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) faults: RefCell<Vec<Fault>>,
}

impl Reading<'_> {
    /// A fault at a span, to be completed and given to [`Self::record`].
    pub(super) fn fault(&self, span: &Range<usize>, message: impl Into<String>) -> Fault {
        Fault::at(&self.source, span, message)
    }

    pub(super) fn record(&self, fault: Fault) {
        self.faults.borrow_mut().push(fault);
    }

    /// A string with its references resolved; `None` if one cannot be, which is
    /// recorded.
    fn expand(&self, written: &str, span: Range<usize>) -> Option<Text> {
        match expand(written, self.env) {
            Ok(Expanded { value, references }) => Some(Text { value, references, span }),
            Err(error) => {
                let fault = match error {
                    ReferenceError::Unset(name) => self
                        .fault(&span, format!("the environment variable `{name}` is not set"))
                        .help(format!("set it, or give a default: ${{{name}:-default}}")),
                    ReferenceError::Unclosed => {
                        self.fault(&span, "`${` without a `}`").help("a literal `${` is written `$${`")
                    }
                    ReferenceError::BadName(_) => self
                        .fault(&span, "`${…}` does not hold the name of an environment variable")
                        .help("a name has letters, digits and `_`; a literal `${` is written `$${`"),
                };
                self.record(fault);
                None
            }
        }
    }
}

/// A string of the manifest, its references resolved.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) value: String,
    pub(super) span: Range<usize>,
    references: Vec<String>,
}

impl Text {
    /// How an error may name it: the value itself only if the environment had no
    /// part in it.
    pub(super) fn shown(&self) -> String {
        match self.references.first() {
            None => format!("`{}`", self.value),
            Some(name) => format!("the value of ${{{name}}}"),
        }
    }
}

/// One table. Drop it with [`Table::finish`], which reports the keys that nobody
/// asked for.
pub(super) struct Table<'a, 'i> {
    reading: &'a Reading<'i>,
    entries: &'a DeTable<'a>,
    /// `services.users.limits`; empty for the file's root.
    name: String,
    /// Where to point when a key is missing.
    pub(super) span: Range<usize>,
    asked: RefCell<Vec<&'static str>>,
}

type Entry<'a> = (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>);

impl<'a, 'i> Table<'a, 'i> {
    pub(super) fn root(reading: &'a Reading<'i>, entries: &'a DeTable<'a>) -> Self {
        Self { reading, entries, name: String::new(), span: 0..0, asked: RefCell::default() }
    }

    /// A string. An empty one counts as absent.
    pub(super) fn text(&self, key: &'static str) -> Option<Text> {
        let (_, value) = self.entry(key)?;
        let text = self.as_text(value, &self.full(key), "a string")?;
        (!text.value.is_empty()).then_some(text)
    }

    /// A string that must be there.
    pub(super) fn required_text(&self, key: &'static str, example: &str) -> Option<Text> {
        let recorded = self.reading.faults.borrow().len();
        let text = self.text(key);
        if text.is_none() && self.reading.faults.borrow().len() == recorded {
            self.missing(key, example);
        }
        text
    }

    /// Records that a key is missing, or empty.
    pub(super) fn missing(&self, key: &'static str, example: &str) {
        let fault = match self.entries.get(key) {
            Some(value) => self.reading.fault(&value.span(), format!("`{}` is empty", self.full(key))),
            None => self.reading.fault(&self.span, format!("`{}` is missing", self.full(key))),
        };
        self.reading.record(fault.help(format!("for example: {key} = {example}")));
    }

    /// A whole number within a range.
    pub(super) fn integer<T>(&self, key: &'static str, range: RangeInclusive<u64>, default: T) -> T
    where
        T: TryFrom<u64>,
    {
        self.number(key, &range).and_then(|number| T::try_from(number).ok()).unwrap_or(default)
    }

    /// A duration in milliseconds within a range.
    pub(super) fn millis(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: Duration,
    ) -> Duration {
        self.number(key, &range).map_or(default, Duration::from_millis)
    }

    /// A whole number within a range, written as one or as a string with
    /// references; `None` when absent.
    pub(super) fn number(&self, key: &'static str, range: &RangeInclusive<u64>) -> Option<u64> {
        let (_, value) = self.entry(key)?;
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let found = match value.get_ref() {
            DeValue::Integer(integer) => {
                i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX)
            }
            _ => {
                let text = self.as_text(value, &self.full(key), &expected)?;
                if text.value.is_empty() {
                    return None;
                }
                match text.value.parse() {
                    Ok(number) => number,
                    Err(_) => {
                        let message = format!("`{}`: {} is no number", self.full(key), text.shown());
                        self.reading.record(self.reading.fault(&text.span, message).hint(expected));
                        return None;
                    }
                }
            }
        };
        match u64::try_from(found) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let message = format!("`{}` is out of range: {found}", self.full(key));
                self.reading.record(self.reading.fault(&value.span(), message).hint(expected));
                None
            }
        }
    }

    /// A number from 0 to 1, written as one or as a string with references.
    pub(super) fn fraction(&self, key: &'static str, default: f64) -> f64 {
        let Some((_, value)) = self.entry(key) else { return default };
        let expected = "a number from 0 to 1";
        let found: Option<f64> = match value.get_ref() {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) => integer.as_str().parse().ok(),
            _ => match self.as_text(value, &self.full(key), expected) {
                Some(text) if !text.value.is_empty() => text.value.parse().ok(),
                _ => return default,
            },
        };
        match found.filter(|found| (0.0..=1.0).contains(found)) {
            Some(found) => found,
            None => {
                let message = format!("`{}` is out of range, or no number", self.full(key));
                self.reading.record(self.reading.fault(&value.span(), message).hint(expected));
                default
            }
        }
    }

    /// `true` or `false`, as such or as a string with references.
    pub(super) fn boolean(&self, key: &'static str, default: bool) -> bool {
        let Some((_, value)) = self.entry(key) else { return default };
        if let DeValue::Boolean(found) = value.get_ref() {
            return *found;
        }
        let Some(text) = self.as_text(value, &self.full(key), "true or false") else { return default };
        match text.value.as_str() {
            "" => default,
            "true" => true,
            "false" => false,
            _ => {
                let message = format!("`{}`: {} is neither true nor false", self.full(key), text.shown());
                self.reading.record(self.reading.fault(&text.span, message));
                default
            }
        }
    }

    /// Whether a key is there and says `false`, which switches off what otherwise
    /// has a default.
    pub(super) fn switched_off(&self, key: &'static str) -> bool {
        match self.entry(key).map(|(_, value)| value.get_ref()) {
            Some(DeValue::Boolean(on)) => !on,
            Some(DeValue::String(written)) => {
                expand(written, self.reading.env).is_ok_and(|expanded| expanded.value == "false")
            }
            _ => false,
        }
    }

    /// An array of strings; `None` when absent.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<Text>> {
        let (_, value) = self.entry(key)?;
        let full = self.full(key);
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(value, &full, "an array of strings");
            return None;
        };
        Some(items.iter().filter_map(|item| self.as_text(item, &full, "strings in an array")).collect())
    }

    /// A table; `None` when absent.
    pub(super) fn table(&self, key: &'static str) -> Option<Table<'a, 'i>> {
        let (name, value) = self.entry(key)?;
        self.as_table(value, self.full(key), name.span())
    }

    /// A table whose keys are the user's own names, each with a table: its entries.
    pub(super) fn named_tables(&self, key: &'static str) -> Vec<(Text, Table<'a, 'i>)> {
        let Some(table) = self.table(key) else { return Vec::new() };
        let entries = table.entries.iter().filter_map(|(name, value)| {
            let full = format!("{key}.{}", name.get_ref());
            Some((name_text(name), self.as_table(value, full, name.span())?))
        });
        entries.collect()
    }

    /// A table whose keys are the user's own names, each with a string, number or
    /// boolean. An empty string counts as absent.
    pub(super) fn named_texts(&self, key: &'static str) -> Vec<(Text, Text)> {
        let Some(table) = self.table(key) else { return Vec::new() };
        let entries = table.entries.iter().filter_map(|(name, value)| {
            let plain = |text: String| Text { value: text, references: Vec::new(), span: value.span() };
            let text = match value.get_ref() {
                DeValue::Integer(integer) => plain(integer.to_string()),
                DeValue::Float(float) => plain(float.to_string()),
                DeValue::Boolean(boolean) => plain(boolean.to_string()),
                _ => self.as_text(value, &table.full(name.get_ref()), "a string, number or boolean")?,
            };
            (!text.value.is_empty()).then(|| (name_text(name), text))
        });
        entries.collect()
    }

    /// Whether a key's value is a table, so that a key may have either a text or a table
    /// of texts. A key that is absent has none.
    pub(super) fn is_table(&self, key: &'static str) -> bool {
        matches!(self.entry(key).map(|(_, value)| value.get_ref()), Some(DeValue::Table(_)))
    }

    /// An array of tables; `None` when absent.
    pub(super) fn tables(&self, key: &'static str) -> Option<Vec<Table<'a, 'i>>> {
        let (_, value) = self.entry(key)?;
        let full = self.full(key);
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(value, &full, "an array of tables");
            return None;
        };
        let tables = items.iter().filter_map(|item| self.as_table(item, full.clone(), item.span()));
        Some(tables.collect())
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        let mut valid = self.asked.take();
        valid.sort_unstable();
        valid.dedup();
        for (key, _) in self.entries {
            if valid.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let place = if self.name.is_empty() {
                "at the top level".to_owned()
            } else {
                format!("in [{}]", self.name)
            };
            let fault = self
                .reading
                .fault(&key.span(), format!("unknown key `{}` {place}", key.get_ref()))
                .nearest(key.get_ref(), valid.iter().copied())
                .help(format!("valid here: {}", valid.join(", ")));
            self.reading.record(fault);
        }
    }

    /// The whole name of a key in this table.
    pub(super) fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// The span of a key's value, or of the table when the key is absent.
    pub(super) fn value_span(&self, key: &str) -> Range<usize> {
        self.entries.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    fn entry(&self, key: &'static str) -> Option<Entry<'a>> {
        self.asked.borrow_mut().push(key);
        self.entries.get_key_value(key)
    }

    fn as_text(&self, value: &Spanned<DeValue<'_>>, full: &str, expected: &str) -> Option<Text> {
        match value.get_ref() {
            DeValue::String(written) => self.reading.expand(written, value.span()),
            _ => {
                self.wrong_type(value, full, expected);
                None
            }
        }
    }

    fn as_table(
        &self,
        value: &'a Spanned<DeValue<'a>>,
        name: String,
        span: Range<usize>,
    ) -> Option<Table<'a, 'i>> {
        match value.get_ref() {
            DeValue::Table(entries) => {
                Some(Table { reading: self.reading, entries, name, span, asked: RefCell::default() })
            }
            _ => {
                self.wrong_type(value, &name, "a table");
                None
            }
        }
    }

    fn wrong_type(&self, value: &Spanned<DeValue<'_>>, full: &str, expected: &str) {
        let found = match value.get_ref() {
            DeValue::Integer(_) => "an integer",
            DeValue::Array(_) => "an array",
            DeValue::String(_) => "a string",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a datetime",
            DeValue::Table(_) => "a table",
        };
        let message = format!("`{full}` must be {expected}, found {found}");
        self.reading.record(self.reading.fault(&value.span(), message));
    }
}

fn name_text(name: &Spanned<std::borrow::Cow<'_, str>>) -> Text {
    Text { value: name.get_ref().to_string(), span: name.span(), references: Vec::new() }
}
