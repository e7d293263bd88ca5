//! Requests that may be repeated: `Idempotency-Key`, as
//! draft-ietf-httpapi-idempotency-key-header has it.
//!
//! The key belongs to its caller, or to all those together who have not logged in, and is
//! kept for a day. It is claimed in the transaction that begins the saga and gets its
//! answer in the one that writes the order, so there is no moment at which a crash could
//! leave one without the other. Whatever ends in no order, a 4xx above all, leaves the key
//! free.

use std::collections::BTreeMap;

use utoipa::openapi::{self, RefOr};
use utoipa::{IntoParams, IntoResponses};
use wasmyard_guest::{Fault, Problem, Request, Response, Value, answers, form_problems, query};

use crate::PATH;

/// The header field, as a guest sees it.
const FIELD: &str = "idempotency-key";
/// Characters of a key.
const LENGTH_MAX: usize = 255;

/// How the header field is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a description, never a value")]
pub(crate) struct KeyField {
    /// Names the request: sent again with the same key and body, it is answered with what the
    /// first one was, for 24 hours.
    #[param(
        rename = "Idempotency-Key",
        max_length = 255,
        pattern = r"^[!#-+\x2D-\x5B\x5D-~]+$",
        example = "8e03978e-40d5-43dd-bc93-6894a57f9324"
    )]
    key: Option<String>,
}

/// What comes of a key, or of the form beside it.
pub(crate) struct KeyedFormProblems;

impl IntoResponses for KeyedFormProblems {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        answers(form_problems().into_iter().chain([Key::unreadable(), Key::reused()]))
    }
}

/// A key, whose it is, and what it is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    caller: &'a str,
    text: &'a str,
    body: &'a [u8],
}

impl<'a> Key<'a> {
    /// The key of a request, if it has one.
    ///
    /// The draft's form is a string of structured fields, `"8e03978e"`; the bare text is
    /// taken as well, as most clients send it, and means the same key. In neither form may
    /// it have quotes, backslashes, commas or spaces, so that no key can be written in two
    /// ways.
    ///
    /// # Errors
    ///
    /// 400 when it is not of that form, or there are several.
    pub(crate) fn of(request: &'a Request) -> Result<Option<Self>, Problem> {
        let mut fields = request.headers.iter().filter(|(name, _)| name == FIELD);
        let Some((_, value)) = fields.next() else { return Ok(None) };
        let text = std::str::from_utf8(value).ok().and_then(read).filter(|_| fields.next().is_none());
        let text = text.ok_or_else(Self::unreadable)?;
        Ok(Some(Self { caller: request.subject().unwrap_or_default(), text, body: &request.body }))
    }

    /// The answer that was given to the first request with this key; `None` if there was
    /// none.
    ///
    /// # Errors
    ///
    /// 422 when that one had another body, 409 while it is being worked on.
    pub(crate) fn answer(&self) -> Result<Option<Response>, Problem> {
        let found = query(ANSWER, &self.params())?;
        let found = found.first(|row| {
            Ok((row.get::<bool>("same")?, row.get::<i32>("order_id")?, row.get::<Option<String>>("answer")?))
        })?;
        match found {
            None => Ok(None),
            Some((false, ..)) => Err(Self::reused()),
            Some((true, _, None)) => Err(Self::running()),
            Some((true, order, Some(answer))) => Ok(Some(
                Response { status: 201, ..Response::json_bytes(201, answer.into_bytes()) }
                    .with_header("location", &format!("{PATH}/{order}"))
                    .with_header("idempotent-replayed", "true"),
            )),
        }
    }

    /// 400: the header field is no key.
    fn unreadable() -> Problem {
        Problem::bad_request(format!(
            "Idempotency-Key must be one key of 1 to {LENGTH_MAX} visible ASCII characters without \
             quotes, backslashes and commas."
        ))
    }

    /// 422: the first request with the key had another body.
    fn reused() -> Problem {
        Problem::unprocessable(vec![Fault::body(
            "is another one than that of the first request with this Idempotency-Key",
        )])
    }

    /// 409: the first request with the key has no answer yet.
    pub(crate) fn running() -> Problem {
        Problem::conflict("The first request with this Idempotency-Key is still being worked on.")
            .with_header("retry-after", "1")
    }

    /// Caller, key and body: the first three parameters of a statement about it.
    pub(crate) fn params(&self) -> [Value; 3] {
        [self.caller.into(), self.text.into(), Value::Bytes(self.body.to_vec())]
    }
}

const ANSWER: &str = "
    SELECT digest = sha256($3) AS same, order_id, answer FROM idempotency_keys
    WHERE caller = $1 AND key = $2 AND claimed_at > now() - interval '24 hours'";

/// Forgets keys of more than a day ago, some at a time. The age is asked for twice: a key that
/// was found old may be claimed anew before it is deleted, and Postgres looks again at the outer
/// condition alone.
pub(crate) const FORGET: &str = "
    DELETE FROM idempotency_keys WHERE (caller, key) IN (
        SELECT caller, key FROM idempotency_keys
        WHERE claimed_at <= now() - interval '24 hours' ORDER BY claimed_at LIMIT 1000
    )
    AND claimed_at <= now() - interval '24 hours'";

fn read(value: &str) -> Option<&str> {
    let value = value.trim_matches([' ', '\t']);
    let text = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    let legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',');
    ((1..=LENGTH_MAX).contains(&text.len()) && text.bytes().all(legal)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_string_of_structured_fields_or_bare() {
        let uuid = "8e03978e-40d5-43dd-bc93-6894a57f9324";
        let long = "x".repeat(255);
        for (value, text) in [
            (uuid, uuid),
            (&format!("\"{uuid}\""), uuid),
            (" \"a\" ", "a"),
            ("a:b/c;d=e", "a:b/c;d=e"),
            (&long, &long),
            (&format!("\"{long}\""), &long),
        ] {
            assert_eq!(read(value), Some(text), "{value}");
        }
        for value in
            ["", " ", "\"\"", "\"", "\"a", "a\"", "a b", "a, b", "a\\b", "ä", "a\u{7f}", &"x".repeat(256)]
        {
            assert_eq!(read(value), None, "{value}");
        }
    }

    #[test]
    fn one_request_has_one_key() {
        let with = |values: &[&[u8]]| {
            let headers = values.iter().map(|value| (FIELD.to_owned(), value.to_vec())).collect();
            Request { headers, ..Request::default() }
        };
        assert_eq!(Key::of(&with(&[])), Ok(None));
        assert!(matches!(Key::of(&with(&[b"a"])), Ok(Some(Key { caller: "", text: "a", .. }))));
        for values in [&[&b"a"[..], b"a"][..], &[b"a", b"b"], &[b"\xff"], &[b""]] {
            assert_eq!(Key::of(&with(values)).expect_err("no key").status(), 400);
        }
    }
}
