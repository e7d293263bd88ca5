//! Calls between services: the same routes and bounds as from outside, without a
//! socket.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Instant;

use async_trait::async_trait;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::report;
use super::spans;
use super::stored::{Look, Stored};
use crate::bindings::wasmyard::platform::http_types;
use crate::capability::services::{CallRequest, Caller, Error};
use crate::limits;
use crate::policy;
use crate::problem::{Kind, Problem};
use crate::router::{CurrentRouter, Found, Match};
use crate::runtime::{Failure, Request, RequestScope, Response};
use crate::server::BodyError;
use crate::telemetry::Origin;
use crate::telemetry::trace::{Span, SpanKind, TraceContext, around};

/// The `services` capability of one service.
///
/// It holds the routes weakly: the routes hold the services, those their versions,
/// and a version its capabilities, this one among them.
pub struct ServiceCalls {
    router: Weak<CurrentRouter>,
    granted: BTreeSet<String>,
}

impl ServiceCalls {
    /// Calls to the services named in `granted`, by the routes in use when the call is
    /// made.
    pub fn new(router: &Arc<CurrentRouter>, granted: impl IntoIterator<Item = String>) -> Self {
        Self { router: Arc::downgrade(router), granted: granted.into_iter().collect() }
    }
}

#[async_trait]
impl Caller for ServiceCalls {
    async fn call(
        &self,
        service: &str,
        request: CallRequest,
        scope: &RequestScope,
    ) -> Result<http_types::Response, Error> {
        let not_granted = || Error::NotGranted(service.to_owned());
        if !self.granted.contains(service) {
            return Err(not_granted());
        }
        // The host is going down when there is no router any more.
        let router = self.router.upgrade().ok_or_else(not_granted)?.load_full();
        let table = router.internal(service).ok_or_else(not_granted)?;

        let problem = |problem: Problem| Ok(for_guest(problem.response(&scope.id, &request.path)));
        let (method, target, headers) = match head_of(&request) {
            Ok(head) => head,
            Err(reason) => return problem(Problem::new(Kind::Malformed, reason)),
        };
        match table.find(&method, &request.path) {
            Match::Found(found) => {
                let ask = Ask { found, method: &method, head: (target, headers), body: request.body, scope };
                match scope.trace.is_recorded() {
                    true => Box::pin(traced(ask)).await,
                    false => answer(ask, scope.trace.clone()).await,
                }
            }
            Match::Options(endpoint) => Ok(for_guest(super::options(endpoint.allow.clone()))),
            Match::MethodNotAllowed(endpoint) => problem(Problem::method_not_allowed(&endpoint.allow)),
            Match::BadParameter(_, reason) => problem(Problem::new(Kind::Malformed, super::sentence(reason))),
            Match::NotFound => problem(Problem::not_found()),
        }
    }
}

/// A call that has found its route.
struct Ask<'a> {
    found: Found,
    method: &'a Method,
    head: (PathAndQuery, HeaderMap),
    body: Vec<u8>,
    scope: &'a RequestScope,
}

/// Has a call answered, with a span for either end of it: the caller's, and under it the one
/// of the service that is called.
async fn traced(ask: Ask<'_>) -> Result<http_types::Response, Error> {
    let (endpoint, path) = (ask.found.endpoint.clone(), ask.head.0.path());
    let mut calling = ask.scope.trace.child(SpanKind::Client, "call");
    calling.with(|span| spans::calls(span, ask.method, &endpoint, path));
    let trace = calling.under(&ask.scope.trace).of_service(endpoint.handler.name());
    let mut serving = trace.child(SpanKind::Server, "call");
    serving.with(|span| spans::called(span, ask.method, &endpoint, (path, &ask.scope.id)));
    let trace = serving.under(&trace);
    let answered = around(&trace, answer(ask, trace.clone())).await;
    spans::call_answered(serving, &answered, false);
    spans::call_answered(calling, &answered, true);
    answered
}

async fn answer(ask: Ask<'_>, trace: TraceContext) -> Result<http_types::Response, Error> {
    let Ask { found, method, head: (target, headers), body, scope } = ask;
    let Found { endpoint, params, method: as_guest_sees_it } = found;
    let handler = &endpoint.handler;
    let bounds = handler.limits();
    let arrived = Instant::now();
    let (is_recorded, trace_id) = (trace.is_recorded(), trace.trace_id());
    let flight = handler.stats().begin();
    let answered = |response: Response| {
        let took = arrived.elapsed();
        endpoint.stats.record(Origin::Service, method, response.status, took);
        if is_recorded {
            endpoint.stats.exemplify(Origin::Service, method, took, trace_id);
        }
        flight.answered(response.status, took);
        response
    };

    let depth = scope.depth.saturating_add(1);
    if depth > bounds.call_depth_max {
        let failure = Failure::TooDeep { limit: bounds.call_depth_max };
        report::failure(&endpoint, &failure, &scope.id, trace_id);
        answered(Problem::from(&failure).response(&scope.id, target.path()));
        return Err(Error::TooDeep);
    }
    if body.len() > bounds.request_body_bytes_max {
        let error = BodyError::TooLarge { bytes_max: bounds.request_body_bytes_max };
        return Ok(for_guest(answered(Problem::from(&error).response(&scope.id, target.path()))));
    }

    let access = endpoint.access(&as_guest_sees_it);
    let admission = match access.is_everybody() {
        true => Span::default(),
        false => trace.child(SpanKind::Internal, "auth"),
    };
    let admitted = access.check(scope.identity.as_ref());
    spans::admitted(admission, scope.identity.as_ref(), &admitted);
    if let Err(denied) = admitted {
        report::denied(&endpoint, &denied, &scope.id, trace_id);
        return Ok(for_guest(answered(Problem::from(&denied).response(&scope.id, target.path()))));
    }

    let stored = match body.is_empty() && scope.identity.is_none() {
        true => Stored::of(&endpoint, &as_guest_sees_it, target.query(), &headers, &params),
        false => None,
    };
    let mut read = None;
    if let Some(stored) = &stored {
        let looking = trace.child(SpanKind::Internal, "stored answer");
        let look = match looking.is_recorded() {
            true => Box::pin(around(&looking.under(&trace), stored.look())).await,
            false => stored.look().await,
        };
        spans::looked(looking, &look);
        match look {
            Look::Answer(response, _) => return Ok(for_guest(answered(response))),
            Look::Guest(found) => read = found,
        }
    }

    let request = Request {
        method: as_guest_sees_it,
        target: target.clone(),
        route: endpoint.route.clone(),
        params,
        headers,
        body: body.into(),
        identity: scope.identity.clone(),
        read,
        id: scope.id,
        trace,
        depth,
        deadline: scope.deadline.min(arrived + bounds.request_timeout),
    };
    match handler.handle(request).await {
        Ok(mut answer) => {
            policy::strip_response(&mut answer.response.headers);
            if let Some(stored) = stored {
                stored.keep(&answer.response, &answer.version);
            }
            report::answer(&endpoint, &answer.response, &scope.id, trace_id);
            Ok(for_guest(answered(answer.response)))
        }
        Err(failure) => {
            report::failure(&endpoint, &failure, &scope.id, trace_id);
            answered(Problem::from(&failure).response(&scope.id, target.path()));
            Err(error_of(&failure))
        }
    }
}

/// Method, target and fields of a call, checked as a client's would have been.
fn head_of(call: &CallRequest) -> Result<(Method, PathAndQuery, HeaderMap), String> {
    let method = Method::from_bytes(call.method.as_bytes())
        .map_err(|_| format!("{:?} is not a method.", call.method))?;
    // From outside, hyper has seen to this.
    let written = match call.query.as_str() {
        "" => call.path.clone(),
        query => format!("{}?{query}", call.path),
    };
    let target = PathAndQuery::try_from(written).ok();
    let as_written = |target: &PathAndQuery| {
        target.path() == call.path && target.query().unwrap_or_default() == call.query
    };
    let target =
        target.filter(as_written).ok_or("The path or the query has a character that is not legal there.")?;
    if call.headers.len() > limits::HEADER_FIELDS_MAX {
        return Err(format!("A request has at most {} header fields.", limits::HEADER_FIELDS_MAX));
    }
    let mut headers = HeaderMap::with_capacity(call.headers.len());
    for (name, value) in &call.headers {
        let illegal = || format!("The header field {name:?} is not legal.");
        let field = HeaderName::from_bytes(name.as_bytes()).map_err(|_| illegal())?;
        headers.append(field, HeaderValue::from_bytes(value).map_err(|_| illegal())?);
    }
    policy::strip_request(&mut headers);
    Ok((method, target, headers))
}

fn for_guest(response: Response) -> http_types::Response {
    let header = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
    http_types::Response {
        status: response.status.as_u16(),
        headers: response.headers.iter().map(header).collect(),
        body: response.body.into(),
    }
}

/// What the calling guest is told. It is not the operator either, so no more than a
/// client would be.
fn error_of(failure: &Failure) -> Error {
    match failure {
        Failure::Saturated { .. } => {
            Error::Saturated(u64::try_from(limits::RETRY_AFTER.as_millis()).unwrap_or(u64::MAX))
        }
        Failure::TooDeep { .. } => Error::TooDeep,
        Failure::Timeout { .. } => Error::Timeout,
        Failure::Trap(_) => Error::Failed("it failed while it worked on the request".to_owned()),
        Failure::InvalidResponse(_) => Error::Failed("its answer was not a valid response".to_owned()),
        Failure::Retired => Error::Failed("it was replaced before it answered".to_owned()),
        Failure::NoInstance(_) => Error::Failed("it has no room at this moment".to_owned()),
    }
}
