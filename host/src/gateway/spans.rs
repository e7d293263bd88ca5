//! What the spans of requests and calls say, in the words of OpenTelemetry's conventions for
//! HTTP (stable since 1.23). The query of a URL and all fields are left out: they may hold a
//! secret.

use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, StatusCode, Version};

use crate::bindings::wasmyard::platform::http_types;
use crate::capability::services::Error;
use crate::limits::SPAN_TEXT_BYTES_MAX;
use crate::policy::auth::Denied;
use crate::router::Endpoint;
use crate::runtime::{Identity, RequestId, VersionName};
use crate::server::Peer;
use crate::telemetry::trace::{Recording, Span};

/// Methods that a name may have; a client may invent others without bound.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

/// What is known of a request when it arrives.
pub(super) fn asked(span: &mut Recording, head: &Parts, peer: &Peer, id: &RequestId) {
    method(span, &head.method);
    span.set("url.path", head.uri.path().to_owned());
    span.set("url.scheme", if peer.secure { "https" } else { "http" });
    let host = || head.headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    if let Some(host) = head.uri.authority().cloned().or_else(host) {
        span.set("server.address", host.host().to_owned());
        if let Some(port) = host.port_u16() {
            span.set("server.port", i64::from(port));
        }
    }
    span.set("client.address", peer.address.ip().to_string());
    span.set("network.protocol.version", if head.version == Version::HTTP_2 { "2" } else { "1.1" });
    if let Some(agent) = head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()) {
        span.set("user_agent.original", agent[..agent.floor_char_boundary(SPAN_TEXT_BYTES_MAX)].to_owned());
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

/// What a call to another service is, for both ends of it.
pub(super) fn called(span: &mut Recording, asked: &Method, endpoint: &Endpoint, path: &str) {
    method(span, asked);
    span.rename(format!("{} {}", shown(asked), endpoint.route));
    span.set("url.path", path.to_owned());
    span.set("server.address", endpoint.handler.name().to_string());
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
        false => span.set("http.request.method", "_OTHER"),
    }
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
