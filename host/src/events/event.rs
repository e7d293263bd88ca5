//! One event, and its place in its stream.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

/// A place in a stream: the id that Redis has for the event there, `1732320000000-0`. Events
/// come in the order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cursor {
    ms: u64,
    seq: u64,
}

/// Something else than a [`Cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no id of an event: two whole numbers with a hyphen between, as 1732320000000-0")]
pub struct BadCursor;

impl Cursor {
    /// Before every event.
    pub const START: Self = Self { ms: 0, seq: 0 };
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten().ok_or(BadCursor)
        };
        let (ms, seq) = text.split_once('-').ok_or(BadCursor)?;
        Ok(Self { ms: number(ms)?, seq: number(seq)? })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// What stands before the last member of an event's JSON.
pub(super) const TRACEPARENT: &str = r#","traceparent":"#;

/// An event, as it is told. All subscribers share it.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place.
    pub id: Cursor,
    /// The place of the event before it, whoever that was for.
    pub before: Cursor,
    /// The only caller who may see it, but for those who see all. `None`: only those.
    pub subject: Option<Box<str>>,
    /// What it is about.
    pub key: Box<str>,
    /// Its `type`.
    pub kind: Box<str>,
    /// The whole of it as JSON, the id included: UTF-8.
    pub json: Bytes,
}

impl Event {
    /// The trace that it comes of: the last member of what the host has written.
    pub(super) fn traceparent(&self) -> Option<&str> {
        let json = str::from_utf8(&self.json).ok()?;
        let (_, member) = json.rsplit_once(TRACEPARENT)?;
        member.strip_prefix('"')?.strip_suffix("\"}")
    }

    /// What it counts for in a queue.
    pub fn bytes(&self) -> usize {
        self.json.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_knows_the_trace_that_it_comes_of() {
        let traceparent = |json: &'static str| {
            let (key, kind) = ("1".into(), "order.created".into());
            let (id, before, json) = (Cursor::START, Cursor::START, Bytes::from_static(json.as_bytes()));
            let event = Event { id, before, subject: None, key, kind, json };
            event.traceparent().map(str::to_owned)
        };
        let of_client = r#"{"id":"1-0","note":",\"traceparent\":\"00-no\"}","traceparent":"00-4b-0f-01"}"#;
        assert_eq!(traceparent(of_client).as_deref(), Some("00-4b-0f-01"));
        assert_eq!(traceparent(r#"{"id":"1-0","seq":1,"traceparent":null}"#), None);
        assert_eq!(traceparent(r#"{"id":"1-0"}"#), None);
    }

    #[test]
    fn a_cursor_is_two_numbers_and_nothing_else() {
        let cursor: Cursor = "1732320000000-7".parse().unwrap();
        assert_eq!(cursor.to_string(), "1732320000000-7");
        assert!(cursor > "1732320000000-6".parse().unwrap() && cursor < "1732320000001-0".parse().unwrap());
        assert!(cursor < "1732320000000-10".parse().unwrap(), "as numbers, not as text");
        assert_eq!("0-0".parse(), Ok(Cursor::START));
        for bad in ["", "-", "1", "1-", "-1", "1-1-1", "+1-1", "1- 1", "a-1", "$", "99999999999999999999-0"] {
            assert_eq!(bad.parse::<Cursor>(), Err(BadCursor), "{bad}");
        }
    }
}
