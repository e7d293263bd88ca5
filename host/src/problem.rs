//! What a client reads when a request has no better answer: `application/problem+json`
//! (RFC 9457), made here and nowhere else.
//!
//! A problem says what the client can act on. What went wrong inside (a trap's text,
//! a path, an address) stands in the log under the same `request_id`.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::limits;
use crate::runtime::{Failure, RequestId, Response};
use crate::server::{BodyError, Refusal};

/// The kinds of problems that the host itself reports. A service's own answers are
/// the service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 400: the request breaks a rule of HTTP, or its path is not text.
    Malformed,
    /// 401: the operator's token is missing or wrong.
    Unauthorized,
    /// 401: the route wants an access token, and there is none.
    TokenRequired,
    /// 401: what was sent as an access token is none that is taken.
    InvalidToken,
    /// 403: a request that a page of another site may have caused.
    Forbidden,
    /// 403: the caller lacks the role that the route wants.
    MissingRole,
    /// 404: no route has this path.
    NotFound,
    /// 404: no service has this name.
    UnknownService,
    /// 404: the host has no signing keys, because nothing needs any.
    NoKeys,
    /// 404: nothing is parked under this name.
    NotParked,
    /// 405: the route does not answer this method.
    MethodNotAllowed,
    /// 408: the head or the body did not arrive in time.
    RequestTimeout,
    /// 409: another deploy of the service is running.
    DeployRunning,
    /// 409: there is no earlier version.
    NothingToRollBack,
    /// 413: the body is over its limit.
    BodyTooLarge,
    /// 414: the request line is over its limit.
    RequestLineTooLong,
    /// 415: the body is not what its address wants.
    UnsupportedMediaType,
    /// 422: a component was refused.
    ComponentRefused,
    /// 426: this is a WebSocket, and the request asks for none.
    UpgradeRequired,
    /// 429: a client has used up its rate limit.
    RateLimited,
    /// 431: the header fields are over their limit.
    HeadersTooLarge,
    /// 500: the guest trapped, or its answer was not one.
    ServiceFailed,
    /// 500: the host could not do what was asked.
    HostFailed,
    /// 501: a method that the host has no meaning for.
    NotImplemented,
    /// 503: as many requests at once as there may be.
    Saturated,
    /// 503: no instance could be had at this moment.
    Unavailable,
    /// 504: the service did not answer in time.
    Timeout,
    /// 508: services call each other in a circle, or nearly.
    CallsTooDeep,
}

impl Kind {
    /// The last part of the problem's `type`, a URN of this project.
    fn slug(self) -> &'static str {
        self.parts().0
    }

    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        self.parts().1
    }

    /// What problems of this kind have in common, for people.
    pub fn title(self) -> &'static str {
        self.parts().2
    }

    fn parts(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::Malformed => ("malformed", S::BAD_REQUEST, "The request is malformed"),
            Self::Unauthorized => ("unauthorized", S::UNAUTHORIZED, "The operator's token is required"),
            Self::TokenRequired => ("token-required", S::UNAUTHORIZED, "An access token is required"),
            Self::InvalidToken => ("invalid-token", S::UNAUTHORIZED, "The access token is not valid"),
            Self::MissingRole => ("missing-role", S::FORBIDDEN, "Another role is required"),
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "Not for pages of other sites"),
            Self::NotFound => ("not-found", S::NOT_FOUND, "Nothing here"),
            Self::UnknownService => ("unknown-service", S::NOT_FOUND, "No service of that name"),
            Self::NoKeys => ("no-keys", S::NOT_FOUND, "There are no signing keys"),
            Self::NotParked => ("not-parked", S::NOT_FOUND, "Nothing is parked under this name"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", S::METHOD_NOT_ALLOWED, "The method is not allowed here")
            }
            Self::RequestTimeout => {
                ("request-timeout", S::REQUEST_TIMEOUT, "The request did not arrive in time")
            }
            Self::DeployRunning => ("deploy-running", S::CONFLICT, "A deploy is running already"),
            Self::NothingToRollBack => ("nothing-to-roll-back", S::CONFLICT, "There is no earlier version"),
            Self::BodyTooLarge => ("body-too-large", S::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::RequestLineTooLong => {
                ("request-line-too-long", S::URI_TOO_LONG, "The request line is too long")
            }
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", S::UNSUPPORTED_MEDIA_TYPE, "The body's type is not supported")
            }
            Self::ComponentRefused => {
                ("component-refused", S::UNPROCESSABLE_ENTITY, "The component was refused")
            }
            Self::UpgradeRequired => ("upgrade-required", S::UPGRADE_REQUIRED, "A WebSocket is required"),
            Self::RateLimited => ("rate-limited", S::TOO_MANY_REQUESTS, "Too many requests"),
            Self::HeadersTooLarge => (
                "headers-too-large",
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "The header fields are too many or too large",
            ),
            Self::ServiceFailed => ("service-failed", S::INTERNAL_SERVER_ERROR, "The service failed"),
            Self::HostFailed => ("host-failed", S::INTERNAL_SERVER_ERROR, "The host failed"),
            Self::NotImplemented => ("not-implemented", S::NOT_IMPLEMENTED, "The method is not implemented"),
            Self::Saturated => ("saturated", S::SERVICE_UNAVAILABLE, "Too many requests at once"),
            Self::Unavailable => ("unavailable", S::SERVICE_UNAVAILABLE, "The service is unavailable"),
            Self::Timeout => ("timeout", S::GATEWAY_TIMEOUT, "The service did not answer in time"),
            Self::CallsTooDeep => ("calls-too-deep", S::LOOP_DETECTED, "Services call each other too deeply"),
        }
    }
}

/// A problem before it knows which request it answers.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: Kind,
    detail: String,
    extensions: Map<String, Value>,
    fields: Vec<(HeaderName, HeaderValue)>,
}

/// An error of the host's own (RFC 9457), with members of its own where its kind has any.
// Those of section 3.1 in its order, and the host's own.
#[derive(Serialize, ToSchema)]
#[schema(as = HostProblem)]
pub(crate) struct Members<'a> {
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
    /// The path that was asked for, unless that is what is wrong.
    #[serde(skip_serializing_if = "str::is_empty")]
    instance: &'a str,
    /// What the host's log has the request under.
    request_id: &'a str,
    #[serde(flatten)]
    #[schema(ignore)]
    extensions: &'a Map<String, Value>,
}

impl Problem {
    /// A problem of this kind. `detail` is read by the client: a sentence that helps,
    /// and tells nothing about the inside.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), extensions: Map::new(), fields: Vec::new() }
    }

    /// No route has the path.
    pub fn not_found() -> Self {
        Self::new(Kind::NotFound, "No route has this path.")
    }

    /// The route does not answer the method; `allow` is the value of `Allow`.
    pub fn method_not_allowed(allow: &HeaderValue) -> Self {
        let methods = allow.to_str().unwrap_or_default();
        Self::new(Kind::MethodNotAllowed, format!("This path answers {methods}."))
            .with_header(ALLOW, allow.clone())
    }

    /// Adds an extension member (RFC 9457, section 3.2).
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header field.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// Adds `Retry-After` (RFC 9110, section 10.2.3), in whole seconds.
    pub fn retry_after(self, pause: Duration) -> Self {
        self.with_header(RETRY_AFTER, HeaderValue::from(pause.as_secs().max(1)))
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// What happened, as the client reads it.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The answer to the request `id` for the path `instance`.
    pub fn response(self, id: &RequestId, instance: &str) -> Response {
        let members = Members {
            r#type: format!("urn:wasmyard:problem:{}", self.kind.slug()),
            title: self.kind.title(),
            status: self.status().as_u16(),
            detail: &self.detail,
            instance,
            request_id: id.as_str(),
            extensions: &self.extensions,
        };
        // Strings and numbers always make JSON; if that ever changes, the status
        // still says the most important part.
        let body = serde_json::to_vec(&members).map(Bytes::from).unwrap_or_default();
        let mut headers: HeaderMap = self.fields.into_iter().collect();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        // A failure of this moment must not be answered again from somebody's cache.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.kind == Kind::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Response { status: self.kind.status(), headers, body }
    }
}

impl From<&Failure> for Problem {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Saturated { limit } => {
                Self::new(Kind::Saturated, format!("The service works on {limit} requests already."))
                    .retry_after(limits::RETRY_AFTER)
            }
            Failure::TooDeep { limit } => {
                Self::new(Kind::CallsTooDeep, format!("Calls between services nest at most {limit} deep."))
            }
            Failure::Timeout { limit_ms } => {
                Self::new(Kind::Timeout, format!("The service did not answer within {limit_ms} ms."))
            }
            Failure::Trap(_) => {
                Self::new(Kind::ServiceFailed, "The service failed while it worked on the request.")
            }
            Failure::InvalidResponse(_) => {
                Self::new(Kind::ServiceFailed, "The service gave an answer that is not a valid response.")
            }
            Failure::Retired => {
                Self::new(Kind::Unavailable, "The service was replaced before it answered; try again.")
                    .retry_after(limits::RETRY_AFTER)
            }
            Failure::NoInstance(_) => {
                Self::new(Kind::Unavailable, "The service has no room for the request at this moment.")
                    .retry_after(limits::RETRY_AFTER)
            }
        }
    }
}

impl From<&BodyError> for Problem {
    fn from(error: &BodyError) -> Self {
        match error {
            BodyError::TooLarge { bytes_max } => {
                Self::new(Kind::BodyTooLarge, format!("A body may have {bytes_max} bytes here."))
            }
            BodyError::Timeout { within } => Self::new(
                Kind::RequestTimeout,
                format!("The body did not arrive within {} ms.", within.as_millis()),
            ),
            BodyError::Broken(_) => {
                Self::new(Kind::Malformed, "The body broke off, or its framing is wrong.")
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::Malformed(_) => Kind::Malformed,
            Refusal::HeadTimeout => Kind::RequestTimeout,
            Refusal::RequestLineTooLong => Kind::RequestLineTooLong,
            Refusal::HeadersTooLarge => Kind::HeadersTooLarge,
            Refusal::NotImplemented => Kind::NotImplemented,
            Refusal::TooManyConnections => Kind::Saturated,
        };
        let problem = Self::new(kind, refusal.detail());
        if kind == Kind::Saturated { problem.retry_after(limits::RETRY_AFTER) } else { problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(problem: Problem) -> Value {
        let response = problem.response(&RequestId::new(), "/api/v1/users");
        serde_json::from_slice(&response.body).unwrap()
    }

    #[test]
    fn a_problem_has_the_members_of_the_rfc_and_the_request_id() {
        let id = RequestId::new();
        let problem = Problem::not_found().with("nearest", "users");
        let response = problem.response(&id, "/api/v1/user");
        assert_eq!(response.status, 404);
        assert_eq!(response.headers[CONTENT_TYPE], "application/problem+json");
        let expected = format!(
            r#"{{"type":"urn:wasmyard:problem:not-found","title":"Nothing here","status":404,"detail":"No route has this path.","instance":"/api/v1/user","request_id":"{id}","nearest":"users"}}"#
        );
        assert_eq!(std::str::from_utf8(&response.body).unwrap(), expected);
    }

    #[test]
    fn each_failure_has_its_status_and_tells_nothing_of_the_inside() {
        let secret = "wasm trap at /home/ops/users.wasm";
        let cases = [
            (Failure::Saturated { limit: 256 }, 503, true),
            (Failure::TooDeep { limit: 4 }, 508, false),
            (Failure::Timeout { limit_ms: 5_000 }, 504, false),
            (Failure::Trap(secret.into()), 500, false),
            (Failure::InvalidResponse(secret.into()), 500, false),
            (Failure::Retired, 503, true),
            (Failure::NoInstance(secret.into()), 503, true),
        ];
        for (failure, status, retry) in cases {
            let response = Problem::from(&failure).response(&RequestId::new(), "/");
            assert_eq!(response.status, status, "{failure}");
            assert_eq!(response.headers.contains_key(RETRY_AFTER), retry, "{failure}");
            let text = std::str::from_utf8(&response.body).unwrap();
            assert!(!text.contains("ops"), "{text}");
        }
    }

    #[test]
    fn a_problem_of_the_method_says_which_are_allowed() {
        let problem = Problem::method_not_allowed(&HeaderValue::from_static("GET, HEAD, OPTIONS"));
        let response = problem.response(&RequestId::new(), "/");
        assert_eq!(response.headers[ALLOW], "GET, HEAD, OPTIONS");
        assert_eq!(response.headers[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn a_body_over_its_limit_is_413_with_the_limit() {
        let problem = Problem::from(&BodyError::TooLarge { bytes_max: 1_048_576 });
        assert_eq!(problem.status(), 413);
        assert_eq!(json(problem)["detail"], "A body may have 1048576 bytes here.");
    }
}
