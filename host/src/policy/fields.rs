//! Header fields that belong to a connection, or to the host, and never to a message
//! that is passed on.

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName};

/// The id that the host gives to each request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The service and version that answered.
pub const VERSION: HeaderName = HeaderName::from_static("wasmyard-version");

/// RFC 9110, section 7.6.1; the credentials for a proxy (section 11.7) go no further
/// than the proxy, which the host is here.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "proxy-connection"
            | "keep-alive"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authenticate"
            | "proxy-authorization"
    )
}

/// What an answer says of itself only in the host's words.
fn is_hosts_own(name: &HeaderName) -> bool {
    matches!(name.as_str(), "content-length" | "date" | "server" | "x-request-id" | "wasmyard-version")
}

/// Takes out of a client's request what the guest must not see: the connection's
/// fields, those that `Connection` names, and a request id, which is the host's to
/// give.
pub fn strip_request(headers: &mut HeaderMap) {
    strip(headers, |name| is_hop_by_hop(name) || *name == REQUEST_ID);
}

/// Takes out of a guest's answer what is not the guest's to say.
pub fn strip_response(headers: &mut HeaderMap) {
    strip(headers, |name| is_hop_by_hop(name) || is_hosts_own(name));
}

/// Takes out the fields that are meant, and those that `Connection` names. Most
/// messages have neither, and are only read.
fn strip(headers: &mut HeaderMap, is_meant: impl Fn(&HeaderName) -> bool) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|field| field.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    if headers.keys().any(&is_meant) {
        let meant: Vec<HeaderName> = headers.keys().filter(|name| is_meant(name)).cloned().collect();
        for name in meant {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_connections_fields_and_those_it_names_do_not_reach_the_guest() {
        let mut headers = fields(&[
            ("connection", "keep-alive, X-Secret-Hop"),
            ("connection", "x-other"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic eDp5"),
            ("x-secret-hop", "1"),
            ("x-other", "1"),
            ("x-request-id", "forged"),
            ("content-type", "application/json"),
            ("authorization", "Bearer x"),
        ]);
        strip_request(&mut headers);
        assert_eq!(names(&headers), ["authorization", "content-type"]);
    }

    #[test]
    fn a_guest_cannot_frame_the_answer_or_sign_it_for_another() {
        let mut headers = fields(&[
            ("content-length", "3"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("date", "yesterday"),
            ("server", "other"),
            ("wasmyard-version", "users@000000000000"),
            ("x-request-id", "forged"),
            ("cache-control", "no-store"),
        ]);
        strip_response(&mut headers);
        assert_eq!(names(&headers), ["cache-control"]);
    }

    #[test]
    fn a_connection_field_with_rubbish_in_it_is_no_failure() {
        let mut headers = fields(&[("connection", "close,, \"x\", (y)")]);
        strip_request(&mut headers);
        assert!(headers.is_empty());
    }
}
