//! Whether a page may ask in its user's name.
//!
//! A browser lets any page open a WebSocket to anywhere, and says only whose page it is. In
//! the local form nothing else would stand between a page of somebody else's and the shop of
//! this machine.

use http::HeaderMap;
use http::header::ORIGIN;

/// Whether the page that asks is one of this host's own, or of `allowed`. What is no page
/// says nothing, and may ask: it has a token, or it could say what it likes.
pub(super) fn may_ask(headers: &HeaderMap, host: Option<&str>, secure: bool, allowed: &[String]) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return false };
    allowed.iter().any(|allowed| allowed == origin) || is_own(origin, host, secure)
}

/// The same scheme, host and port (RFC 6454, section 5). Behind a proxy that passes on
/// `Host`, the host is the one that the page was asked of.
fn is_own(origin: &str, host: Option<&str>, secure: bool) -> bool {
    let (scheme, port) = if secure { ("https://", ":443") } else { ("http://", ":80") };
    let (Some(origin), Some(host)) = (origin.strip_prefix(scheme), host) else { return false };
    let bare = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    !origin.is_empty() && bare(origin) == bare(host)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asks(origins: &[&'static str], host: &str, secure: bool) -> bool {
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(ORIGIN, HeaderValue::from_static(origin));
        }
        may_ask(&headers, Some(host), secure, &["https://shop.example.com".to_owned()])
    }

    #[test]
    fn a_page_asks_its_own_host_or_is_allowed_by_name() {
        assert!(asks(&[], "localhost:8443", true), "not a page");
        assert!(asks(&["https://localhost:8443"], "localhost:8443", true));
        assert!(asks(&["https://localhost:8443"], "LOCALHOST:8443", true));
        assert!(asks(&["https://example.com"], "example.com", true));
        assert!(asks(&["https://example.com"], "example.com:443", true));
        assert!(asks(&["http://localhost:8080"], "localhost:8080", false));
        assert!(asks(&["https://shop.example.com"], "api.example.com", true));
        for (origin, host, secure) in [
            ("https://evil.example", "localhost:8443", true),
            ("https://localhost:9443", "localhost:8443", true),
            ("http://localhost:8443", "localhost:8443", true),
            ("https://localhost:8080", "localhost:8080", false),
            ("https://localhost:8443.evil.example", "localhost:8443", true),
            ("https://shop.example.com.evil.example", "localhost:8443", true),
            ("https://", "", true),
            ("null", "localhost:8443", true),
            ("", "localhost:8443", true),
        ] {
            assert!(!asks(&[origin], host, secure), "{origin} asks {host}");
        }
        assert!(!asks(&["https://localhost:8443", "https://evil.example"], "localhost:8443", true));
    }
}
