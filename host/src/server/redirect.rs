//! The plain HTTP listener: every request is sent on to HTTPS.

use bytes::Bytes;
use http::header::{HOST, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::check::host_and_port;
use super::exchange::{Body, Exchange, Peer};
use super::refusal::Refusal;

/// Answers 308, which keeps the method and the body (RFC 9110, section 15.4.9).
#[derive(Debug)]
pub(super) struct Redirect {
    /// The port of the HTTPS listener.
    pub(super) https_port: u16,
}

impl Exchange for Redirect {
    async fn answer(&self, request: Request<Incoming>, _peer: &Peer) -> Response<Body> {
        let Some(location) = location(&request, self.https_port) else {
            return Refusal::Malformed("a host is needed to redirect to HTTPS").response();
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        response.headers_mut().insert(LOCATION, location);
        response
    }
}

/// The same path and query on the same host, by HTTPS. The host has been checked to
/// consist of nothing but a host, so it can carry no second header line.
fn location<B>(request: &Request<B>, https_port: u16) -> Option<HeaderValue> {
    let named = match request.uri().authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => request.headers().get(HOST)?.as_bytes(),
    };
    let (host, _port) = host_and_port(named)?;
    let path = match request.uri().path_and_query() {
        Some(path) if path.as_str().starts_with('/') => path.as_str(),
        _ => "/",
    };
    let location = match https_port {
        443 => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    HeaderValue::from_maybe_shared(Bytes::from(location)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirected(target: &str, host: Option<&str>, https_port: u16) -> Option<String> {
        let mut request = Request::builder().uri(target);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let location = location(&request.body(()).expect("a request"), https_port)?;
        Some(location.to_str().expect("text").to_owned())
    }

    #[test]
    fn host_path_and_query_are_kept_and_the_port_is_that_of_https() {
        let location = redirected("/a/b?c=d%20e", Some("shop.example:8081"), 8443);
        assert_eq!(location.as_deref(), Some("https://shop.example:8443/a/b?c=d%20e"));
    }

    #[test]
    fn the_standard_port_is_left_out() {
        assert_eq!(redirected("/", Some("[::1]:80"), 443).as_deref(), Some("https://[::1]/"));
    }

    #[test]
    fn a_path_that_looks_like_a_host_stays_a_path() {
        let location = redirected("//evil.example/", Some("localhost"), 8443);
        assert_eq!(location.as_deref(), Some("https://localhost:8443//evil.example/"));
    }

    #[test]
    fn an_absolute_target_names_the_host() {
        let location = redirected("http://shop.example/x", None, 8443);
        assert_eq!(location.as_deref(), Some("https://shop.example:8443/x"));
    }

    #[test]
    fn without_a_host_there_is_nowhere_to_go() {
        assert_eq!(redirected("/", None, 8443), None);
    }
}
