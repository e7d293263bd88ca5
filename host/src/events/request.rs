//! What a client asks for when it subscribes.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::event::{BadCursor, Cursor};
use super::refusal;
use crate::limiter::Client;
use crate::manifest::{EventForm, Events, KeyForm};
use crate::problem::Problem;
use crate::runtime::Identity;

/// What a browser sends when it comes back to server-sent events.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The parameter that says the same.
const AFTER: &str = "after";
/// A key, in characters: as long as the outbox takes one.
pub(crate) const KEY_CHARS_MAX: usize = 64;

/// A request for events, of a caller who may have them.
pub(crate) struct Opening<'a> {
    /// How they are to travel.
    pub(crate) form: EventForm,
    /// The query, as it was sent.
    pub(crate) query: Option<&'a str>,
    /// Its fields.
    pub(crate) headers: &'a HeaderMap,
    /// Whom it was asked of: `Host`, or `:authority`.
    pub(crate) host: Option<&'a str>,
    /// Whether it came over TLS.
    pub(crate) secure: bool,
    /// Who asks. `None`: somebody unknown, where that is allowed.
    pub(crate) identity: Option<&'a Identity>,
    /// Who asks, as limits tell clients apart.
    pub(crate) client: Client,
}

/// Which events are wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Those after this one. `None`: new ones.
    pub(super) after: Option<Cursor>,
    /// Those of this key.
    pub(super) key: Option<Box<str>>,
}

impl Asked {
    /// Reads a request.
    ///
    /// # Errors
    /// 400 with everything that is wrong.
    pub(super) fn read(opening: &Opening<'_>, events: &Events) -> Result<Self, Problem> {
        let mut faults: Vec<Value> = Vec::new();
        let mut asked = Self { after: None, key: None };
        let mut seen: Vec<String> = Vec::new();
        for pair in opening.query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name), decode(value)) else {
                faults.push(fault(pair, "is not UTF-8"));
                continue;
            };
            let read = if seen.contains(&name) {
                Err("stands here twice".to_owned())
            } else if name == AFTER {
                cursor(&value).map(|after| asked.after = Some(after))
            } else if events.key.as_ref() == Some(&name) {
                key(&value, events.key_form).map(|key| asked.key = Some(key))
            } else {
                let known = events.key.iter().map(String::as_str).chain([AFTER]);
                Err(format!("is not known here; {} are", known.collect::<Vec<_>>().join(" and ")))
            };
            if let Err(detail) = read {
                faults.push(fault(&name, &detail));
            }
            seen.push(name);
        }
        // A browser that comes back asks the same address again: what it has seen since then
        // stands here.
        if let Some(last) = opening.headers.get(LAST_EVENT_ID) {
            match last.to_str().map_err(|_| BadCursor.to_string()).and_then(cursor) {
                Ok(last) => asked.after = Some(last),
                Err(detail) => faults.push(json!({ "header": LAST_EVENT_ID.as_str(), "detail": detail })),
            }
        }
        if faults.is_empty() {
            return Ok(asked);
        }
        Err(refusal::parameters(faults))
    }
}

fn cursor(text: &str) -> Result<Cursor, String> {
    text.parse().map_err(|error: BadCursor| error.to_string())
}

fn key(text: &str, form: KeyForm) -> Result<Box<str>, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match form {
        KeyForm::Integer => {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            match text.parse::<i64>() {
                // As it is written in the outbox: without zeros before it.
                Ok(number) if digits && number > 0 => Ok(number.to_string().into()),
                _ => Err("must be a positive integer".to_owned()),
            }
        }
        KeyForm::Text if !text.is_empty() && text.len() <= KEY_CHARS_MAX && text.bytes().all(plain) => {
            Ok(text.into())
        }
        KeyForm::Text => Err(format!("must have 1 to {KEY_CHARS_MAX} letters, digits, `_` and `-`")),
    }
}

pub(crate) fn fault(parameter: &str, detail: &str) -> Value {
    // A name that somebody made up may be as long as a request line.
    let parameter: String = parameter.chars().take(KEY_CHARS_MAX).collect();
    json!({ "parameter": parameter, "detail": detail })
}

/// As forms are encoded, which is how browsers write a query.
fn decode(text: &str) -> Option<String> {
    let spaces = text.replace('+', " ");
    percent_decode_str(&spaces).decode_utf8().ok().map(Cow::into_owned)
}
