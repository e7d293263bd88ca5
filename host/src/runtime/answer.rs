//! From what a guest returned to a response that may be sent.

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::failure::Failure;
use super::message::Response;
use crate::bindings::wasmyard::platform::http_types;
use crate::limits::{HEADER_BYTES_MAX, HEADER_FIELDS_MAX};
use crate::manifest::ServiceLimits;

/// Fields that are the host's to write: framing, the date, the validator, and what is
/// about one connection (RFC 9110, section 7.6.1).
const HOST_FIELDS: [HeaderName; 8] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::DATE,
    header::ETAG,
];

/// Checks a guest's response.
///
/// # Errors
/// [`Failure::InvalidResponse`] for a status outside 200 to 599, an illegal header, or
/// more than the service's bounds allow.
pub(super) fn check(response: http_types::Response, limits: &ServiceLimits) -> Result<Response, Failure> {
    let http_types::Response { status, headers, body } = response;
    if body.len() > limits.response_body_bytes_max {
        let (size, most) = (body.len(), limits.response_body_bytes_max);
        return Err(invalid(format!("a body of {size} bytes, more than the {most} allowed")));
    }
    let known = (200..=599).contains(&status).then(|| StatusCode::from_u16(status).ok()).flatten();
    let status = known.ok_or_else(|| invalid(format!("the status {status}, not within 200 to 599")))?;
    Ok(Response { status, headers: check_headers(headers)?, body: Bytes::from(body) })
}

fn check_headers(fields: Vec<http_types::Header>) -> Result<HeaderMap, Failure> {
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if fields.len() > HEADER_FIELDS_MAX || bytes > HEADER_BYTES_MAX {
        return Err(invalid(format!("{} header fields of {bytes} bytes", fields.len())));
    }
    let mut headers = HeaderMap::with_capacity(fields.len() + 8);
    for (name, value) in fields {
        let legal = HeaderName::from_bytes(name.as_bytes());
        let legal_name = legal.map_err(|_| invalid(format!("the header name {name:?}")))?;
        let legal = HeaderValue::from_maybe_shared(Bytes::from(value));
        let value = legal.map_err(|_| invalid(format!("an illegal value of the header {name:?}")))?;
        if !HOST_FIELDS.contains(&legal_name) {
            headers.append(legal_name, value);
        }
    }
    Ok(headers)
}

fn invalid(what: String) -> Failure {
    Failure::InvalidResponse(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> ServiceLimits {
        ServiceLimits { response_body_bytes_max: 10, ..ServiceLimits::default() }
    }

    fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> http_types::Response {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        http_types::Response { status, headers, body: body.to_vec() }
    }

    #[test]
    fn a_status_outside_200_to_599_is_the_guests_error() {
        for status in [0, 99, 100, 101, 199, 600, 65_535] {
            let failure = check(response(status, &[], b""), &limits()).unwrap_err();
            assert!(matches!(failure, Failure::InvalidResponse(_)), "{status}: {failure}");
        }
        for status in [200, 204, 304, 404, 599] {
            assert_eq!(check(response(status, &[], b""), &limits()).unwrap().status.as_u16(), status);
        }
    }

    #[test]
    fn a_header_cannot_be_split_and_the_hosts_fields_cannot_be_written() {
        for (name, value) in [("a", "x\r\nset-cookie: y"), ("a b", "x"), ("", "x"), ("a", "x\0")] {
            let failure = check(response(200, &[(name, value)], b""), &limits()).unwrap_err();
            assert!(matches!(failure, Failure::InvalidResponse(_)), "{name:?}: {value:?}");
        }
        let headers = [("Content-Length", "9"), ("connection", "close"), ("x-kept", "1"), ("ETag", "\"1\"")];
        let checked = check(response(200, &headers, b""), &limits()).unwrap();
        assert_eq!(checked.headers.keys().collect::<Vec<_>>(), ["x-kept"]);
    }

    #[test]
    fn a_body_over_its_limit_is_the_guests_error() {
        assert!(check(response(200, &[], &[0; 10]), &limits()).is_ok());
        assert!(matches!(check(response(200, &[], &[0; 11]), &limits()), Err(Failure::InvalidResponse(_))));
    }
}
