//! The health of all services together: `server.health_path`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use utoipa::ToSchema;

use crate::limits;
use crate::router::{HEALTH_PATH, Handler, Router};
use crate::runtime::{Request, RequestId, Response};

/// How a service is.
// Worse is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HostStatus)]
enum Status {
    /// It serves.
    Ok,
    /// It serves, without something that it would like to have.
    Degraded,
    /// It cannot serve.
    Down,
}

/// How the services are.
#[derive(Serialize, ToSchema)]
#[schema(as = HostHealth)]
struct Report {
    /// That of the service that is worst off.
    status: Status,
    services: BTreeMap<String, ServiceReport>,
}

/// How one service is, with what it says itself: `database`, `redis` and the like.
#[derive(Serialize, ToSchema)]
struct ServiceReport {
    status: Status,
    /// The version that serves; `null` when it does not answer.
    #[schema(required, example = "0123456789ab")]
    version: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    account: Map<String, Value>,
}

/// Tells how all services are.
#[utoipa::path(get, path = limits::HEALTH_PATH, operation_id = "health", responses(
    (status = 200, description = "All of them serve; some may be `degraded`.", body = Report),
    (status = 503, description = "One of them cannot serve.", body = Report),
))]
pub(super) async fn reply(router: &Router, method: &Method, path: &str, id: &RequestId) -> Response {
    if let Some(response) = super::other_method(method, path, id) {
        return response;
    }
    let report = ask_all(router.services(), id).await;
    let status = match report.status {
        Status::Down => StatusCode::SERVICE_UNAVAILABLE,
        Status::Ok | Status::Degraded => StatusCode::OK,
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Response { status, headers, body: serde_json::to_vec(&report).unwrap_or_default().into() }
}

/// Asks all services at once, so that the answer takes as long as the slowest.
async fn ask_all(services: impl Iterator<Item = &Arc<dyn Handler>>, id: &RequestId) -> Report {
    let deadline = Instant::now() + limits::HEALTH_ALL_TIMEOUT;
    // Dropping the set, when the client goes away, ends the questions too.
    let mut questions = JoinSet::new();
    let mut reports = BTreeMap::new();
    for service in services {
        // A question that ends without an answer, by a panic, leaves this one standing.
        reports.insert(service.name().to_string(), ServiceReport::down());
        let (service, id) = (service.clone(), *id);
        questions.spawn(async move {
            let report = ask(&*service, id, deadline).await;
            (service.name().to_string(), report)
        });
    }
    while let Some(answered) = questions.join_next().await {
        if let Ok((name, report)) = answered {
            reports.insert(name, report);
        }
    }
    let status = reports.values().map(|report| report.status).max().unwrap_or(Status::Ok);
    Report { status, services: reports }
}

async fn ask(service: &dyn Handler, id: RequestId, deadline: Instant) -> ServiceReport {
    let request = Request::get(HEALTH_PATH, id, deadline);
    match timeout_at(deadline.into(), service.handle(request)).await {
        Ok(Ok(answer)) => ServiceReport::new(&answer.response, &answer.version.label),
        Ok(Err(failure)) => {
            service.stats().failed(&failure);
            tracing::warn!(request_id = id.as_str(), service = &**service.name(), "health: {failure}");
            ServiceReport::down()
        }
        Err(_elapsed) => ServiceReport::down(),
    }
}

impl ServiceReport {
    fn down() -> Self {
        Self { status: Status::Down, version: None, account: Map::new() }
    }

    /// What a service's answer says: its status code decides whether it serves, its
    /// own `status` whether it is degraded.
    fn new(response: &Response, version: &str) -> Self {
        let mut account = match serde_json::from_slice(&response.body) {
            Ok(Value::Object(account)) if response.body.len() <= limits::HEALTH_BYTES_MAX => account,
            _ => Map::new(),
        };
        let status = match account.get("status").and_then(Value::as_str) {
            _ if !response.status.is_success() => Status::Down,
            Some("degraded") => Status::Degraded,
            _ => Status::Ok,
        };
        // The host's own words stand in these members' places.
        for member in ["status", "service", "version"] {
            account.remove(member);
        }
        Self { status, version: Some(version.to_owned()), account }
    }
}
