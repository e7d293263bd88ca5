//! Who may ask: the rules on the [module's page](super).

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;

use super::AdminToken;
use crate::problem::{Kind, Problem};

/// Rules 1 and 2: the request was not caused by a page of another site.
pub(super) fn same_machine(head: &Parts) -> Result<(), Problem> {
    if !names_loopback(head) {
        let detail = "Ask by a loopback name: localhost, 127.0.0.1 or [::1].";
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    if head.headers.contains_key(ORIGIN) {
        return Err(Problem::new(Kind::Forbidden, "A request with an Origin comes from a page."));
    }
    let own =
        head.headers.get_all("sec-fetch-site").iter().all(|site| site == "none" || site == "same-origin");
    if !own {
        return Err(Problem::new(Kind::Forbidden, "The request comes from a page of another site."));
    }
    Ok(())
}

/// Rule 3: whoever asks can read the operator's files.
pub(super) fn token(head: &Parts, token: &AdminToken) -> Result<(), Problem> {
    let mut fields = head.headers.get_all(AUTHORIZATION).iter();
    let (given, more) = (fields.next().and_then(|field| bearer(field.as_bytes())), fields.next());
    match (given, more) {
        (Some(given), None) if token.is(given) => Ok(()),
        _ => {
            let detail = "Send Authorization: Bearer and the token from .wasmyard/admin-token.";
            Err(Problem::new(Kind::Unauthorized, detail))
        }
    }
}

/// A form of a page cannot send this type, so it is also a fourth lock.
pub(super) fn is_component(head: &Parts) -> Result<(), Problem> {
    let given = head.headers.get(CONTENT_TYPE).and_then(|given| given.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if given.eq_ignore_ascii_case("application/wasm") {
        return Ok(());
    }
    Err(Problem::new(Kind::UnsupportedMediaType, "Send a component, as Content-Type: application/wasm."))
}

/// Whether every name that the request gives the host is loopback's, and there is one:
/// HTTP/2 and the absolute form have it in the target, HTTP/1.1 in `Host`.
fn names_loopback(head: &Parts) -> bool {
    let target = head.uri.authority().map(is_loopback);
    let fields = head.headers.get_all(HOST).iter().map(|host| {
        let authority = host.to_str().ok().and_then(|host| host.parse().ok());
        authority.as_ref().is_some_and(is_loopback)
    });
    let mut named = target.into_iter().chain(fields).peekable();
    named.peek().is_some() && named.all(|loopback| loopback)
}

fn is_loopback(authority: &Authority) -> bool {
    // `user@localhost` names localhost, but nobody honest writes it.
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || v6.and_then(|v6| v6.parse::<Ipv6Addr>().ok()).is_some_and(|address| address.is_loopback())
}

/// The token of `Bearer …`; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(field: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = field.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}
