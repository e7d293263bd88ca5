//! The head of a request against the bounds of `server.limits`, and against the
//! rules of RFC 9112 and 9113 that hyper leaves to its caller.

use http::header::HOST;
use http::{Method, Request, Uri, Version};

use super::refusal::Refusal;
use crate::manifest::ServerLimits;

/// `SP` and `SP HTTP/1.1`: what a request line has beside method and target.
const REQUEST_LINE_REST: usize = 10;
/// `: ` and the line's end: what a field has beside name and value.
const FIELD_REST: usize = 4;

/// Checks a head. It reads each field once and allocates nothing.
pub(super) fn check<B>(request: &Request<B>, limits: &ServerLimits) -> Result<(), Refusal> {
    let line_bytes = request.method().as_str().len() + target_bytes(request.uri()) + REQUEST_LINE_REST;
    if line_bytes > limits.request_line_bytes_max {
        return Err(Refusal::RequestLineTooLong);
    }

    let headers = request.headers();
    if headers.len() > limits.header_fields_max {
        return Err(Refusal::HeadersTooLarge);
    }
    let header_bytes: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_REST).sum();
    if header_bytes > limits.header_bytes_max {
        return Err(Refusal::HeadersTooLarge);
    }

    if request.method() == Method::CONNECT {
        return Err(Refusal::NotImplemented);
    }
    check_host(request)
}

/// RFC 9112, section 3.2: exactly one `Host`, and a legal one. A target that names
/// another host than the field is legal there, yet two readers may disagree about
/// which of them counts, so it is refused; RFC 9113, section 8.3.1, asks for just
/// that.
fn check_host<B>(request: &Request<B>) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::Malformed("more than one Host field"));
    }
    let authority = request.uri().authority();
    if let Some(authority) = authority
        && host_and_port(authority.as_str().as_bytes()).is_none()
    {
        return Err(Refusal::Malformed("the request target's host is malformed"));
    }
    match host {
        None if request.version() == Version::HTTP_11 => Err(Refusal::Malformed("the Host field is missing")),
        None => Ok(()),
        Some(host) => {
            if host_and_port(host.as_bytes()).is_none() {
                return Err(Refusal::Malformed("the Host field is malformed"));
            }
            match authority {
                Some(authority) if !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) => {
                    Err(Refusal::Malformed("the request target and the Host field name different hosts"))
                }
                _ => Ok(()),
            }
        }
    }
}

/// Splits `host[:port]` (RFC 3986, section 3.2) into the host, brackets of an IPv6
/// address kept, and the port's digits. `None`: not an authority that a client of
/// this server could have; user names, percent-encoding and the like among them.
pub(super) fn host_and_port(authority: &[u8]) -> Option<(&str, &str)> {
    let host_len = if authority.first() == Some(&b'[') {
        let end = authority.iter().position(|byte| *byte == b']')?;
        let legal = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        if end == 1 || !authority[1..end].iter().all(legal) {
            return None;
        }
        end + 1
    } else {
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        authority.iter().position(|byte| !legal(byte)).unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at(host_len);
    let port = match rest {
        [] => rest,
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => digits,
        _ => return None,
    };
    if host.is_empty() || host.len() > 255 {
        return None;
    }
    Some((str::from_utf8(host).ok()?, str::from_utf8(port).ok()?))
}

fn target_bytes(uri: &Uri) -> usize {
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len());
    path + scheme + uri.authority().map_or(0, |authority| authority.as_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_split_from_its_port() {
        assert_eq!(host_and_port(b"localhost"), Some(("localhost", "")));
        assert_eq!(host_and_port(b"shop.example:8443"), Some(("shop.example", "8443")));
        assert_eq!(host_and_port(b"[::1]:8443"), Some(("[::1]", "8443")));
        assert_eq!(host_and_port(b"127.0.0.1:"), Some(("127.0.0.1", "")));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_a_host() {
        for bad in [
            "",
            ":80",
            "a b",
            "user@host",
            "host/path",
            "host:80:90",
            "host:80a",
            "host:123456",
            "[::1",
            "[]",
            "[::1]x",
            "evil\tx",
            "a,b",
            "höst",
            "host\\",
            "host#x",
        ] {
            assert_eq!(host_and_port(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
