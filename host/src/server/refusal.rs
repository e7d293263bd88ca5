//! What the server refuses by itself, as problem+json (RFC 9457).

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::exchange::Body;
use crate::policy::REQUEST_ID;
use crate::problem::Problem;
use crate::runtime::{self, RequestId};

/// Why a request, or a connection, is refused before anybody is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the head breaks the grammar, or a rule of RFC 9112; the text says which.
    Malformed(&'static str),
    /// 408: the head did not arrive in time.
    HeadTimeout,
    /// 414: the request line is over `server.limits.request_line_bytes_max`.
    RequestLineTooLong,
    /// 431: the fields are over `server.limits.header_bytes_max` or
    /// `header_fields_max`.
    HeadersTooLarge,
    /// 501: a method that this server has no meaning for: CONNECT.
    NotImplemented,
    /// 503: as many connections as `server.limits.connections_max`.
    TooManyConnections,
}

impl Refusal {
    /// The status it is answered with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::RequestLineTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::TooManyConnections => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What a client reads as `detail`.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Malformed(detail) => detail,
            Self::HeadTimeout => "the request's head did not arrive in time",
            Self::RequestLineTooLong => "the request line is longer than this server accepts",
            Self::HeadersTooLarge => "the header fields are more or larger than this server accepts",
            Self::NotImplemented => "this server is not a proxy",
            Self::TooManyConnections => "this server has as many connections as it may have",
        }
    }

    /// The answer.
    pub fn response(self) -> http::Response<Body> {
        let runtime::Response { status, headers, body } = self.signed();
        let mut response = http::Response::new(Body::new(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// The answer as HTTP/1.1 bytes, for a connection that has no request to answer.
    pub(super) fn bytes(self) -> Bytes {
        let runtime::Response { status, headers, body } = self.signed();
        let mut bytes = format!("HTTP/1.1 {status}\r\n").into_bytes();
        for (name, value) in &headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(
            format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len()).as_bytes(),
        );
        bytes.extend_from_slice(&body);
        bytes.into()
    }

    /// The same problem that a gateway would make of it, with the id in the field where a
    /// client looks for it.
    fn signed(self) -> runtime::Response {
        let id = RequestId::new();
        let mut response = Problem::from(self).response(&id, "");
        if let Ok(id) = HeaderValue::from_str(id.as_str()) {
            response.headers.insert(REQUEST_ID, id);
        }
        response
    }
}
