//! Cached reads, and what they tell the client (RFC 9211).

use std::time::Duration;

use utoipa::IntoParams;
use utoipa::openapi::{ObjectBuilder, Schema, Type};

use crate::bindings::wasmyard::platform::cache::{self, Error, LookupResult, Stored};
use crate::log::{self, Level};
use crate::{Problem, Request, Response};

/// What a client may ask of an answer that is cached.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct Freshness {
    /// `no-cache`: the answer comes from the database.
    #[param(rename = "Cache-Control", schema_with = Freshness::schema, required = false)]
    pub cache_control: Option<String>,
}

impl Freshness {
    /// Any directives; the example is no example of the parameter, for forms would begin with it.
    fn schema() -> Schema {
        ObjectBuilder::new().schema_type(Type::String).examples(["no-cache"]).build().into()
    }
}

/// The JSON body under a key of the cache, or as `read` makes it.
///
/// A hit goes out as it was stored: no parsing, no copying. On a miss one reader
/// runs `read` while others of the key wait for it. A client's `no-cache` is
/// honoured. The answer says in `Cache-Status` which of this it was.
///
/// # Errors
///
/// Those of `read`; they are not cached. A cache that fails is no error.
pub fn cached(
    request: &Request,
    key: &str,
    ttl: Duration,
    read: impl FnOnce() -> Result<Vec<u8>, Problem>,
) -> Result<Response, Problem> {
    cached_if(request, key, ttl, |_| true, read)
}

/// As [`cached`], but a body is stored only if it is worth its place.
///
/// # Errors
///
/// As [`cached`].
pub(crate) fn cached_if(
    request: &Request,
    key: &str,
    ttl: Duration,
    worth: impl FnOnce(&[u8]) -> bool,
    read: impl FnOnce() -> Result<Vec<u8>, Problem>,
) -> Result<Response, Problem> {
    if request.refuses_cache() {
        return Ok(answer(read()?, Outcome::Refused));
    }
    match cache::lookup(key) {
        Ok(LookupResult::Hit(hit)) => {
            let outcome =
                if hit.collapsed { Outcome::Collapsed } else { Outcome::Hit { ttl_ms: hit.ttl_ms } };
            Ok(answer(hit.value, outcome))
        }
        Ok(LookupResult::Fill(fill)) => {
            let body = read()?;
            let outcome =
                if worth(&body) { fill.store(&body, milliseconds(ttl)).into() } else { Outcome::Passed };
            Ok(answer(body, outcome))
        }
        Ok(LookupResult::Bypass) => Ok(answer(read()?, Outcome::Bypass("redis-unavailable"))),
        Err(Error::Timeout) => Ok(answer(read()?, Outcome::Bypass("fill-timeout"))),
        Err(error @ (Error::NotGranted(_) | Error::TooLarge(_))) => {
            complain("a key cannot be looked up in the cache", key, &error);
            Ok(answer(read()?, Outcome::Bypass("key-refused")))
        }
    }
}

/// Takes keys out of the cache. Call it after the write has been committed: a reader
/// that fills the key in between has read the new value.
pub fn invalidate(keys: &[String]) {
    // The write stands, whatever becomes of the cache: an error in the answer would
    // tell the client that it does not.
    if let Err(error) = cache::invalidate(keys) {
        complain("keys cannot be taken out of the cache", &keys.join(", "), &error);
    }
}

fn answer(body: Vec<u8>, outcome: Outcome) -> Response {
    Response::json_bytes(200, body).with_header("cache-status", &outcome.cache_status())
}

fn complain(message: &str, key: &str, error: &Error) {
    let fields = [("key".to_owned(), key.to_owned()), ("error".to_owned(), format!("{error:?}"))];
    log::write(Level::Error, message, &fields);
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the cache had to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It was there.
    Hit { ttl_ms: u64 },
    /// It was not there, and another reader's answer was shared.
    Collapsed,
    /// It was not there, and is now.
    Stored,
    /// It was not there, and a write came before it could be stored.
    Superseded,
    /// It was not there, and Redis went away before it could be stored.
    Lost,
    /// It was not there, and is not worth its place.
    Passed,
    /// The client wanted a fresh answer.
    Refused,
    /// The cache was not asked, or did not answer.
    Bypass(&'static str),
}

impl Outcome {
    /// The header field of RFC 9211. `hit` and `fwd` exclude each other (section 2),
    /// so a collapsed request, which did not find the value, is `fwd=miss`.
    fn cache_status(self) -> String {
        match self {
            Self::Hit { ttl_ms } => format!("wasmyard; hit; ttl={}", ttl_ms / 1_000),
            Self::Collapsed => "wasmyard; fwd=miss; collapsed".into(),
            Self::Stored => "wasmyard; fwd=miss; stored".into(),
            Self::Superseded => "wasmyard; fwd=miss; detail=superseded".into(),
            Self::Lost => "wasmyard; fwd=miss; detail=redis-unavailable".into(),
            Self::Passed => "wasmyard; fwd=miss".into(),
            Self::Refused => "wasmyard; fwd=request".into(),
            Self::Bypass(reason) => format!("wasmyard; fwd=bypass; detail={reason}"),
        }
    }
}

impl From<Stored> for Outcome {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Stored => Self::Stored,
            Stored::Superseded => Self::Superseded,
            Stored::Unavailable => Self::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_words() {
        for (outcome, words) in [
            (Outcome::Hit { ttl_ms: 42_999 }, "wasmyard; hit; ttl=42"),
            (Outcome::Hit { ttl_ms: 0 }, "wasmyard; hit; ttl=0"),
            (Outcome::Collapsed, "wasmyard; fwd=miss; collapsed"),
            (Outcome::from(Stored::Stored), "wasmyard; fwd=miss; stored"),
            (Outcome::from(Stored::Superseded), "wasmyard; fwd=miss; detail=superseded"),
            (Outcome::from(Stored::Unavailable), "wasmyard; fwd=miss; detail=redis-unavailable"),
            (Outcome::Passed, "wasmyard; fwd=miss"),
            (Outcome::Refused, "wasmyard; fwd=request"),
            (Outcome::Bypass("redis-unavailable"), "wasmyard; fwd=bypass; detail=redis-unavailable"),
        ] {
            assert_eq!(outcome.cache_status(), words);
        }
    }

    #[test]
    fn an_answer_is_json_with_its_status() {
        let response = answer(b"[]".to_vec(), Outcome::Stored);
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.header("cache-status"), Some("wasmyard; fwd=miss; stored"));
        assert_eq!(response.body, b"[]");
    }
}
