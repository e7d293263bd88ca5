//! A JSON object, read without giving up what it said.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Fault, Field, Problem};

/// Nesting of a body. The shop's objects are flat; a level costs its sender one byte
/// and a reader that recurses a stack frame.
const DEPTH_MAX: usize = 32;

/// A JSON object whose values are kept as they stood: a number has all its digits.
#[derive(Debug)]
pub struct Object<'a> {
    members: Vec<(String, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    ///
    /// 400 when it is not UTF-8, not JSON (with line and column), or deeper than 32
    /// levels; 422 when it is JSON and not an object.
    pub fn parse(body: &'a [u8]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Err(Problem::bad_request("The body is empty; a JSON object is expected."));
        }
        let text = std::str::from_utf8(body).map_err(|error| {
            Problem::bad_request(format!("The body is not UTF-8 at byte {}.", error.valid_up_to()))
        })?;
        if let Some(offset) = too_deep(body) {
            let (line, column) = place(body, offset);
            return Err(malformed(line, column, "nested deeper than 32 levels"));
        }
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| syntax(&error))?;
        if !raw.get().starts_with('{') {
            return Err(Problem::unprocessable(vec![Fault::body("must be a JSON object")]));
        }
        let Members(members) = serde_json::from_str(text).map_err(|error| syntax(&error))?;
        Ok(Self { members })
    }

    /// The value of a member, the first of that name.
    pub fn field(&self, name: &str) -> Option<Field<'a>> {
        self.members.iter().find(|(known, _)| known == name).map(|(_, raw)| Field::new(raw))
    }

    /// The names, in the order written, repeated ones too.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }
}

/// Members in the order written. A map would hide that a name came twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

fn syntax(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    malformed(line, column, what)
}

fn malformed(line: usize, column: usize, what: &str) -> Problem {
    let detail = format!("The body is not valid JSON at line {line}, column {column}: {what}.");
    Problem::bad_request(detail).with("line", line).with("column", column)
}

/// Where the nesting passes its bound. serde_json skips over values without
/// recursion and so has no bound of its own here.
fn too_deep(body: &[u8]) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (offset, byte) in body.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' if depth == DEPTH_MAX => return Some(offset),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Line and column of an offset, counted from 1, a column being a byte as in
/// serde_json.
fn place(body: &[u8], offset: usize) -> (usize, usize) {
    let before = &body[..offset];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &[u8]) -> (u16, String) {
        let problem = Object::parse(body).expect_err("a refusal");
        (problem.status(), problem.detail().to_owned())
    }

    #[test]
    fn broken_json_is_named_by_line_and_column() {
        let (status, detail) = refusal(b"{\n  \"a\": tru }");
        assert_eq!(status, 400);
        assert_eq!(detail, "The body is not valid JSON at line 2, column 11: expected ident.");
        let broken: [&[u8]; 9] = [
            b"{",
            b"{}x",
            b"[1,2",
            b"{\"a\":1,}",
            b"{'a':1}",
            b"{\"a\":01}",
            b"nul",
            b"\xef\xbb\xbf{}",
            b" ",
        ];
        for body in broken {
            assert_eq!(refusal(body).0, 400, "{body:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert_eq!(refusal(b"{\"a\":\"\xff\"}"), (400, "The body is not UTF-8 at byte 6.".into()));
        assert_eq!(refusal(b"").0, 400);
    }

    #[test]
    fn json_that_is_no_object_breaks_a_rule() {
        for body in [&b"[]"[..], b"null", b"1", b"\"x\"", b" true "] {
            assert_eq!(refusal(body).0, 422, "{body:?}");
        }
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(Object::parse(nested(31).as_bytes()).is_ok());
        let (status, detail) = refusal(nested(32).as_bytes());
        assert_eq!(status, 400);
        assert!(detail.contains("line 1, column 37"), "{detail}");
        assert_eq!(refusal("[".repeat(1 << 20).as_bytes()).0, 400);
        assert!(Object::parse(format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(100)).as_bytes()).is_ok());
    }

    #[test]
    fn members_keep_their_order_and_their_repetitions() {
        let object = Object::parse(br#"{"b":1,"a":2,"b":3}"#).expect("an object");
        assert_eq!(object.names().collect::<Vec<_>>(), ["b", "a", "b"]);
        assert_eq!(object.field("b").and_then(|field| field.integer(0..=9).ok()), Some(1));
        assert!(object.field("c").is_none());
    }
}
