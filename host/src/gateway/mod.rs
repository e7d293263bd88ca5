//! From a request off the wire to a service, and the answer back.
//!
//! ```text
//! id → route → caller → rate limit → stored answer → room for the body → body → service → fields → conditional → log
//! ```
//!
//! Every request that reaches this point gets a new id, one answer, one count and one
//! line in the log; a failure becomes a problem here and nowhere else. The permit
//! that a service gives with its answer travels inside the answer's body, so it is
//! held until the last byte is out.

mod calls;
mod docs;
mod doors;
mod health;
mod jwks;
mod live;
mod report;
#[cfg(test)]
pub(crate) mod script;
mod spans;
mod stored;
#[cfg(test)]
mod tests;
mod unread;

pub use calls::ServiceCalls;
pub(crate) use docs::Documents;
pub use doors::Doors;
pub(crate) use unread::{BodyRoom, Unread};

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, IF_NONE_MATCH, SERVER, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use stored::{Look, Stored};

use crate::events::{Topics, handshake};
use crate::limiter::{Client, Limiter, Verdict};
use crate::limits;
use crate::manifest::{EventForm, Runtime};
use crate::pages::CurrentPages;
use crate::policy::auth::{Authority, JWKS_PATH};
use crate::policy::{self, REQUEST_ID, VERSION};
use crate::problem::{Kind, Problem};
use crate::router::{CurrentRouter, Endpoint, Found, Match, Router};
use crate::runtime::{Request, RequestId, Response, VersionName};
use crate::server::{Body, Exchange, ListenerKind, Live, Peer, Refusal};
use crate::telemetry::trace::{Span, SpanKind, TraceContext, Tracer, around};
use crate::telemetry::{InFlight, Origin, RouteStats};

/// Answers the requests of the public listener and of the services' own ports.
pub struct Gateway {
    router: Arc<CurrentRouter>,
    /// Who knows the callers; without it a route that asks for one admits nobody.
    authority: Option<Arc<Authority>>,
    unrouted: Arc<RouteStats>,
    body_room: BodyRoom,
    limiter: Limiter,
    /// What the public listener answers where no route does.
    pages: Arc<CurrentPages>,
    topics: Arc<Topics>,
    /// Who records traces; nobody unless the manifest names a collector.
    tracer: Option<Arc<Tracer>>,
}

/// A request on its way to its answer.
struct Arrival<'a> {
    peer: &'a Peer,
    client: IpAddr,
    id: &'a RequestId,
    trace: &'a TraceContext,
    span: &'a mut Span,
}

/// A request's answer on its way out, with what it will be counted and logged under.
struct Reply {
    response: Response,
    endpoint: Option<Arc<Endpoint>>,
    version: Option<VersionName>,
    permit: Option<OwnedSemaphorePermit>,
    flight: Option<InFlight>,
    /// Where the client stands with its rate limit, if there is one.
    verdict: Option<Verdict>,
    /// What comes in the place of a whole body. Boxed, because nearly no answer has it.
    live: Option<Box<Live>>,
}

impl Gateway {
    /// A gateway over the routes in use, which limits each client by this host alone.
    pub fn new(router: Arc<CurrentRouter>) -> Self {
        Self {
            router,
            authority: None,
            unrouted: Arc::default(),
            body_room: BodyRoom::new(limits::REQUEST_BODIES_BYTES_MAX),
            limiter: Limiter::new(None, &Runtime::default()),
            pages: Arc::default(),
            topics: Arc::default(),
            tracer: None,
        }
    }

    /// The same with another limiter.
    #[must_use]
    pub fn limited_by(self, limiter: Limiter) -> Self {
        Self { limiter, ..self }
    }

    /// The same, with somebody who knows the callers.
    #[must_use]
    pub fn with_authority(self, authority: Option<Arc<Authority>>) -> Self {
        Self { authority, ..self }
    }

    /// The same, with pages where no route is.
    #[must_use]
    pub fn with_pages(self, pages: Arc<CurrentPages>) -> Self {
        Self { pages, ..self }
    }

    /// The same, with the events that routes lead to.
    #[must_use]
    pub fn with_topics(self, topics: Arc<Topics>) -> Self {
        Self { topics, ..self }
    }

    /// The same, with somebody who records traces.
    #[must_use]
    pub fn traced_by(self, tracer: Option<Arc<Tracer>>) -> Self {
        Self { tracer, ..self }
    }

    /// What is counted for paths that no route has.
    pub fn unrouted(&self) -> &Arc<RouteStats> {
        &self.unrouted
    }

    async fn exchange(&self, mut head: Parts, body: impl Unread, peer: &Peer) -> http::Response<Body> {
        let arrived = Instant::now();
        let id = RequestId::new();
        let claimed_id = report::claimed_id(&head.headers);
        handshake::note(&mut head);
        let trace = self.admit(&head.headers);
        let router = self.router.load_full();
        let client = policy::client_address(peer.address.ip(), &head.headers, &router.settings().proxies);
        let mut span = trace.request(arrived);
        span.with(|span| {
            let Parts { method, uri, version, headers, .. } = &head;
            let head = spans::Head { method, uri, version: *version, headers };
            spans::asked(span, &head, (peer, client), &id);
        });
        policy::strip_request(&mut head.headers);
        let visit = report::Visit {
            arrived,
            id,
            trace: trace.trace_id(),
            claimed_id,
            method: head.method.clone(),
            target: target(&head.uri),
            peer: peer.address,
            client,
            is_answered: false,
        };
        let if_none_match: Vec<_> = head.headers.get_all(IF_NONE_MATCH).iter().cloned().collect();

        let arrival = Arrival { peer, client, id: &id, trace: &trace, span: &mut span };
        let mut reply = self.reply(&router, head, body, arrival).await;
        if reply.live.is_none() {
            policy::conditional(&visit.method, &if_none_match, &mut reply.response);
        }
        self.close(visit, span, reply)
    }

    /// The trace that a request belongs to, recorded or not. Where nobody records or logs, it
    /// is not looked for: a stored answer needs none, and a guest's entry asks again.
    fn admit(&self, headers: &HeaderMap) -> TraceContext {
        match &self.tracer {
            Some(tracer) => tracer.admit(TraceContext::of_request(headers)),
            None if report::is_logged() => TraceContext::of_request(headers),
            None => TraceContext::UNKNOWN,
        }
    }

    async fn reply(&self, router: &Router, head: Parts, body: impl Unread, arrival: Arrival<'_>) -> Reply {
        let (peer, id) = (arrival.peer, arrival.id);
        let path = head.uri.path();
        if let Some(page) = docs::page(router.settings(), path) {
            let service = match &peer.listener {
                ListenerKind::Direct(service) => Some(&**service),
                _ => None,
            };
            // Boxed, like every rare wait here: a future is moved with room for all of its
            // states, and this one is moved for each request.
            return Box::pin(docs::reply(router, page, service, &head.method, path, id)).await.into();
        }
        let table = match &peer.listener {
            ListenerKind::Direct(service) => router.of(service),
            _ if path == router.settings().health_path => {
                return Box::pin(health::reply(router, &head.method, path, id)).await.into();
            }
            _ if path == JWKS_PATH => return jwks::reply(self.authority.as_deref(), &head.method, id).into(),
            _ => Some(router.public()),
        };
        // A service's own port outlives the service for a moment when a changed
        // manifest takes it away.
        let Some(table) = table else { return Problem::not_found().response(id, path).into() };

        match table.find(&head.method, path) {
            Match::Found(found) => self.ask(router, found, head, body, arrival).await,
            Match::Options(endpoint) => {
                let allow = endpoint.allow.clone();
                Reply::at(endpoint, options(allow))
            }
            Match::MethodNotAllowed(endpoint) => {
                let problem = Problem::method_not_allowed(&endpoint.allow);
                Reply::at(endpoint, problem.response(id, path))
            }
            Match::BadParameter(endpoint, reason) => {
                Reply::at(endpoint, Problem::new(Kind::Malformed, sentence(reason)).response(id, path))
            }
            // The asterisk form asks about the server as a whole (RFC 9110, section 9.3.7).
            Match::NotFound if head.method == Method::OPTIONS && path == "*" => {
                options(HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")).into()
            }
            Match::NotFound => {
                let page = match peer.listener {
                    ListenerKind::Direct(_) => None,
                    _ => self.pages.load().reply(&head, id),
                };
                page.unwrap_or_else(|| Problem::not_found().response(id, path)).into()
            }
        }
    }

    async fn ask(
        &self,
        router: &Router,
        found: Found,
        mut head: Parts,
        body: impl Unread,
        Arrival { peer, client: address, id, trace, span }: Arrival<'_>,
    ) -> Reply {
        let Found { endpoint, params, method } = found;
        span.with(|span| span.assign(endpoint.handler.name()));
        let within = span.is_recorded().then(|| span.under(trace));
        let trace = within.as_ref().unwrap_or(trace);
        let handler = endpoint.handler.clone();
        let bounds = handler.limits();
        let target = target(&head.uri);
        let mut reply = Reply::at(endpoint.clone(), Response::default());
        if endpoint.events == Some(EventForm::WebSocket) {
            handshake::find_token(&mut head.headers);
        }
        let access = endpoint.access(&method);
        let admission = match access.is_everybody() {
            true => Span::default(),
            false => trace.child(SpanKind::Internal, "auth"),
        };
        let identified = match head.headers.contains_key(AUTHORIZATION) && !access.is_everybody() {
            true => Box::pin(access.identify(self.authority.as_deref(), &mut head.headers)).await,
            false => Ok(None),
        };
        let (identity, admitted) = match identified {
            Ok(identity) => {
                let admitted = access.check(identity.as_ref());
                (identity, admitted)
            }
            Err(denied) => (None, Err(denied)),
        };
        spans::admitted(admission, identity.as_ref(), &admitted);
        // Who is refused counts too: a guess at a token costs a signature. Whoever is known and
        // lacks a role is charged for it, and not their neighbours at the same address.
        if let Some(limit) = endpoint.limit(&method) {
            let client = Client::of(identity.as_ref(), address);
            let decision = trace.child(SpanKind::Internal, "rate limit");
            let counters = handler.stats().limits();
            let verdict = match decision.is_recorded() {
                true => {
                    let decide = self.limiter.decide(limit, client, counters);
                    Box::pin(around(&decision.under(trace), decide)).await
                }
                false => self.limiter.decide(limit, client, counters).await,
            };
            decision.end_with(|span| {
                span.set("wasmyard.rate_limit.result", if verdict.passed() { "passed" } else { "refused" });
            });
            let problem = (!verdict.passed()).then(|| verdict.problem());
            reply.verdict = Some(verdict);
            if let Some(problem) = problem {
                reply.response = problem.response(id, target.path());
                return reply;
            }
        }

        if let Err(denied) = admitted {
            report::denied(&endpoint, &denied, id, trace.known(&head.headers).trace_id());
            reply.response = Problem::from(&denied).response(id, target.path());
            return reply;
        }

        if let Some(form) = endpoint.events {
            let opened = match self.topics.of(handler.name()) {
                Some(topic) => live::open(topic, form, &head, identity.as_ref(), (address, peer.secure)),
                None => Err(Problem::new(Kind::Unavailable, "The host has to be restarted for its events.")),
            };
            match opened {
                Ok((response, live)) => {
                    reply.response = response;
                    reply.live = Some(Box::new(live));
                }
                Err(problem) => reply.response = problem.response(id, target.path()),
            }
            return reply;
        }

        // What is told to somebody is told to nobody else.
        let stored = match body.bytes_max() {
            Some(0) if identity.is_none() => {
                Stored::of(&endpoint, &method, head.uri.query(), &head.headers, &params)
            }
            _ => None,
        };
        let mut known = None;
        if let Some(stored) = &stored {
            let looking = trace.child(SpanKind::Internal, "stored answer");
            let look = match looking.is_recorded() {
                true => Box::pin(around(&looking.under(trace), stored.look())).await,
                false => stored.look().await,
            };
            spans::looked(looking, &look);
            match look {
                Look::Answer(response, version) => {
                    reply.response = response;
                    reply.version = Some(version);
                    return reply;
                }
                Look::Guest(found) => known = found,
            }
        }

        // Held until the answer is there: until then the guest has the body.
        let Ok(_room) = self.body_room.take(&body, bounds.request_body_bytes_max) else {
            let problem = Problem::new(Kind::Saturated, "The host holds as many request bodies as it may.");
            reply.response = problem.retry_after(limits::RETRY_AFTER).response(id, target.path());
            return reply;
        };
        let read = match body.bytes_max() {
            Some(0) => Ok(Bytes::new()),
            _ => {
                let reading = trace.child(SpanKind::Internal, "body");
                let wait = router.settings().body_timeout;
                let read = Box::pin(body.read(bounds.request_body_bytes_max, wait)).await;
                reading.end();
                read
            }
        };
        let body = match read {
            Ok(body) => body,
            Err(error) => {
                reply.response = Problem::from(&error).response(id, target.path());
                return reply;
            }
        };

        let trace = trace.known(&head.headers);
        let trace_id = trace.trace_id();
        let request = Request {
            method,
            target: target.clone(),
            route: endpoint.route.clone(),
            params,
            headers: head.headers,
            body,
            identity,
            read: known,
            id: *id,
            trace,
            depth: 0,
            // From here on, not from the arrival: a client with a slow network does not
            // use up the guest's time, and has a deadline of its own.
            deadline: Instant::now() + bounds.request_timeout,
        };
        match handler.handle(request).await {
            Ok(answer) => {
                reply.response = answer.response;
                reply.version = Some(answer.version);
                reply.permit = Some(answer.permit);
                policy::strip_response(&mut reply.response.headers);
                if let (Some(stored), Some(version)) = (stored, &reply.version) {
                    stored.keep(&reply.response, version);
                }
                report::answer(&endpoint, &reply.response, id, trace_id);
            }
            Err(failure) => {
                span.with(|span| span.fail(failure.kind(), failure.to_string()));
                report::failure(&endpoint, &failure, id, trace_id);
                reply.response = Problem::from(&failure).response(id, target.path());
            }
        }
        reply
    }

    /// Signs, counts and logs the answer.
    fn close(&self, mut visit: report::Visit, span: Span, reply: Reply) -> http::Response<Body> {
        let Reply { mut response, endpoint, version, permit, flight, verdict, live } = reply;
        let took = visit.arrived.elapsed();
        let route_stats = endpoint.as_ref().map_or(&self.unrouted, |endpoint| &endpoint.stats);
        route_stats.record(Origin::Client, &visit.method, response.status, took);
        if span.is_recorded() {
            route_stats.exemplify(Origin::Client, &visit.method, took, visit.trace);
        }
        if let Some(flight) = flight {
            flight.answered(response.status, took);
        }
        visit.is_answered = true;
        report::access(&visit, endpoint.as_deref(), version.as_ref(), &response, took);
        spans::answered(span, &visit.method, endpoint.as_deref(), version.as_ref(), response.status);

        sign(&mut response.headers, &visit.id, version.as_ref());
        if let Some(verdict) = verdict {
            verdict.write(&mut response.headers);
        }
        let body = match (live, permit) {
            (Some(live), _) => Body::live(*live),
            (None, Some(permit)) => Body::with_permit(response.body, permit),
            (None, None) => Body::new(response.body),
        };
        let mut answer = http::Response::new(body);
        *answer.status_mut() = response.status;
        *answer.headers_mut() = response.headers;
        answer
    }
}

impl Exchange for Gateway {
    async fn answer(&self, request: http::Request<Incoming>, peer: &Peer) -> http::Response<Body> {
        let (head, body) = request.into_parts();
        self.exchange(head, body, peer).await
    }

    fn refuse(&self, head: &http::Request<Incoming>, refusal: Refusal, peer: &Peer) -> http::Response<Body> {
        let (arrived, id) = (Instant::now(), RequestId::new());
        let trace = self.admit(head.headers());
        let router = self.router.load();
        let client = policy::client_address(peer.address.ip(), head.headers(), &router.settings().proxies);
        let mut span = trace.request(arrived);
        span.with(|span| {
            let (method, uri, headers) = (head.method(), head.uri(), head.headers());
            let head = spans::Head { method, uri, version: head.version(), headers };
            spans::asked(span, &head, (peer, client), &id);
        });
        let visit = report::Visit {
            arrived,
            id,
            trace: trace.trace_id(),
            claimed_id: None,
            method: head.method().clone(),
            target: target(head.uri()),
            peer: peer.address,
            client,
            is_answered: false,
        };
        // The path may be what is too long, so it is not repeated.
        let response = Problem::from(refusal).response(&visit.id, "");
        self.close(visit, span, response.into())
    }
}

impl Reply {
    /// An answer of the host's own about a route.
    fn at(endpoint: Arc<Endpoint>, response: Response) -> Self {
        let flight = Some(endpoint.handler.stats().begin());
        Self { endpoint: Some(endpoint), flight, ..Self::from(response) }
    }
}

impl From<Response> for Reply {
    /// An answer of the host's own about no service.
    fn from(response: Response) -> Self {
        Self {
            response,
            endpoint: None,
            version: None,
            permit: None,
            flight: None,
            verdict: None,
            live: None,
        }
    }
}

/// What an endpoint of the host's own answers to everything but GET and HEAD.
fn other_method(method: &Method, path: &str, id: &RequestId) -> Option<Response> {
    let allow = HeaderValue::from_static("GET, HEAD, OPTIONS");
    match *method {
        Method::GET | Method::HEAD => None,
        Method::OPTIONS => Some(options(allow)),
        _ => Some(Problem::method_not_allowed(&allow).response(id, path)),
    }
}

fn options(allow: HeaderValue) -> Response {
    let headers = [(ALLOW, allow)].into_iter().collect();
    Response { status: StatusCode::NO_CONTENT, headers, body: Bytes::new() }
}

/// The fields that every answer carries.
fn sign(headers: &mut HeaderMap, id: &RequestId, version: Option<&VersionName>) {
    headers.insert(SERVER, HeaderValue::from_static("wasmyard"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(version) = version {
        headers.insert(VERSION, version.field.clone());
    }
}

/// Path and query of a request's target, which share its bytes.
fn target(uri: &Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// A reason as a sentence of its own.
fn sentence(reason: &str) -> String {
    let mut letters = reason.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}
