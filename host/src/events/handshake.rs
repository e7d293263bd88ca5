//! The opening of a WebSocket (RFC 6455, section 4.2), without the socket.
//!
//! A page's script cannot set header fields on a WebSocket, and an address ends up in logs
//! and histories. So a token may come as one of the subprotocols that are offered,
//! `bearer.TOKEN`, beside the one that is spoken; the answer never repeats it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Version};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::problem::{Kind, Problem};

/// The subprotocol that is spoken.
pub(crate) const SUBPROTOCOL: &str = "wasmyard.events.v1";
/// What a token stands behind.
const BEARER: &str = "bearer.";
/// Random bytes of a client's key.
const KEY_BYTES: usize = 16;

/// A request that asks for a WebSocket, in its extensions: the fields that say so are the
/// connection's, and gone by the time that a route has been found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AsksWebSocket;

/// Notes in a request that it asks for a WebSocket, if it does. Costs the others a look at
/// extensions that they do not have.
pub(crate) fn note(head: &mut Parts) {
    if head.extensions.get::<OnUpgrade>().is_some()
        && head.method == Method::GET
        && tokens(&head.headers, &UPGRADE).any(|protocol| protocol.eq_ignore_ascii_case("websocket"))
    {
        head.extensions.insert(AsksWebSocket);
    }
}

/// Puts a token that is among the subprotocols where tokens are looked for.
pub(crate) fn find_token(headers: &mut HeaderMap) {
    if headers.contains_key(AUTHORIZATION) {
        return;
    }
    let offered = tokens(headers, &SEC_WEBSOCKET_PROTOCOL).find_map(|offered| offered.strip_prefix(BEARER));
    let field = offered.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
    if let Some(mut field) = field {
        field.set_sensitive(true);
        headers.insert(AUTHORIZATION, field);
    }
}

/// The fields of the answer 101.
///
/// # Errors
/// 426 for a request that asks for no WebSocket, or for another version of it; 400 for one
/// that does not ask as it should.
pub(crate) fn accept(head: &Parts) -> Result<HeaderMap, Problem> {
    if head.extensions.get::<AsksWebSocket>().is_none() {
        return Err(upgrade_required(head.version, "This is a WebSocket, opened over HTTP/1.1."));
    }
    if head.headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(upgrade_required(head.version, "This is a WebSocket of version 13."));
    }
    let malformed = |detail: &str| Problem::new(Kind::Malformed, detail);
    let key = head.headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if STANDARD.decode(key).ok().is_none_or(|key| key.len() != KEY_BYTES) {
        return Err(malformed("Sec-WebSocket-Key is not 16 bytes in base64."));
    }
    let offers = |name: Option<&str>| {
        tokens(&head.headers, &SEC_WEBSOCKET_PROTOCOL).any(|offered| name.is_none_or(|name| name == offered))
    };
    let mut headers = HeaderMap::with_capacity(4);
    if offers(Some(SUBPROTOCOL)) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    } else if offers(None) {
        return Err(malformed(
            "Sec-WebSocket-Protocol must offer wasmyard.events.v1, alone or beside bearer.TOKEN.",
        ));
    }
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::try_from(derive_accept_key(key));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.map_err(|_| malformed("Sec-WebSocket-Key is no key."))?);
    Ok(headers)
}

/// RFC 9110, section 15.5.22, and RFC 6455, section 4.4.
fn upgrade_required(version: Version, detail: &str) -> Problem {
    let problem = Problem::new(Kind::UpgradeRequired, detail)
        .with_header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    if version > Version::HTTP_11 {
        // HTTP/2 has no fields of a connection.
        return problem;
    }
    problem
        .with_header(UPGRADE, HeaderValue::from_static("websocket"))
        .with_header(CONNECTION, HeaderValue::from_static("upgrade"))
}

/// The members of a list of tokens, over all fields of the name.
fn tokens<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> impl Iterator<Item = &'a str> {
    let fields = headers.get_all(name).into_iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).map(str::trim).filter(|token| !token.is_empty())
}
