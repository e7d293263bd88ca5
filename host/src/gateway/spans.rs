//! What the spans of requests and calls say, in the words of OpenTelemetry's conventions for
//! HTTP (stable since 1.23). The query of a URL and all fields are left out: they may hold a
//! secret.

use std::net::IpAddr;

use http::header::{HOST, USER_AGENT};
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, Uri, Version};

use super::stored::Look;
use crate::bindings::wasmyard::platform::http_types;
use crate::capability::services::Error;
use crate::limits::{SPAN_NAME_BYTES_MAX, SPAN_TEXT_BYTES_MAX};
use crate::policy::auth::Denied;
use crate::router::Endpoint;
use crate::runtime::{Identity, RequestId, VersionName};
use crate::server::Peer;
use crate::telemetry::trace::{Recording, Span};

/// Methods that a name may have; a client may invent others without bound.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

/// A call between services needs no network; in the conventions it is one over plain HTTP to a
/// host of the service's name, and so has that scheme's port.
const CALL_SCHEME: &str = "http";
const CALL_PORT: i64 = 80;

/// The head of a request.
pub(super) struct Head<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) version: Version,
    pub(super) headers: &'a HeaderMap,
}

/// What is known of a request when it arrives.
pub(super) fn asked(span: &mut Recording, head: &Head<'_>, (peer, client): (&Peer, IpAddr), id: &RequestId) {
    method(span, head.method);
    span.set("url.path", cut(head.uri.path(), SPAN_TEXT_BYTES_MAX));
    span.set("url.scheme", if peer.secure { "https" } else { "http" });
    let host = || head.headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    if let Some(host) = head.uri.authority().cloned().or_else(host) {
        span.set("server.address", host.host().to_owned());
        if let Some(port) = host.port_u16() {
            span.set("server.port", i64::from(port));
        }
    }
    span.set("client.address", client.to_string());
    span.set("network.peer.address", peer.address.ip().to_canonical().to_string());
    span.set("network.peer.port", i64::from(peer.address.port()));
    span.set("network.protocol.version", version(head.version));
    if let Some(agent) = head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()) {
        span.set("user_agent.original", cut(agent, SPAN_TEXT_BYTES_MAX));
    }
    span.set("wasmyard.request_id", id.as_str().to_owned());
}

/// Ends the span of a request that has its answer.
pub(super) fn answered(
    span: Span,
    asked: &Method,
    endpoint: Option<&Endpoint>,
    version: Option<&VersionName>,
    status: StatusCode,
) {
    span.end_with(|span| {
        if let Some(endpoint) = endpoint {
            routed(span, asked, endpoint);
        }
        if let Some(version) = version {
            span.set("wasmyard.version", version.label.to_string());
        }
        ended(span, status, status.is_server_error());
    });
}

/// What came of a look for a stored answer.
pub(super) fn looked(span: Span, look: &Look) {
    span.end_with(|span| {
        let is_hit = matches!(look, Look::Answer(..));
        span.set("wasmyard.cache.result", if is_hit { "hit" } else { "miss" });
    });
}

/// What came of asking who the caller is.
pub(super) fn admitted(span: Span, caller: Option<&Identity>, admitted: &Result<(), Denied>) {
    span.end_with(|span| {
        let result = match (admitted, caller) {
            (Ok(()), Some(_)) => "known",
            (Ok(()), None) => "nobody",
            (Err(denied), _) => denied.kind(),
        };
        span.set("wasmyard.auth.result", result);
    });
}

/// What a call to another service is, for who calls.
pub(super) fn calls(span: &mut Recording, asked: &Method, endpoint: &Endpoint, path: &str) {
    let service = endpoint.handler.name();
    method(span, asked);
    span.rename(format!("{} {}", shown(asked), endpoint.route));
    span.set("url.full", cut(&format!("{CALL_SCHEME}://{service}{path}"), SPAN_TEXT_BYTES_MAX));
    span.set("server.address", service.to_string());
    span.set("server.port", CALL_PORT);
}

/// The same, for who is called.
pub(super) fn called(
    span: &mut Recording,
    asked: &Method,
    endpoint: &Endpoint,
    (path, id): (&str, &RequestId),
) {
    method(span, asked);
    span.set("url.path", cut(path, SPAN_TEXT_BYTES_MAX));
    span.set("url.scheme", CALL_SCHEME);
    span.set("server.address", endpoint.handler.name().to_string());
    span.set("server.port", CALL_PORT);
    routed(span, asked, endpoint);
    span.set("wasmyard.request_id", id.as_str().to_owned());
}

/// Ends the span of the service that was called, or of the one that called: for the latter,
/// a refusal is an error too.
pub(super) fn call_answered(span: Span, answer: &Result<http_types::Response, Error>, is_caller: bool) {
    span.end_with(|span| match answer {
        Ok(response) => {
            let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            ended(span, status, status.is_server_error() || (is_caller && status.is_client_error()));
        }
        Err(error) => {
            let (kind, said) = match error {
                Error::NotGranted(_) => ("not_granted", "the call is not granted"),
                Error::TooDeep => ("too_deep", "calls are nested too deep"),
                Error::Saturated(_) => ("saturated", "the service has too many requests at once"),
                Error::Timeout => ("timeout", "the service did not answer in time"),
                Error::Failed(_) => ("failed", "the service gave no answer"),
            };
            span.fail(kind, said);
        }
    });
}

/// The route, which names the span.
pub(super) fn routed(span: &mut Recording, asked: &Method, endpoint: &Endpoint) {
    span.rename(format!("{} {}", shown(asked), endpoint.route));
    span.set("http.route", endpoint.route.to_string());
}

fn method(span: &mut Recording, asked: &Method) {
    match METHODS.contains(&asked.as_str()) {
        true => {
            span.rename(asked.as_str().to_owned());
            span.set("http.request.method", asked.as_str().to_owned());
        }
        false => {
            span.set("http.request.method", "_OTHER");
            span.set("http.request.method_original", cut(asked.as_str(), SPAN_NAME_BYTES_MAX));
        }
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// At most so many bytes of what somebody else has chosen.
fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

fn ended(span: &mut Recording, status: StatusCode, is_error: bool) {
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if is_error && !span.has_failed() {
        span.fail(status.as_str().to_owned(), status.canonical_reason().unwrap_or("an error"));
    }
}

fn shown(asked: &Method) -> &str {
    METHODS.iter().find(|name| **name == asked.as_str()).copied().unwrap_or("HTTP")
}
