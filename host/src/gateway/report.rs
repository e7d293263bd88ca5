//! What is logged about a request: one line when it has been answered, or its client has
//! given it up, and one more with the owner of the error when there was one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};
use tracing::{Level, debug, enabled, error, info, warn};

use crate::policy::REQUEST_ID;
use crate::policy::auth::Denied;
use crate::router::Endpoint;
use crate::runtime::{Failure, RequestId, Response, VersionName};
use crate::telemetry::trace::TraceId;

/// A claimed id is somebody else's text: long enough for a UUID or a trace id, too
/// short to flood the log.
const CLAIMED_ID_BYTES_MAX: usize = 64;

/// A request as the log knows it. The query is left out: it may hold a secret.
pub(super) struct Visit {
    pub(super) arrived: Instant,
    pub(super) id: RequestId,
    pub(super) trace: TraceId,
    pub(super) claimed_id: Option<Arc<str>>,
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    /// Who is at the other end of the socket: the client, or a proxy.
    pub(super) peer: SocketAddr,
    /// The client, as far as the proxies in between are trusted.
    pub(super) client: IpAddr,
    /// It has its answer, and its line.
    pub(super) is_answered: bool,
}

/// The id that the client says its request has. It is logged beside the host's own,
/// so that the two can be joined, and never used in its place: ids that others choose
/// need not be unique.
pub(super) fn claimed_id(headers: &HeaderMap) -> Option<Arc<str>> {
    let claimed = headers.get(REQUEST_ID)?.to_str().ok()?;
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let taken = !claimed.is_empty() && claimed.len() <= CLAIMED_ID_BYTES_MAX && claimed.bytes().all(sane);
    taken.then(|| claimed.into())
}

/// Whether requests have a line each.
pub(super) fn is_logged() -> bool {
    enabled!(target: "access", Level::INFO)
}

/// The line of a request that has its answer.
pub(super) fn access(
    visit: &Visit,
    endpoint: Option<&Endpoint>,
    version: Option<&VersionName>,
    response: &Response,
    took: Duration,
) {
    line(visit, endpoint, version, Some(response), took);
}

/// Whose client has given it up: it has a line too, without an answer and a status.
impl Drop for Visit {
    fn drop(&mut self) {
        if !self.is_answered {
            line(self, None, None, None, self.arrived.elapsed());
        }
    }
}

fn line(
    visit: &Visit,
    endpoint: Option<&Endpoint>,
    version: Option<&VersionName>,
    response: Option<&Response>,
    took: Duration,
) {
    info!(
        target: "access",
        request_id = visit.id.as_str(),
        trace_id = %visit.trace,
        method = visit.method.as_str(),
        path = visit.target.path(),
        status = response.map(|response| response.status.as_u16()),
        bytes = response.map(|response| response.body.len()),
        abandoned = response.is_none().then_some(true),
        duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        service = endpoint.map(|endpoint| &**endpoint.handler.name()),
        version = version.map(|version| &*version.label),
        route = endpoint.map(|endpoint| &*endpoint.route),
        client = %visit.client,
        peer = %visit.peer,
        claimed_id = visit.claimed_id.as_deref(),
    );
}

/// A service's own answer, when it speaks of an error on the server's side.
pub(super) fn answer(endpoint: &Endpoint, response: &Response, id: &RequestId, trace: TraceId) {
    // What a service answers for when it cannot reach what it needs.
    let owner = match response.status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => "backend",
        status if status.is_server_error() => "guest",
        _ => return,
    };
    warn!(
        request_id = id.as_str(),
        trace_id = %trace,
        service = &**endpoint.handler.name(),
        route = &*endpoint.route,
        owner,
        status = response.status.as_u16(),
        "the service answered with an error",
    );
}

/// Counts and says why a caller was not let through, for whoever looks for it: the status stands in
/// the access log already, and the reason is not for the client.
pub(super) fn denied(endpoint: &Endpoint, denied: &Denied, id: &RequestId, trace: TraceId) {
    endpoint.handler.stats().denied(denied);
    let (service, route) = (&**endpoint.handler.name(), &*endpoint.route);
    debug!(request_id = id.as_str(), trace_id = %trace, service, route, owner = "client", "{denied}");
}

/// Counts and logs why a service gave no answer.
pub(super) fn failure(endpoint: &Endpoint, failure: &Failure, id: &RequestId, trace: TraceId) {
    let stats = endpoint.handler.stats();
    stats.failed(failure);
    let (owner, service, route) = (owner(failure), &**endpoint.handler.name(), &*endpoint.route);
    match failure {
        Failure::Saturated { .. } => {
            // The cheapest answer of all must not be the one that floods the log.
            if let Some(refused) = stats.saturation_to_report() {
                warn!(service, owner, refused, "{failure}");
            }
        }
        Failure::Trap(_) | Failure::InvalidResponse(_) | Failure::NoInstance(_) => {
            error!(request_id = id.as_str(), trace_id = %trace, service, route, owner, "{failure}");
        }
        Failure::TooDeep { .. } | Failure::Timeout { .. } | Failure::Retired => {
            warn!(request_id = id.as_str(), trace_id = %trace, service, route, owner, "{failure}");
        }
    }
}

/// Who has to do something about it.
fn owner(failure: &Failure) -> &'static str {
    match failure {
        Failure::Saturated { .. } => "client",
        Failure::Trap(_)
        | Failure::InvalidResponse(_)
        | Failure::Timeout { .. }
        | Failure::TooDeep { .. } => "guest",
        Failure::Retired | Failure::NoInstance(_) => "host",
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_claimed_id_is_a_short_token_or_nothing() {
        let long = "a".repeat(65);
        let cases = [
            ("0190-abc.D_E:f", true),
            ("", false),
            ("two words", false),
            ("a\"b", false),
            ("a,b", false),
            (long.as_str(), false),
        ];
        for (claimed, expected) in cases {
            let headers: HeaderMap =
                [(REQUEST_ID, HeaderValue::from_str(claimed).unwrap())].into_iter().collect();
            assert_eq!(claimed_id(&headers).is_some(), expected, "{claimed:?}");
        }
    }
}
