//! An error as the client sees it (RFC 9457).

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{Fault, Request, Response};

/// Faults of one answer; a client that made more mistakes than that is not reading
/// them one by one, and a body full of unknown fields must not be echoed whole.
const FAULTS_MAX: usize = 20;
/// Faults that the detail repeats: what fits one line of a terminal or two.
const FAULTS_TOLD: usize = 3;

/// What problems of one type have in common. Where the host has the same type, its
/// words are the same: a client need not know which of the two answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// The last part of `type`, a URN of the project.
    slug: &'static str,
    status: u16,
    title: &'static str,
}

const MALFORMED: Kind = Kind { slug: "malformed", status: 400, title: "The request is malformed" };
const UNAUTHORIZED: Kind =
    Kind { slug: "not-authenticated", status: 401, title: "Who you are could not be established" };
const FORBIDDEN: Kind = Kind { slug: "not-allowed", status: 403, title: "Not for this caller" };
const NOT_FOUND: Kind = Kind { slug: "not-found", status: 404, title: "Nothing here" };
const CONFLICT: Kind = Kind { slug: "conflict", status: 409, title: "At odds with what there is" };
const UNSUPPORTED_MEDIA_TYPE: Kind =
    Kind { slug: "unsupported-media-type", status: 415, title: "The body's type is not supported" };
const INVALID: Kind = Kind { slug: "invalid", status: 422, title: "The request breaks a rule" };
const SERVICE_FAILED: Kind = Kind { slug: "service-failed", status: 500, title: "The service failed" };
const UNAVAILABLE: Kind = Kind { slug: "unavailable", status: 503, title: "The service is unavailable" };
const TIMEOUT: Kind = Kind { slug: "timeout", status: 504, title: "The service did not answer in time" };

/// An error that becomes an `application/problem+json` answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<Parts>);

/// Boxed, so that a `Result` with a problem in it stays as small as its value.
#[derive(Debug, Clone, PartialEq)]
struct Parts {
    kind: Kind,
    detail: String,
    faults: Vec<Fault>,
    members: Map<String, Value>,
    headers: Vec<(&'static str, String)>,
    cause: String,
}

impl Problem {
    /// A problem of a kind, and what happened this time.
    fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (faults, headers) = (Vec::new(), Vec::new());
        let (members, cause, detail) = (Map::new(), String::new(), detail.into());
        Self(Box::new(Parts { kind, detail, faults, members, headers, cause }))
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(MALFORMED, detail)
    }

    /// 400 for one query parameter.
    pub fn bad_parameter(name: &str, detail: impl Into<String>) -> Self {
        let fault = Fault::parameter(name, detail);
        Self::bad_request(fault.to_string()).with_faults(vec![fault])
    }

    /// 401: what the body offers as proof of who is asking is none. The answer must have a
    /// challenge (RFC 9110, section 15.5.2): it names the scheme that a login leads to.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(UNAUTHORIZED, detail).with_header("www-authenticate", "Bearer")
    }

    /// 403 for one field of the body: it is well-formed, and not this caller's to say.
    pub fn forbidden_field(name: &str, detail: impl Into<String>) -> Self {
        let fault = Fault::field(name, detail);
        Self::new(FORBIDDEN, fault.to_string()).with_faults(vec![fault])
    }

    /// 404: nothing of that kind has this id.
    pub fn no_such(noun: &str, id: impl fmt::Display) -> Self {
        Self::new(NOT_FOUND, format!("There is no {noun} with the id {id}."))
    }

    /// 404: the host's routes and the guest's do not agree.
    pub fn no_route() -> Self {
        Self::new(NOT_FOUND, "There is nothing at this path.")
    }

    /// 409: what is asked for is at odds with what there is.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(CONFLICT, detail)
    }

    /// 409 for one field of the body.
    pub fn conflicting_field(name: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let fault = Fault::field(name, detail.as_str());
        Self::conflict(detail).with_faults(vec![fault])
    }

    /// 415, with the media type that would do (`Accept`, RFC 9110, section 15.5.16).
    pub fn unsupported_media_type(accepted: &'static str) -> Self {
        Self::new(UNSUPPORTED_MEDIA_TYPE, format!("The body must be {accepted}."))
            .with_header("accept", accepted)
    }

    /// 422: well-formed, and against the rules. The detail repeats the first faults,
    /// for those who read no further.
    pub fn unprocessable(faults: Vec<Fault>) -> Self {
        let told: Vec<String> = faults.iter().take(FAULTS_TOLD).map(Fault::to_string).collect();
        let rest = match faults.len().saturating_sub(FAULTS_TOLD) {
            0 => String::new(),
            rest => format!("; and {rest} more"),
        };
        Self::new(INVALID, told.join("; ") + &rest).with_faults(faults)
    }

    /// 500: an error of the service. The cause is for the log alone.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self::new(SERVICE_FAILED, "The service failed.").with_cause(cause)
    }

    /// 503 with `Retry-After: 1`: what the service needs is away, and comes back by
    /// itself.
    pub fn unavailable(detail: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::new(UNAVAILABLE, detail).with_header("retry-after", "1").with_cause(cause)
    }

    /// 504: what the service needs did not answer in time.
    pub fn timeout(detail: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::new(TIMEOUT, detail).with_cause(cause)
    }

    /// The same with these faults.
    #[must_use]
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.0.faults = faults;
        self.0.faults.truncate(FAULTS_MAX);
        self
    }

    /// The same with an extension member (RFC 9457, section 3.2).
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// The same with a header field.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.headers.retain(|(field, _)| *field != name);
        self.0.headers.push((name, value.into()));
        self
    }

    /// The same with what the log should say of it.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = cause.into();
        self
    }

    /// What problems of its kind have in common, for people.
    pub fn title(&self) -> &'static str {
        self.0.kind.title
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.0.kind.status
    }

    /// What happened, as the client reads it.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What happened, as the log reads it; empty where there is nothing to add.
    pub fn cause(&self) -> &str {
        &self.0.cause
    }

    /// The answer to the request that ran into it.
    pub fn answer(self, request: &Request) -> Response {
        let parts = *self.0;
        let document = Document {
            r#type: format!("urn:wasmyard:problem:{}", parts.kind.slug),
            title: parts.kind.title,
            status: parts.kind.status,
            detail: &parts.detail,
            instance: &request.path,
            request_id: &request.request_id,
            errors: &parts.faults,
            members: &parts.members,
        };
        // A document of strings and numbers cannot fail to be written.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let content_type = ("content-type".to_owned(), b"application/problem+json".to_vec());
        let headers = parts.headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes()));
        Response {
            status: parts.kind.status,
            headers: [content_type].into_iter().chain(headers).collect(),
            body,
        }
    }
}

/// An error (RFC 9457), with members of its own where its kind has any.
// The members in the order that the RFC explains them, extensions last.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document<'a> {
    /// The kind of problem, a URN.
    #[schema(example = "urn:wasmyard:problem:not-found")]
    r#type: String,
    /// The kind of problem, for people.
    title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What happened this time.
    detail: &'a str,
    /// The path that was asked for.
    instance: &'a str,
    /// What the host's log has the request under.
    request_id: &'a str,
    /// What is wrong with which part of the request.
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    #[schema(max_items = 20)]
    errors: &'a [Fault],
    #[serde(flatten)]
    #[schema(ignore)]
    members: &'a Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_request_and_its_faults() {
        let fault = Fault::field("user_id", "no user has the id 9999");
        let problem = Problem::unprocessable(vec![fault]).with("allowed", vec!["shipped"]);
        let (path, request_id) = ("/api/v1/things/7".into(), "018f".into());
        let response = problem.answer(&Request { path, request_id, ..Request::default() });
        assert_eq!(response.status, 422);
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        let body: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:wasmyard:problem:invalid",
                "title": "The request breaks a rule",
                "status": 422,
                "detail": "invalid user_id: no user has the id 9999",
                "instance": "/api/v1/things/7",
                "request_id": "018f",
                "errors": [{ "pointer": "/user_id", "detail": "no user has the id 9999" }],
                "allowed": ["shipped"],
            })
        );
    }

    #[test]
    fn the_cause_of_a_failure_stays_in_the_log() {
        let problem = Problem::unavailable("The database is away.", "connection refused");
        assert_eq!(problem.cause(), "connection refused");
        let response = problem.answer(&Request::default());
        assert_eq!(response.header("retry-after"), Some("1"));
        assert!(!String::from_utf8_lossy(&response.body).contains("refused"));
    }

    #[test]
    fn faults_are_bounded() {
        let faults = (0..100).map(|n| Fault::field(&n.to_string(), "unknown")).collect();
        let problem = Problem::unprocessable(faults);
        assert_eq!(problem.0.faults.len(), FAULTS_MAX);
        assert_eq!(
            problem.detail(),
            "invalid 0: unknown; invalid 1: unknown; invalid 2: unknown; and 97 more"
        );
    }
}
