//! What a service has done since its host started.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::bindings::wasmyard::platform::stats::{self, Snapshot};
use crate::log::{self, Level};
use crate::{Problem, Response, Timestamp, query};

/// The service's numbers, and how many rows its table holds.
///
/// `count` is a statement whose column `count` is that number. Without a database the
/// rows are `null` and the rest still tells how the service fares.
///
/// # Errors
///
/// As [`Response::json`].
pub fn statistics(count: &str) -> Result<Response, Problem> {
    let rows = count_rows(count).unwrap_or_else(|problem| {
        let cause = ("cause".to_owned(), problem.cause().to_owned());
        log::write(Level::Warn, "the rows cannot be counted", &[cause]);
        None
    });
    Response::json(200, &Statistics::of(stats::read(), rows))
}

/// Counts an event of the service's own: `saga_completed`. The host shows it as
/// `wasmyard_service_events_total`. A name has up to 40 of the characters `a-z`, `0-9` and
/// `_`, and a service has up to 32 of them; what goes beyond is not counted.
pub fn count(event: &str) {
    stats::count(event, 1);
}

fn count_rows(count: &str) -> Result<Option<i64>, Problem> {
    Ok(query(count, &[])?.first(|row| row.get("count"))?)
}

/// What a service has done since its host started.
#[derive(Debug, Serialize, ToSchema)]
pub struct Statistics {
    /// The service.
    #[schema(example = "users")]
    service: String,
    /// The version that answers.
    #[schema(example = "0123456789ab")]
    version: String,
    /// When the host started.
    #[schema(required)]
    since: Option<Timestamp>,
    /// How many rows the service's table has; `null` when the database does not say.
    #[schema(required, example = 4)]
    rows: Option<i64>,
    /// Requests to the service, whichever version answered.
    requests: Requests,
    /// Its lookups in the cache.
    cache: Cache,
    /// How long its answers took, in milliseconds.
    latency_ms: Latency,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RequestStatistics)]
struct Requests {
    #[schema(example = 1042)]
    total: u64,
    #[schema(example = 1)]
    in_flight: u64,
    #[schema(example = json!({ "200": 1040, "404": 2 }))]
    by_status: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheStatistics)]
struct Cache {
    #[schema(example = 900)]
    hits: u64,
    #[schema(example = 100)]
    misses: u64,
    /// Hits among all lookups.
    #[schema(minimum = 0, maximum = 1, example = 0.9)]
    hit_ratio: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LatencyStatistics)]
struct Latency {
    #[schema(example = 0.31)]
    p50: f64,
    #[schema(example = 0.58)]
    p90: f64,
    #[schema(example = 1.9)]
    p99: f64,
    #[schema(example = 4.2)]
    p999: f64,
}

impl Statistics {
    fn of(snapshot: Snapshot, rows: Option<i64>) -> Self {
        let by_status = snapshot.by_status.iter().map(|(status, count)| (status.to_string(), *count));
        Self {
            since: Timestamp::from_milliseconds(snapshot.since_ms),
            rows,
            requests: Requests {
                total: snapshot.requests,
                in_flight: snapshot.in_flight,
                by_status: by_status.collect(),
            },
            cache: Cache {
                hits: snapshot.cache_hits,
                misses: snapshot.cache_misses,
                hit_ratio: ratio(snapshot.cache_hits, snapshot.cache_misses),
            },
            latency_ms: Latency {
                p50: milliseconds(snapshot.latency_p50_us),
                p90: milliseconds(snapshot.latency_p90_us),
                p99: milliseconds(snapshot.latency_p99_us),
                p999: milliseconds(snapshot.latency_p999_us),
            },
            service: snapshot.service,
            version: snapshot.version,
        }
    }
}

/// Hits among all lookups to four decimals; 0 before the first.
#[expect(clippy::cast_precision_loss, reason = "a ratio for people, exact up to 2^53 lookups")]
fn ratio(hits: u64, misses: u64) -> f64 {
    let lookups = hits.saturating_add(misses).max(1);
    (hits as f64 / lookups as f64 * 10_000.0).round() / 10_000.0
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 microseconds, 285 years")]
fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_have_units_that_people_read() {
        let snapshot = Snapshot {
            service: "users".into(),
            version: "0123456789ab".into(),
            since_ms: 1_738_324_800_000,
            requests: 12,
            by_status: vec![(200, 10), (404, 2)],
            in_flight: 1,
            cache_hits: 2,
            cache_misses: 1,
            latency_p50_us: 420,
            latency_p90_us: 900,
            latency_p99_us: 12_345,
            latency_p999_us: 20_000,
        };
        let written = serde_json::to_value(Statistics::of(snapshot, Some(4))).expect("JSON");
        assert_eq!(
            written,
            serde_json::json!({
                "service": "users",
                "version": "0123456789ab",
                "since": "2025-01-31T12:00:00Z",
                "rows": 4,
                "requests": { "total": 12, "in_flight": 1, "by_status": { "200": 10, "404": 2 } },
                "cache": { "hits": 2, "misses": 1, "hit_ratio": 0.6667 },
                "latency_ms": { "p50": 0.42, "p90": 0.9, "p99": 12.345, "p999": 20.0 },
            })
        );
        assert!(ratio(0, 0).abs() < f64::EPSILON);
    }
}
