//! What is wrong with a manifest, told like a good compiler tells it.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::source::Source;

/// Every fault of a manifest, in the order of the file.
///
/// No text in here holds the value of an environment variable, a connection string
/// or a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct ManifestErrors {
    /// The file.
    pub path: String,
    /// At least one.
    pub faults: Vec<Fault>,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What was found, and what is wrong with it.
    pub message: String,
    /// Line, counted from 1; 0 when the file could not be read at all.
    pub line: usize,
    /// Column in characters, counted from 1; 0 when there is no line.
    pub column: usize,
    /// Beside the marked text: usually the nearest valid name.
    pub hint: Option<String>,
    /// What would be valid.
    pub help: Option<String>,
    #[serde(skip)]
    snippet: Option<(String, Range<usize>)>,
}

impl Fault {
    /// A fault at a span of the text.
    pub(super) fn at(source: &Source<'_>, span: &Range<usize>, message: impl Into<String>) -> Self {
        let place = source.place(span.start);
        Self {
            message: message.into(),
            line: place.line,
            column: place.column,
            hint: None,
            help: None,
            snippet: source.snippet(span),
        }
    }

    /// A fault of the file as a whole.
    pub(super) fn of_file(message: impl Into<String>) -> Self {
        Self { message: message.into(), line: 0, column: 0, hint: None, help: None, snippet: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Suggests the valid name that is nearest to what was written, if one is near.
    pub(super) fn nearest<'n>(self, written: &str, valid: impl IntoIterator<Item = &'n str>) -> Self {
        match nearest(written, valid) {
            Some(name) => self.hint(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    fn write(&self, path: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        if self.line == 0 {
            writeln!(f, "  --> {path}")?;
        } else {
            writeln!(f, "  --> {path}:{}:{}", self.line, self.column)?;
        }
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        match &self.snippet {
            Some((text, marked)) => {
                writeln!(f, "{gutter} |")?;
                writeln!(f, "{number} | {text}")?;
                let (pad, marks) = (" ".repeat(marked.start), "^".repeat(marked.len()));
                let hint = self.hint.as_deref().unwrap_or_default();
                writeln!(f, "{}", format!("{gutter} | {pad}{marks} {hint}").trim_end())?;
            }
            None => {
                if let Some(hint) = &self.hint {
                    writeln!(f, "{gutter} = {hint}")?;
                }
            }
        }
        if let Some(help) = &self.help {
            writeln!(f, "{gutter} = {help}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            fault.write(&self.path, f)?;
            writeln!(f)?;
        }
        match self.faults.len() {
            1 => write!(f, "{}: 1 error", self.path),
            count => write!(f, "{}: {count} errors", self.path),
        }
    }
}

/// The valid name within a third of its letters (at least one, at most three).
pub(crate) fn nearest<'n>(written: &str, valid: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let folded = written.to_lowercase();
    valid
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&folded, &name.to_lowercase()), name))
        .filter(|(distance, name)| *name != written && *distance <= (name.chars().count() / 3).clamp(1, 3))
        .min()
        .map(|(_, name)| name)
}
