//! The manifest's text, and what of it an error may show.

use std::ops::Range;

/// The text of a manifest and the path that errors name.
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) path: String,
}

/// A place in a text, both counted from 1; columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// Keys whose strings are no secrets. Whatever else stands in a string is masked,
/// so that a connection string under a mistyped key is not printed either.
const SHOWN: &[&str] = &[
    "audience",
    "auth",
    "bind",
    "build",
    "cache",
    "cert",
    "component",
    "docs_path",
    "every",
    "folder",
    "health_path",
    "http_port",
    "https_port",
    "isolation",
    "issuer",
    "keys",
    "local_auth",
    "methods",
    "migrations",
    "path",
    "port",
    "role",
    "routes",
    "sample_data",
    "services",
];

impl Source<'_> {
    /// Where a byte offset is.
    pub(super) fn place(&self, offset: usize) -> Place {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            line: before.bytes().filter(|&byte| byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// The line that a span begins in, its secrets masked, and the columns to mark
    /// in it. `None` where nothing can be shown safely.
    pub(super) fn snippet(&self, span: &Range<usize>) -> Option<(String, Range<usize>)> {
        let start = self.text.floor_char_boundary(span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |newline| start + newline);
        let line = self.text[line_start..line_end].trim_end();
        let end = self.text.floor_char_boundary(span.end).clamp(start, line_start + line.len().max(1));
        let marked = start - line_start..end.saturating_sub(line_start);
        let masked = if self.in_settings(line_start, line) { mask_all(line)? } else { mask(line)? };
        let (shown, marks) = masked.with_marks(line, &marked);
        Some((shown.trim_end().to_owned(), marks))
    }

    /// Whether a line belongs to a service's settings, which may be anything. A
    /// `settings` since the last table header makes it so: too often rather than
    /// too seldom.
    fn in_settings(&self, line_start: usize, line: &str) -> bool {
        if line.trim_start().starts_with('[') {
            return false;
        }
        if line.contains("settings") {
            return true;
        }
        for earlier in self.text[..line_start].lines().rev() {
            if earlier.contains("settings") {
                return true;
            }
            if earlier.starts_with('[') {
                return false;
            }
        }
        false
    }
}

/// A line with holes: for each piece, the bytes it stands for and what is shown.
struct Masked {
    pieces: Vec<(Range<usize>, bool)>,
}

impl Masked {
    /// The shown line, and the characters of it that stand for `marked`.
    fn with_marks(&self, line: &str, marked: &Range<usize>) -> (String, Range<usize>) {
        let mut shown = String::new();
        let (mut from, mut to) = (None, 0);
        for (bytes, visible) in &self.pieces {
            if *visible {
                for (index, character) in line[bytes.clone()].char_indices() {
                    let at = bytes.start + index;
                    if at >= marked.start && from.is_none() {
                        from = Some(shown.chars().count());
                    }
                    // A tab has no width of its own that the marks could follow.
                    shown.push(if character == '\t' { ' ' } else { character });
                    if at < marked.end {
                        to = shown.chars().count();
                    }
                }
            } else {
                if bytes.end > marked.start && from.is_none() {
                    from = Some(shown.chars().count());
                }
                shown.push('…');
                if bytes.start < marked.end {
                    to = shown.chars().count();
                }
            }
        }
        let from = from.unwrap_or_else(|| shown.chars().count());
        (shown, from..to.max(from + 1))
    }
}

/// Masks everything after the first `=`.
fn mask_all(line: &str) -> Option<Masked> {
    let equals = line.find('=')?;
    Some(Masked { pieces: vec![(0..equals + 1, true), (equals + 1..line.len(), false)] })
}

/// Masks the contents of strings that do not stand under a key of [`SHOWN`], and
/// bare words that are no number or boolean, which a forgotten quote leaves.
fn mask(line: &str) -> Option<Masked> {
    if line.trim_start().starts_with('[') {
        return Some(Masked { pieces: vec![(0..line.len(), true)] });
    }
    let mut pieces = Vec::new();
    let mut key = String::new();
    let mut word = String::new();
    let mut shown_until = 0;
    let mut at = 0;
    let bytes = line.as_bytes();
    if !line.contains('=') && !line.trim_start().starts_with(['"', '\'', ']', '}', '{', ',']) {
        return None;
    }
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'"' | b'\'') => {
                let end = string_end(bytes, at + 1, quote);
                if !SHOWN.contains(&key.as_str()) || line[at..end].contains("://") {
                    pieces.push((shown_until..at + 1, true));
                    pieces.push((at + 1..end, false));
                    shown_until = end;
                }
                at = end + 1;
            }
            b'=' => {
                key = std::mem::take(&mut word);
                at += 1;
            }
            b'#' => break,
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+') => {
                let end = (at..bytes.len())
                    .find(|&index| !(bytes[index].is_ascii_alphanumeric() || b"_-.+".contains(&bytes[index])))
                    .unwrap_or(bytes.len());
                line[at..end].clone_into(&mut word);
                let is_key = line[end..].trim_start().starts_with('=');
                let is_value = word == "true" || word == "false" || word.parse::<f64>().is_ok();
                if !is_key && !is_value {
                    pieces.push((shown_until..at, true));
                    pieces.push((at..line.len(), false));
                    return Some(Masked { pieces });
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    pieces.push((shown_until..at.min(line.len()), true));
    Some(Masked { pieces })
}

/// Where the string that begins at `from` ends: at its quote, or with the line.
fn string_end(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' && quote == b'"' { 2 } else { 1 };
    }
    at.min(bytes.len())
}
