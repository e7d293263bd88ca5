//! The operator's API, on its own loopback port.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /livez` | 200 while the process can answer at all |
//! | `GET /readyz` | 200 while the host serves, 503 while it starts or drains |
//! | `GET /metrics` | all counters for Prometheus: OpenMetrics where `Accept` names it, else the text format |
//! | `GET /v1/status` | [`HostStatus`] |
//! | `GET /v1/services/{name}/history` | [`History`] |
//! | `GET /v1/keys` | [`Keys`]: those that sign access tokens, without their private halves |
//! | `POST /v1/keys/rotate` | no body; a new key signs from now on; [`Keys`] |
//! | `POST /v1/keys/revoke` | the same, and tokens of all former keys are refused |
//! | `GET /v1/sagas` | [`Parked`]: what services could neither finish nor undo |
//! | `POST /v1/services/{name}/sagas/{id}/retry` | no body; [`Retried`] |
//! | `POST /v1/services/{name}/deploy` | body: a component's bytes, `Content-Type: application/wasm`; [`DeployReport`] |
//! | `POST /v1/services/{name}/rollback` | no body; [`DeployReport`] |
//!
//! An answer of status 400 or above is `application/problem+json` (RFC 9457). Of a
//! deploy or a rollback it has the members `step` and `reason` too:
//!
//! - 401, the token is missing or wrong;
//! - 403, the request could come from a page of another site;
//! - 404, no service of that name; the member `nearest` names the most similar one;
//! - 409, another deploy of the service is running, or there is nothing to go back to;
//! - 413, 415, the body is larger than [`limits::COMPONENT_BYTES_MAX`], or of another
//!   type;
//! - 422, the component was refused.
//!
//! # Who may ask
//!
//! The port is on loopback, so whoever asks runs on this machine; but a browser does
//! too, on behalf of any page that it shows. Hence three rules, all in `guard`:
//!
//! 1. `Host` must name loopback. A page that has its own name point to 127.0.0.1 (DNS
//!    rebinding) still says its own name there.
//! 2. A request with `Origin`, or with a `Sec-Fetch-Site` other than `none` and
//!    `same-origin`, is refused: a page of another site has caused it.
//! 3. What changes something needs `Authorization: Bearer` and the token from
//!    `.wasmyard/admin-token`, which only the operator's own user can read.
//!
//! No answer carries a CORS field.
//!
//! `/metrics` alone may have a port of its own beside this one, `telemetry.metrics_port`,
//! for a collector on another machine.

pub mod api;
mod guard;
mod token;

#[cfg(test)]
mod tests;

pub use token::AdminToken;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SERVER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;

use crate::events::Topics;
use crate::gateway::{BodyRoom, Unread};
use crate::limits;
use crate::policy::REQUEST_ID;
use crate::problem::{Kind, Problem};
use crate::router::CurrentRouter;
use crate::runtime::{RequestId, Response};
use crate::server::{Body, ConnectionStats, Exchange, ListenerKind, Peer, Refusal};
use crate::telemetry::metrics::{Scrape, ServiceScrape};
use crate::telemetry::trace::SpanCounters;
use crate::telemetry::{Format, RouteStats};
use api::{
    DeployFailure, DeployReport, FailureKind, History, HostStatus, Keys, KeysFailure, Parked, Retried,
    SagaFailure, UnknownService,
};

/// What the API can have done.
#[async_trait]
pub trait Operator: Send + Sync + 'static {
    /// Whether the host should be sent requests.
    fn readiness(&self) -> Readiness;

    /// The host and its services at this moment.
    async fn status(&self) -> HostStatus;

    /// A service's versions, newest first.
    async fn history(&self, service: &str) -> Result<History, UnknownService>;

    /// The keys that sign access tokens.
    async fn keys(&self) -> Result<Keys, KeysFailure>;

    /// Makes a new one, which signs from now on; with `revoke`, tokens of the others are
    /// refused.
    async fn rotate_keys(&self, revoke: bool) -> Result<Keys, KeysFailure>;

    /// What services could neither finish nor undo.
    async fn parked(&self) -> Result<Parked, SagaFailure>;

    /// Lets a service try a parked saga again.
    async fn retry_parked(&self, service: &str, id: &str) -> Result<Retried, SagaFailure>;

    /// Makes `component` the service's active version, or leaves everything as it was.
    async fn deploy(&self, service: &str, component: Bytes) -> Result<DeployReport, DeployFailure>;

    /// Makes the version before the active one active again.
    async fn rollback(&self, service: &str) -> Result<DeployReport, DeployFailure>;
}

/// Whether the host should be sent requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Readiness {
    /// Not yet: its services are being loaded.
    Starting,
    /// Yes.
    Serving,
    /// No longer: it answers what it has, and ends.
    Draining,
}

/// Answers the admin listener's requests.
pub struct Admin {
    operator: Arc<dyn Operator>,
    token: AdminToken,
    router: Arc<CurrentRouter>,
    unrouted: Arc<RouteStats>,
    connections: OnceLock<Arc<ConnectionStats>>,
    topics: Arc<Topics>,
    spans: Option<Arc<SpanCounters>>,
    upload_room: BodyRoom,
}

impl Admin {
    /// The API over `operator`. `router` and `unrouted`, the gateway's, are read by
    /// the metrics.
    pub fn new(
        operator: Arc<dyn Operator>,
        token: AdminToken,
        router: Arc<CurrentRouter>,
        unrouted: Arc<RouteStats>,
    ) -> Self {
        Self {
            operator,
            token,
            router,
            unrouted,
            connections: OnceLock::new(),
            topics: Arc::default(),
            spans: None,
            upload_room: BodyRoom::new(limits::UPLOADS_BYTES_MAX),
        }
    }

    /// The same, with the events that the metrics tell of.
    #[must_use]
    pub fn with_topics(self, topics: Arc<Topics>) -> Self {
        Self { topics, ..self }
    }

    /// The same, with what the metrics tell of spans.
    #[must_use]
    pub fn counting_spans(self, spans: Option<Arc<SpanCounters>>) -> Self {
        Self { spans, ..self }
    }

    /// Tells the metrics what the server counts, once there is a server: it is started
    /// with this value. A second call changes nothing.
    pub fn count_connections(&self, stats: Arc<ConnectionStats>) {
        self.connections.get_or_init(|| stats);
    }

    async fn reply(&self, head: &Parts, body: impl Unread, id: &RequestId) -> Result<Response, Problem> {
        guard::same_machine(head)?;
        let path = head.uri.path();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match *segments.as_slice() {
            ["livez"] => read_only(head).map(|()| json(StatusCode::OK, &Said { status: "alive" })),
            ["readyz"] => read_only(head).map(|()| self.readyz()),
            ["metrics"] => {
                read_only(head)?;
                Ok(self.metrics(Format::asked(&head.headers)).await)
            }
            ["v1", "status"] => {
                read_only(head)?;
                Ok(json(StatusCode::OK, &self.operator.status().await))
            }
            ["v1", "keys"] => {
                read_only(head)?;
                let keys = self.operator.keys().await.map_err(|failure| keys_problem(&failure))?;
                Ok(json(StatusCode::OK, &keys))
            }
            ["v1", "keys", verb @ ("rotate" | "revoke")] => {
                changing(head)?;
                guard::token(head, &self.token)?;
                let (operator, revoke) = (self.operator.clone(), verb == "revoke");
                // Once begun, it ends by itself.
                let rotation = tokio::spawn(async move { operator.rotate_keys(revoke).await }).await;
                let rotated = rotation.unwrap_or_else(|panic| Err(KeysFailure::Host(panic.to_string())));
                let keys = rotated.map_err(|failure| keys_problem(&failure))?;
                let kid = keys.keys.first().map(|key| key.kid.as_str());
                tracing::info!(
                    request_id = id.as_str(),
                    verb,
                    kid,
                    "access tokens are signed with a new key"
                );
                Ok(json(StatusCode::OK, &keys))
            }
            ["v1", "sagas"] => {
                read_only(head)?;
                let parked = self.operator.parked().await.map_err(|failure| saga_problem("", failure))?;
                Ok(json(StatusCode::OK, &parked))
            }
            ["v1", "services", service, "sagas", saga, "retry"] => {
                changing(head)?;
                guard::token(head, &self.token)?;
                let retried = self.operator.retry_parked(service, saga).await;
                let retried = retried.map_err(|failure| saga_problem(service, failure))?;
                tracing::info!(request_id = id.as_str(), service, saga, "a parked saga is tried again");
                Ok(json(StatusCode::OK, &retried))
            }
            ["v1", "services", service, "history"] => {
                read_only(head)?;
                let history = self.operator.history(service).await;
                history.map(|history| json(StatusCode::OK, &history)).map_err(|e| unknown(service, e.nearest))
            }
            ["v1", "services", service, "deploy"] => {
                changing(head)?;
                guard::token(head, &self.token)?;
                guard::is_component(head)?;
                let component = self.upload(body).await?;
                let (operator, name) = (self.operator.clone(), service.to_owned());
                let deploy = tokio::spawn(async move { operator.deploy(&name, component).await });
                finish("deploy", service, deploy, id).await
            }
            ["v1", "services", service, "rollback"] => {
                changing(head)?;
                guard::token(head, &self.token)?;
                let (operator, name) = (self.operator.clone(), service.to_owned());
                let rollback = tokio::spawn(async move { operator.rollback(&name).await });
                finish("rollback", service, rollback, id).await
            }
            _ => Err(Problem::not_found()),
        }
    }

    fn readyz(&self) -> Response {
        let readiness = self.operator.readiness();
        let status = match readiness {
            Readiness::Serving => StatusCode::OK,
            Readiness::Starting | Readiness::Draining => StatusCode::SERVICE_UNAVAILABLE,
        };
        json(status, &Said { status: readiness })
    }

    async fn metrics(&self, format: Format) -> Response {
        let status = self.operator.status().await;
        let router = self.router.load_full();
        let services = router.services().map(|service| {
            let known = status.services.iter().find(|known| known.name == **service.name());
            let instances = known.map(|known| known.instances).unwrap_or_default();
            ServiceScrape {
                stats: service.stats().clone(),
                version: known.and_then(|known| known.version.clone()).unwrap_or_default(),
                instances_warm: instances.warm,
                instances_busy: instances.busy,
                instances_retired: instances.retired,
                concurrency_max: service.limits().concurrency_max as u64,
            }
        });
        let scrape = Scrape {
            unrouted: self.unrouted.clone(),
            services: services.collect(),
            connections: self.connections.get().cloned().unwrap_or_default(),
            events: self.topics.stats().map(|(topic, stats)| (topic.to_owned(), stats.clone())).collect(),
            started_at: status.host.started_at,
            host_version: status.host.version,
            spans: self.spans.clone(),
            exemplars: Arc::default(),
        };
        let mut response = Response { body: scrape.render(format).into(), ..Response::default() };
        response.headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        response
    }

    async fn upload(&self, body: impl Unread) -> Result<Bytes, Problem> {
        let Ok(_room) = self.upload_room.take(&body, limits::COMPONENT_BYTES_MAX) else {
            let problem = Problem::new(Kind::Saturated, "Other components are being sent; try again.");
            return Err(problem.retry_after(limits::RETRY_AFTER));
        };
        let read = body.read(limits::COMPONENT_BYTES_MAX, limits::BODY_TIMEOUT).await;
        read.map_err(|error| Problem::from(&error))
    }

    /// The one thing that the metrics' own port has. It says nothing that an operator alone
    /// may know and changes nothing, so any host may name it.
    async fn numbers(&self, head: &Parts) -> Result<Response, Problem> {
        if head.uri.path() != "/metrics" {
            return Err(Problem::not_found());
        }
        read_only(head)?;
        Ok(self.metrics(Format::asked(&head.headers)).await)
    }

    async fn exchange(&self, head: Parts, body: impl Unread, door: &ListenerKind) -> http::Response<Body> {
        let id = RequestId::new();
        let path = head.uri.path();
        let reply = match door {
            ListenerKind::Metrics => self.numbers(&head).await,
            _ => self.reply(&head, body, &id).await,
        };
        let response = match reply {
            Ok(response) => response,
            Err(problem) => {
                let (status, kind) = (problem.status().as_u16(), problem.kind());
                tracing::debug!(request_id = id.as_str(), path, status, ?kind, "refused");
                problem.response(&id, path)
            }
        };
        signed(response, &id)
    }
}

impl Exchange for Admin {
    async fn answer(&self, request: http::Request<Incoming>, peer: &Peer) -> http::Response<Body> {
        let (head, body) = request.into_parts();
        self.exchange(head, body, &peer.listener).await
    }

    fn refuse(
        &self,
        _head: &http::Request<Incoming>,
        refusal: Refusal,
        _peer: &Peer,
    ) -> http::Response<Body> {
        let id = RequestId::new();
        signed(Problem::from(refusal).response(&id, ""), &id)
    }
}

/// A body of one word.
#[derive(Serialize)]
struct Said<T> {
    status: T,
}

/// Waits for an operation that runs in a task of its own: once begun, it ends by
/// itself, whether or not whoever asked for it is still there.
async fn finish(
    verb: &'static str,
    service: &str,
    operation: tokio::task::JoinHandle<Result<DeployReport, DeployFailure>>,
    id: &RequestId,
) -> Result<Response, Problem> {
    let done = operation.await.unwrap_or_else(|panic| {
        tracing::error!(request_id = id.as_str(), service, verb, "{panic}");
        let reason = "the host failed; its log says more".to_owned();
        Err(DeployFailure { step: verb.to_owned(), reason, kind: FailureKind::Host })
    });
    match done {
        Ok(report) => {
            let (version, swap_ms) = (report.version.as_str(), report.swap_ms);
            tracing::info!(request_id = id.as_str(), service, verb, version, swap_ms, "done");
            Ok(json(StatusCode::OK, &report))
        }
        Err(failure) => {
            tracing::warn!(request_id = id.as_str(), service, verb, "{failure}");
            Err(problem_of(service, failure))
        }
    }
}

/// Unlike a client, the operator is told the reason as it is.
fn problem_of(service: &str, failure: DeployFailure) -> Problem {
    let DeployFailure { step, reason, kind } = failure;
    let kind = match kind {
        FailureKind::Refused => Kind::ComponentRefused,
        FailureKind::Busy => Kind::DeployRunning,
        FailureKind::NothingToRollBack => Kind::NothingToRollBack,
        FailureKind::Host => Kind::HostFailed,
        FailureKind::UnknownService { nearest } => {
            return unknown(service, nearest).with("step", step).with("reason", reason);
        }
    };
    Problem::new(kind, format!("{step}: {reason}")).with("step", step).with("reason", reason)
}

/// As above: the operator is told the reason as it is.
fn keys_problem(failure: &KeysFailure) -> Problem {
    let kind = match failure {
        KeysFailure::Unused => Kind::NoKeys,
        KeysFailure::Host(_) => Kind::HostFailed,
    };
    Problem::new(kind, failure.to_string())
}

fn saga_problem(service: &str, failure: SagaFailure) -> Problem {
    let said = failure.to_string();
    match failure {
        SagaFailure::UnknownService(UnknownService { nearest }) => unknown(service, nearest),
        SagaFailure::NotParked => Problem::new(Kind::NotParked, said),
        SagaFailure::Service(_) => Problem::new(Kind::HostFailed, said),
    }
}

fn unknown(service: &str, nearest: Option<String>) -> Problem {
    match nearest {
        Some(nearest) => {
            let detail = format!("The manifest has no service {service:?}; it has {nearest:?}.");
            Problem::new(Kind::UnknownService, detail).with("nearest", nearest)
        }
        None => Problem::new(Kind::UnknownService, format!("The manifest has no service {service:?}.")),
    }
}

fn read_only(head: &Parts) -> Result<(), Problem> {
    allow(head, &[Method::GET, Method::HEAD], "GET, HEAD")
}

fn changing(head: &Parts) -> Result<(), Problem> {
    allow(head, &[Method::POST], "POST")
}

fn allow(head: &Parts, methods: &[Method], allow: &'static str) -> Result<(), Problem> {
    if methods.contains(&head.method) {
        return Ok(());
    }
    Err(Problem::method_not_allowed(&HeaderValue::from_static(allow)))
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response { status, headers, body: serde_json::to_vec(body).unwrap_or_default().into() }
}

fn signed(response: Response, id: &RequestId) -> http::Response<Body> {
    let mut answer = http::Response::new(Body::new(response.body));
    *answer.status_mut() = response.status;
    *answer.headers_mut() = response.headers;
    let headers = answer.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("wasmyard"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, id);
    }
    answer
}
