//! The answers that the host gives in a service's place, as `#/components/responses/…`.
//!
//! Each is described by the problems that the host really makes, and they are its examples.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value, json};

use crate::limiter::{Limit, Verdict};
use crate::limits;
use crate::policy::REQUEST_ID;
use crate::policy::auth::{Denied, Invalid};
use crate::problem::{Kind, Problem};
use crate::runtime::{Failure, RequestId};
use crate::server::{BodyError, Refusal};

/// The media type of a problem (RFC 9457, section 6.1).
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// The id of examples: one that changes would make every document another one.
pub(in crate::gateway) const EXAMPLE_ID: &str = "01936f3c-7d2e-7b60-9a51-0c4f5d6e7a8b";

/// The tag of examples.
pub(super) const EXAMPLE_TAG: &str = "\"33a64df551425fcc55e4d42a148795d9\"";

/// How long the client of the example has to wait.
const EXAMPLE_WAIT_US: u64 = 1_000_000;

/// All of them by name.
pub(super) fn shared() -> Map<String, Value> {
    let timeout_ms = u64::try_from(limits::REQUEST_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
    let answers: [(&str, Vec<Problem>); 11] = [
        (
            "Malformed",
            vec![
                Problem::new(Kind::Malformed, "A segment of the path is not UTF-8."),
                Problem::from(Refusal::Malformed("the Host field is malformed")),
            ],
        ),
        ("NoToken", vec![(&Denied::NoToken).into(), (&Denied::InvalidToken(Invalid::Expired)).into()]),
        ("InvalidToken", vec![(&Denied::InvalidToken(Invalid::Expired)).into()]),
        ("MissingRole", vec![(&Denied::NoRole("admin".into())).into()]),
        (
            "RequestTimeout",
            vec![(&BodyError::Timeout { within: limits::BODY_TIMEOUT }).into(), Refusal::HeadTimeout.into()],
        ),
        ("BodyTooLarge", vec![(&BodyError::TooLarge { bytes_max: limits::REQUEST_BODY_BYTES_MAX }).into()]),
        ("RequestLineTooLong", vec![Refusal::RequestLineTooLong.into()]),
        ("HeadersTooLarge", vec![Refusal::HeadersTooLarge.into()]),
        ("ServiceFailed", vec![(&Failure::Trap(String::new())).into()]),
        (
            "Unavailable",
            vec![
                (&Failure::Saturated { limit: limits::CONCURRENCY_MAX }).into(),
                (&Failure::NoInstance(String::new())).into(),
            ],
        ),
        ("Timeout", vec![(&Failure::Timeout { limit_ms: timeout_ms }).into()]),
    ];
    answers.into_iter().map(|(name, problems)| (name.to_owned(), answer("host", problems))).collect()
}

/// The answer to a client that is beyond this limit.
pub(super) fn beyond(limit: &Arc<Limit>) -> Value {
    let verdict = Verdict::refuse(limit, EXAMPLE_WAIT_US);
    let mut headers = HeaderMap::new();
    verdict.write(&mut headers);
    let problem = verdict.problem();
    let detail = problem.detail().split(';').next().unwrap_or_default().to_owned();
    let mut answer = answer_with("host", vec![problem], headers);
    answer["description"] = format!("{detail}.").into();
    answer
}

/// Problems of one status as one answer. `whose` are its examples.
pub(super) fn answer(whose: &str, problems: Vec<Problem>) -> Value {
    answer_with(whose, problems, HeaderMap::new())
}

fn answer_with(whose: &str, problems: Vec<Problem>, mut headers: HeaderMap) -> Value {
    let mut titles: Vec<&str> = Vec::new();
    let mut examples = Map::new();
    for (number, problem) in problems.into_iter().enumerate() {
        let title = problem.kind().title();
        if !titles.contains(&title) {
            titles.push(title);
        }
        let summary = problem.detail().to_owned();
        let response = problem.response(&RequestId::new(), "/api/v1/…");
        let mut value: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        value["request_id"] = EXAMPLE_ID.into();
        headers.extend(response.headers);
        examples.insert(format!("{whose}-{}", number + 1), json!({ "summary": summary, "value": value }));
    }
    let described =
        headers.iter().filter(|(name, _)| !matches!(**name, CONTENT_TYPE | CACHE_CONTROL | CONNECTION));
    let described = described.map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (cased(name), json!({ "schema": { "type": "string" }, "example": value }))
    });
    let mut fields: Map<String, Value> = described.collect();
    fields.insert(cased(&REQUEST_ID), header("X-Request-Id"));
    json!({
        "description": format!("{}.", titles.join(". ")),
        "headers": fields,
        "content": {
            MEDIA_TYPE: { "schema": { "$ref": "#/components/schemas/HostProblem" }, "examples": examples },
        },
    })
}

/// The fields that the host writes, as `#/components/headers/…`.
pub(super) fn headers() -> Value {
    let text = json!({ "type": "string" });
    let field =
        |about: &str, example: &str| json!({ "description": about, "schema": text, "example": example });
    json!({
        "X-Request-Id": field("What the host's log has the request under.", EXAMPLE_ID),
        "Wasmyard-Version": field("The service and the version of it that answered.", "users@0123456789ab"),
        "ETag": field("Names what was answered (RFC 9110, section 8.8.3).", EXAMPLE_TAG),
        "RateLimit": field(
            "How many more requests may come, and the seconds until all may again (IETF draft).",
            "\"users\";r=19999;t=1",
        ),
        "RateLimit-Policy": field("The limit: how many requests in how many seconds.", "\"users\";q=20000;w=2"),
        "X-RateLimit-Limit": field("How many requests may come at once.", "20000"),
        "X-RateLimit-Remaining": field("How many more may come now.", "19999"),
        "X-RateLimit-Reset": field("Seconds until all may come again.", "1"),
    })
}

/// A reference to one of [`headers`].
pub(super) fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

/// A field's name as people write it: `Retry-After`.
fn cased(name: &HeaderName) -> String {
    let words = name.as_str().split('-').map(|word| match word {
        "www" => "WWW".to_owned(),
        "ratelimit" => "RateLimit".to_owned(),
        "websocket" => "WebSocket".to_owned(),
        word => word[..1].to_ascii_uppercase() + &word[1..],
    });
    words.collect::<Vec<_>>().join("-")
}
