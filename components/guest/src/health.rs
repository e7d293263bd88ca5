//! Whether a service can do its work.

use std::time::Instant;

use serde::Serialize;
use utoipa::ToSchema;

use crate::bindings::wasmyard::platform::{postgres, redis, stats};
use crate::{Problem, Response};

/// The service's health: 200 while it can serve, `degraded` without Redis, 503 and
/// `down` without Postgres.
///
/// # Errors
///
/// As [`Response::json`].
pub fn health() -> Result<Response, Problem> {
    let stats::Snapshot { service, version, .. } = stats::read();
    let database = Backend::measure(|| postgres::query("SELECT 1", &[]).is_ok());
    let redis = Backend::measure(|| redis::ping().is_ok());
    Health::of(service, version, database, redis).answer()
}

/// Whether a service can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// It serves, serves without Redis, or cannot serve.
    status: Status,
    /// The service.
    #[schema(example = "users")]
    service: String,
    /// The version that answers.
    #[schema(example = "0123456789ab")]
    version: String,
    /// Its Postgres.
    database: Backend,
    /// Its Redis.
    redis: Backend,
}

/// Something that a service needs.
#[derive(Debug, Serialize, ToSchema)]
struct Backend {
    /// Whether it answers.
    status: Reachable,
    /// How long it took to find out.
    #[schema(minimum = 0, example = 0.42)]
    latency_ms: f64,
}

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HealthStatus)]
enum Status {
    Ok,
    Degraded,
    Down,
}

/// Whether a backend answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = BackendStatus)]
enum Reachable {
    Up,
    Down,
}

impl Health {
    fn of(service: String, version: String, database: Backend, redis: Backend) -> Self {
        let status = match (database.status, redis.status) {
            (Reachable::Up, Reachable::Up) => Status::Ok,
            (Reachable::Up, Reachable::Down) => Status::Degraded,
            (Reachable::Down, _) => Status::Down,
        };
        Self { status, service, version, database, redis }
    }

    fn answer(&self) -> Result<Response, Problem> {
        Response::json(if self.status == Status::Down { 503 } else { 200 }, self)
    }
}

impl Backend {
    fn measure(ask: impl FnOnce() -> bool) -> Self {
        let start = Instant::now();
        let status = if ask() { Reachable::Up } else { Reachable::Down };
        let latency_ms = (start.elapsed().as_secs_f64() * 100_000.0).round() / 100.0;
        Self { status, latency_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_serves_without_redis_and_not_without_postgres() {
        for (database, redis, status, code) in [
            (true, true, "ok", 200),
            (true, false, "degraded", 200),
            (false, true, "down", 503),
            (false, false, "down", 503),
        ] {
            let health = Health::of(
                "users".into(),
                "0123456789ab".into(),
                Backend::measure(|| database),
                Backend::measure(|| redis),
            );
            let response = health.answer().expect("JSON");
            let body: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
            assert_eq!((body["status"].as_str(), response.status), (Some(status), code));
            assert_eq!(body["version"], "0123456789ab");
            assert!(body["database"]["latency_ms"].is_number());
        }
    }
}
