//! What may be told of a statement: its text without values, and a summary.

use std::borrow::Cow;

use crate::limits::{SPAN_SQL_BYTES_MAX, SPAN_SUMMARY_BYTES_MAX};

/// Words of a summary.
const SUMMARY_WORDS_MAX: usize = 8;
/// Keywords that a summary is made of.
const OPERATIONS: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE"];
/// Keywords that stand before the name of a table.
const BEFORE_TABLE: [&str; 4] = ["FROM", "INTO", "JOIN", "UPDATE"];

/// Words after which such a keyword belongs to a clause: `FOR UPDATE`, `FOR NO KEY UPDATE`, `ON
/// CONFLICT DO UPDATE`, `ON DELETE CASCADE`.
const BEFORE_CLAUSE: [&str; 4] = ["FOR", "KEY", "DO", "ON"];

/// A statement's text with `?` in the place of each literal, and its summary: operations and
/// tables in their order. Parameters stand there as `$1`. Whatever cannot be told from a
/// literal is taken for one.
pub(super) fn without_values(sql: &str) -> (String, String) {
    let (mut text, mut summary) = (String::with_capacity(sql.len()), Summary::default());
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (piece, after) = rest.split_at(length(rest, first));
        rest = after;
        match first {
            '\'' | '0'..='9' => text.push('?'),
            'e' | 'E' if piece[1..].starts_with('\'') => text.push('?'),
            '$' if piece.len() > 1 && !piece.as_bytes()[1].is_ascii_digit() => text.push('?'),
            '-' | '/' if piece.len() > 1 => text.push(' '),
            _ if first.is_whitespace() => {
                if !text.ends_with(' ') {
                    text.push(' ');
                }
                continue;
            }
            _ => text.push_str(piece),
        }
        summary.read(piece, first);
    }
    (bounded(text.trim().to_owned()), summary.text())
}

/// Operations and tables, as they come by.
#[derive(Default)]
struct Summary<'a> {
    words: Vec<Cow<'a, str>>,
    /// The piece before, in capitals; empty if it was no word.
    before: String,
    /// The next word is a table's name.
    names_table: bool,
    /// For each parenthesis that is open, whether there is a query in it: `FROM` is a word of
    /// `extract(epoch FROM x)` too.
    queries: Vec<bool>,
}

impl<'a> Summary<'a> {
    fn read(&mut self, piece: &'a str, first: char) {
        let is_word = first.is_alphabetic() || first == '_' || first == '"';
        let upper = if is_word { piece.to_ascii_uppercase() } else { String::new() };
        let before = std::mem::replace(&mut self.before, upper);
        let names_table = std::mem::take(&mut self.names_table);
        match first {
            '(' => self.queries.push(false),
            ')' => drop(self.queries.pop()),
            _ if !is_word => {}
            _ => {
                let upper = self.before.as_str();
                let is_clause = BEFORE_CLAUSE.contains(&before.as_str());
                if OPERATIONS.contains(&upper) && !is_clause {
                    self.words.push(Cow::Owned(upper.to_owned()));
                    self.queries.last_mut().into_iter().for_each(|is_query| *is_query = true);
                } else if names_table && matches!(upper, "ONLY" | "LATERAL") {
                    self.names_table = true;
                    return;
                // `THEN UPDATE SET`, of a MERGE.
                } else if names_table && upper != "SET" {
                    self.words.push(Cow::Borrowed(piece));
                }
                let is_from =
                    upper != "FROM" || (before != "DISTINCT" && self.queries.last() != Some(&false));
                self.names_table = BEFORE_TABLE.contains(&upper) && !is_clause && is_from;
            }
        }
    }

    /// As many of the first words as there may be; none is cut.
    fn text(self) -> String {
        let mut text = String::new();
        for word in self.words.iter().take(SUMMARY_WORDS_MAX) {
            let space = usize::from(!text.is_empty());
            if text.len() + space + word.len() > SPAN_SUMMARY_BYTES_MAX {
                break;
            }
            text.push_str(&" "[..space]);
            text.push_str(word);
        }
        text
    }
}

/// How long the word, literal, comment or sign is that a text begins with.
fn length(text: &str, first: char) -> usize {
    let word = |text: &str| text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
    match first {
        '\'' => quoted(text, '\'', text.len()),
        '"' => quoted(text, '"', text.len()),
        '$' => {
            let tag = text[1..].find('$').map(|end| &text[..end + 2]);
            let is_tag = |tag: &&str| {
                let name = &tag[1..tag.len() - 1];
                !name.starts_with(|c: char| c.is_ascii_digit()) && word(name).is_none()
            };
            match tag.filter(is_tag) {
                Some(tag) => text[tag.len()..].find(tag).map_or(text.len(), |end| end + 2 * tag.len()),
                None => 1 + text[1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - 1),
            }
        }
        '-' if text.starts_with("--") => text.find('\n').unwrap_or(text.len()),
        '/' if text.starts_with("/*") => text.find("*/").map_or(text.len(), |end| end + 2),
        '0'..='9' => {
            text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_')).unwrap_or(text.len())
        }
        _ if first.is_alphabetic() || first == '_' => {
            let end = word(text).unwrap_or(text.len());
            // `E'…'`, `B'…'`, `X'…'`, `U&'…'`: the prefix is left as a word of its own, but a
            // backslash in the first of them may hide the quote that ends it.
            match text[..end].eq_ignore_ascii_case("e") && text[end..].starts_with('\'') {
                true => text.len(),
                false => end,
            }
        }
        _ => first.len_utf8(),
    }
}

/// The length of a quoted piece, in which the sign stands for itself when it is doubled.
fn quoted(text: &str, sign: char, unclosed: usize) -> usize {
    let mut from = 1;
    while let Some(end) = text[from..].find(sign) {
        from += end + 1;
        if !text[from..].starts_with(sign) {
            return from;
        }
        from += 1;
    }
    unclosed
}

/// At most as many bytes as a span may have of SQL.
pub(super) fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(SPAN_SQL_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_literal_of_a_statement_is_told() {
        for (sql, text) in [
            ("SELECT 1", "SELECT ?"),
            (
                "SELECT * FROM users WHERE id = $1 AND name = 'alice''s'",
                "SELECT * FROM users WHERE id = $1 AND name = ?",
            ),
            ("SELECT t1.a, 1.5e-3, -7, 0x1F FROM t1 LIMIT $12", "SELECT t1.a, ?-?, -?, ? FROM t1 LIMIT $12"),
            ("SELECT $$it's a secret$$, $q$a $$ b$q$", "SELECT ?, ?"),
            ("SELECT \"a'b\" FROM \"t\"", "SELECT \"a'b\" FROM \"t\""),
            (
                "SELECT 1 -- secret\n FROM t /* secret */ WHERE a = 'never closed",
                "SELECT ? FROM t WHERE a = ?",
            ),
            ("SELECT X'ff', e'a\\' secret' FROM t", "SELECT X?, ?"),
            ("SELECT 'grün', 'ü' FROM größe", "SELECT ?, ? FROM größe"),
            ("SELECT\n    a,\n    b", "SELECT a, b"),
            ("SELECT $", "SELECT $"),
            ("SELECT '", "SELECT ?"),
        ] {
            assert_eq!(without_values(sql).0.split_whitespace().collect::<Vec<_>>().join(" "), text, "{sql}");
        }
    }

    #[test]
    fn a_summary_has_the_operations_and_their_tables() {
        for (sql, summary) in [
            ("select a from users u join orders o on o.user_id = u.id", "SELECT users orders"),
            (
                "INSERT INTO orders (a) SELECT a FROM products WHERE b = 'FROM c'",
                "INSERT orders SELECT products",
            ),
            ("UPDATE products SET stock = 1", "UPDATE products"),
            ("WITH x AS (DELETE FROM a RETURNING b) SELECT * FROM x", "DELETE a SELECT x"),
            ("DELETE FROM \"odd name\"", "DELETE \"odd name\""),
            ("SELECT 1", "SELECT"),
            ("VALUES (1)", ""),
            (
                "UPDATE order_sagas SET fence = $1 WHERE id IN (SELECT id FROM order_sagas FOR UPDATE SKIP LOCKED)",
                "UPDATE order_sagas SELECT order_sagas",
            ),
            ("SELECT a FROM t FOR NO KEY UPDATE", "SELECT t"),
            ("INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1", "INSERT t"),
            ("SELECT extract(epoch FROM a), trim(FROM b) FROM t WHERE a IS DISTINCT FROM b", "SELECT t"),
            ("SELECT (SELECT max(a) FROM s) FROM ONLY t", "SELECT SELECT s t"),
            ("MERGE INTO t USING s ON a = b WHEN MATCHED THEN UPDATE SET c = 1", "MERGE t UPDATE"),
        ] {
            assert_eq!(without_values(sql).1, summary, "{sql}");
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        let sql = format!("SELECT {}", "ä, ".repeat(SPAN_SQL_BYTES_MAX));
        let (text, _) = without_values(&sql);
        assert!(text.len() <= SPAN_SQL_BYTES_MAX && text.len() > SPAN_SQL_BYTES_MAX - 4);
    }

    #[test]
    fn a_summary_is_cut_between_words() {
        let name = |letter: &str| letter.repeat(200);
        let sql = format!("SELECT a FROM {} JOIN {} ON b", name("t"), name("u"));
        assert_eq!(without_values(&sql).1, format!("SELECT {}", name("t")));
        let sql = format!("SELECT a FROM \"{}\"", "t".repeat(100_000));
        assert_eq!(without_values(&sql).1, "SELECT");
    }
}
