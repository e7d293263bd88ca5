//! A service that a test scripts, and a router over some of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::limits;
use crate::manifest::{self, Direct, Grants, Isolation, Route, ServiceLimits};
use crate::router::{CurrentRouter, Handler, Router, Settings};
use crate::runtime::{Answer, Description, Failure, Request, Response, VersionName};
use crate::telemetry::ServiceStats;

type Script = dyn Fn(&Request) -> Result<Response, Failure> + Send + Sync;

/// Answers as its script says, and remembers what it was asked.
pub(crate) struct Scripted {
    stats: Arc<ServiceStats>,
    limits: ServiceLimits,
    script: Box<Script>,
    permits: Arc<Semaphore>,
    seen: Mutex<Vec<Request>>,
    description: Mutex<Option<Arc<Description>>>,
}

impl Scripted {
    pub(crate) fn new(
        name: &str,
        script: impl Fn(&Request) -> Result<Response, Failure> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::with_limits(name, default_limits(), script)
    }

    pub(crate) fn with_limits(
        name: &str,
        limits: ServiceLimits,
        script: impl Fn(&Request) -> Result<Response, Failure> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            stats: Arc::new(ServiceStats::new(name.into(), Arc::default())),
            permits: Arc::new(Semaphore::new(limits.concurrency_max)),
            limits,
            script: Box::new(script),
            seen: Mutex::default(),
            description: Mutex::default(),
        })
    }

    /// Gives it a version of this label, which says this of its API.
    pub(crate) fn describe(&self, label: &str, document: &Value) {
        let version = VersionName::new(self.name(), label.into());
        let document = document.as_object().unwrap().clone();
        *self.description.lock().unwrap() = Some(Arc::new(Description { version, document }));
    }

    /// The requests it was asked, in order.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// How many more requests it would take.
    pub(crate) fn permits_free(&self) -> usize {
        self.permits.available_permits()
    }
}

#[async_trait]
impl Handler for Scripted {
    fn name(&self) -> &Arc<str> {
        self.stats.service()
    }

    fn limits(&self) -> Arc<ServiceLimits> {
        Arc::new(self.limits.clone())
    }

    fn stats(&self) -> &Arc<ServiceStats> {
        &self.stats
    }

    async fn description(&self) -> Option<Arc<Description>> {
        self.description.lock().unwrap().clone()
    }

    async fn handle(&self, request: Request) -> Result<Answer, Failure> {
        let limit = self.limits.concurrency_max;
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| Failure::Saturated { limit })?;
        let response = (self.script)(&request);
        self.seen.lock().unwrap().push(request);
        Ok(Answer {
            response: response?,
            version: VersionName::new(self.name(), "0123456789ab".into()),
            permit,
        })
    }
}

/// A response with these fields.
pub(crate) fn respond(status: u16, fields: &[(&'static str, &'static str)], body: &'static str) -> Response {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let headers: HeaderMap = fields.iter().map(field).collect();
    let status = StatusCode::from_u16(status).unwrap();
    Response { status, headers, body: Bytes::from_static(body.as_bytes()) }
}

pub(crate) fn default_limits() -> ServiceLimits {
    ServiceLimits {
        memory_mib: limits::MEMORY_MIB,
        request_timeout: limits::REQUEST_TIMEOUT,
        concurrency_max: limits::CONCURRENCY_MAX,
        request_body_bytes_max: limits::REQUEST_BODY_BYTES_MAX,
        response_body_bytes_max: limits::RESPONSE_BODY_BYTES_MAX,
        call_depth_max: limits::CALL_DEPTH_MAX,
        instance_requests_max: limits::INSTANCE_REQUESTS_MAX,
        instance_memory_mark_mib: limits::INSTANCE_MEMORY_MARK_MIB,
    }
}

/// A service's part of a manifest: routes as `GET,POST /path`.
pub(crate) fn entry(name: &str, public: &[&str], direct: &[&str]) -> manifest::Service {
    let routes = |written: &[&str]| written.iter().map(|written| route(written)).collect();
    manifest::Service {
        name: name.to_owned(),
        component: PathBuf::from(format!("{name}.wasm")),
        build: None,
        routes: routes(public),
        direct: (!direct.is_empty()).then(|| Direct { port: 0, routes: routes(direct) }),
        internal: Vec::new(),
        grants: Grants::default(),
        limits: default_limits(),
        rate_limit: None,
        events: None,
        background: None,
        isolation: Isolation::default(),
        settings: BTreeMap::new(),
    }
}

/// A router over services with their parts of the manifest, whose health path is
/// `/api/health`.
pub(crate) fn router(
    services: impl IntoIterator<Item = (manifest::Service, Arc<Scripted>)>,
) -> Result<Router, crate::router::RouteConflict> {
    let services: Vec<_> = services.into_iter().collect();
    let settings = Settings { health_path: "/api/health".to_owned(), ..Settings::default() };
    Router::new(
        settings,
        services.iter().map(|(entry, service)| (entry, service.clone() as Arc<dyn Handler>)),
    )
}

/// The same, in use.
pub(crate) fn current(
    services: impl IntoIterator<Item = (manifest::Service, Arc<Scripted>)>,
) -> Arc<CurrentRouter> {
    Arc::new(CurrentRouter::from_pointee(router(services).unwrap()))
}

fn route(written: &str) -> Route {
    let (methods, path) = written.split_once(' ').unwrap();
    let methods = methods.split(',').map(str::to_owned).collect();
    Route { path: path.to_owned(), methods, ..Route::default() }
}
