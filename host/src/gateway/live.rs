//! Routes that lead to a service's events: the host answers, and no guest is entered.

use std::net::IpAddr;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::events::{Opening, Topic, handshake, sse, websocket};
use crate::limiter::Client;
use crate::manifest::EventForm;
use crate::problem::Problem;
use crate::runtime::{Identity, Response};
use crate::server::Live;

/// Begins a subscription: the head of the answer, and what comes after it.
///
/// # Errors
/// What is wrong with the request, or that there is no room for another subscriber.
pub(super) fn open(
    topic: &Topic,
    form: EventForm,
    head: &Parts,
    identity: Option<&Identity>,
    (address, secure): (IpAddr, bool),
) -> Result<(Response, Live), Problem> {
    let upgrade = match form {
        EventForm::WebSocket => Some(handshake::accept(head)?),
        EventForm::Sse => None,
    };
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let subscription = topic.open(Opening {
        form,
        query: head.uri.query(),
        headers: &head.headers,
        host: authority.or_else(|| head.headers.get(HOST)?.to_str().ok()),
        secure,
        identity,
        client: Client::of(identity, address),
    })?;
    Ok(match upgrade {
        Some(headers) => {
            let serve = |io, read| websocket::serve(subscription, io, read);
            let live = Live::Upgrade(Box::new(move |io, read| Box::pin(serve(io, read))));
            (answer(StatusCode::SWITCHING_PROTOCOLS, headers), live)
        }
        None => (answer(StatusCode::OK, sse::headers()), Live::Stream(sse::pieces(subscription))),
    })
}

fn answer(status: StatusCode, headers: HeaderMap) -> Response {
    Response { status, headers, ..Response::default() }
}
