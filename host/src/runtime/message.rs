//! A request on its way to a guest, and the answer on its way back.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::capability::cache::Found;
use crate::telemetry::trace::TraceContext;

/// A request that has been read whole and routed.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method as the guest sees it; HEAD has become GET.
    pub method: Method,
    /// Path and query as sent, percent-encoding kept.
    pub target: PathAndQuery,
    /// The template that matched.
    pub route: Arc<str>,
    /// The template's parameters, percent-decoded.
    pub params: Vec<(Arc<str>, String)>,
    /// Header fields, hop-by-hop ones removed.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The verified caller.
    pub identity: Option<Identity>,
    /// A key of the service's cache and what the store has under it, if the host has
    /// looked already.
    pub read: Option<(String, Found)>,
    /// The request's id.
    pub id: RequestId,
    /// Where in a trace it stands.
    pub trace: TraceContext,
    /// How many services called each other to get here; 0 from outside.
    pub depth: u8,
    /// When the request must be answered. A call between services inherits it.
    pub deadline: Instant,
}

impl Request {
    /// A GET of a path that is its own route, made by the host itself.
    pub fn get(path: &'static str, id: RequestId, deadline: Instant) -> Self {
        Self {
            method: Method::GET,
            target: PathAndQuery::from_static(path),
            route: path.into(),
            params: Vec::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            identity: None,
            read: None,
            id,
            trace: TraceContext::new(),
            depth: 0,
            deadline,
        }
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// The query without its question mark; empty when there is none.
    pub fn query(&self) -> &str {
        self.target.query().unwrap_or_default()
    }
}

/// A verified caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The caller's stable identifier.
    pub subject: String,
    /// The roles held.
    pub roles: Vec<String>,
    /// When the proof of it expires, in seconds since 1970; `None` for one that was not a
    /// token.
    pub expires_at: Option<u64>,
}

/// A request's id: a UUID of version 7 (RFC 9562, section 5.7), so that ids sort by
/// time. It is copied into every log line, answer and call, so it is kept as the 36
/// characters that they want, and without an allocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; Hyphenated::LENGTH]);

impl RequestId {
    /// A new id.
    pub fn new() -> Self {
        let mut text = [0; Hyphenated::LENGTH];
        Uuid::now_v7().hyphenated().encode_lower(&mut text);
        Self(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RequestId").field(&self.as_str()).finish()
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of the version that gave an answer.
#[derive(Debug, Clone)]
pub struct VersionName {
    /// The first 12 hex digits of its component's digest.
    pub label: Arc<str>,
    /// `SERVICE@LABEL`, as the answer's field has it.
    pub field: HeaderValue,
}

impl VersionName {
    /// The name of a service's version.
    pub fn new(service: &str, label: Arc<str>) -> Self {
        // A service's name has letters, digits and hyphens, and a label has digits: the
        // value is always legal.
        let field = HeaderValue::try_from(format!("{service}@{label}"));
        Self { label, field: field.unwrap_or_else(|_| HeaderValue::from_static("-")) }
    }
}

/// A guest's answer, checked: the status is in range and every header is legal. The
/// default is an empty 200.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// 200 to 599.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}
