//! Whether a service can do its work.

use std::time::Instant;

use serde::Serialize;

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

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    service: String,
    version: String,
    database: Backend,
    redis: Backend,
}

#[derive(Debug, Serialize)]
struct Backend {
    status: &'static str,
    latency_ms: f64,
}

impl Health {
    fn of(service: String, version: String, database: Backend, redis: Backend) -> Self {
        let status = match (database.status, redis.status) {
            ("up", "up") => "ok",
            ("up", _) => "degraded",
            _ => "down",
        };
        Self { status, service, version, database, redis }
    }

    fn answer(&self) -> Result<Response, Problem> {
        Response::json(if self.status == "down" { 503 } else { 200 }, self)
    }
}

impl Backend {
    fn measure(ask: impl FnOnce() -> bool) -> Self {
        let start = Instant::now();
        let status = if ask() { "up" } else { "down" };
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
