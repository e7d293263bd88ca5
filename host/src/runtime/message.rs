//! A request on its way to a guest, and the answer on its way back.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

/// A request that has been read whole and routed.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method as the guest sees it; HEAD has become GET.
    pub method: Method,
    /// The path as sent, percent-encoding kept.
    pub path: String,
    /// The query as sent, without its question mark.
    pub query: String,
    /// The template that matched.
    pub route: Arc<str>,
    /// The template's parameters, percent-decoded.
    pub params: Vec<(String, String)>,
    /// Header fields, hop-by-hop ones removed.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The verified caller.
    pub identity: Option<Identity>,
    /// The request's id.
    pub id: RequestId,
    /// How many services called each other to get here; 0 from outside.
    pub depth: u8,
    /// When the request must be answered. A call between services inherits it.
    pub deadline: Instant,
}

/// A verified caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The caller's stable identifier.
    pub subject: String,
    /// The roles held.
    pub roles: Vec<String>,
}

/// A request's id: a UUID of version 7 (RFC 9562, section 5.7), so that ids sort by
/// time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// A new id.
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7().to_string().into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
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
