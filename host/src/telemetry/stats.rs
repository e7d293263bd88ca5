//! One service's numbers, counted where its requests come in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;

use super::traffic::{RouteStats, StatusCounts};
use super::{Latency, LimitCounters, OwnEvents, TurnCounts};
use crate::capability::cache::{CacheCounters, NearCounters};
use crate::capability::postgres::PostgresPool;
use crate::capability::stats::{Reader, Snapshot};
use crate::policy::auth::Denied;
use crate::runtime::{Failure, InstanceCounts};

/// Counters of one service. They belong to the service and not to a version, so a
/// swap does not reset them.
#[derive(Debug)]
pub struct ServiceStats {
    service: Arc<str>,
    since: Timestamp,
    by_status: StatusCounts,
    latency: Latency,
    in_flight: AtomicU64,
    abandoned: AtomicU64,
    failures: [AtomicU64; FAILURE_KINDS.len()],
    denials: [AtomicU64; Denied::KINDS.len()],
    saturation_reported_s: AtomicU64,
    swaps: AtomicU64,
    cache: Arc<CacheCounters>,
    limits: LimitCounters,
    own: OwnEvents,
    turns: TurnCounts,
    routes: Mutex<BTreeMap<Arc<str>, Arc<RouteStats>>>,
    instances: OnceLock<Arc<InstanceCounts>>,
    /// Weak: the numbers outlive a pool that a changed manifest takes away.
    pool: Mutex<Weak<PostgresPool>>,
}

/// Every [`Failure::kind`]; saturation comes first.
const FAILURE_KINDS: [&str; 7] =
    ["saturated", "too_deep", "timeout", "trap", "invalid_response", "retired", "no_instance"];

impl ServiceStats {
    /// Starts at zero, from now on. `cache` is counted by the `cache` capability.
    pub fn new(service: Arc<str>, cache: Arc<CacheCounters>) -> Self {
        Self {
            service,
            since: Timestamp::now(),
            by_status: StatusCounts::default(),
            latency: Latency::default(),
            in_flight: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            failures: Default::default(),
            denials: Default::default(),
            saturation_reported_s: AtomicU64::new(u64::MAX),
            swaps: AtomicU64::new(0),
            cache,
            limits: LimitCounters::default(),
            own: OwnEvents::default(),
            turns: TurnCounts::default(),
            routes: Mutex::default(),
            instances: OnceLock::new(),
            pool: Mutex::default(),
        }
    }

    /// The service's name.
    pub fn service(&self) -> &Arc<str> {
        &self.service
    }

    /// The cache's part, for the `cache` capability to count in.
    pub fn cache_counters(&self) -> &Arc<CacheCounters> {
        &self.cache
    }

    /// When the count began.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// A request begins. It is counted as answered by [`InFlight::answered`]; a guard
    /// that is dropped before that is a request that its client gave up.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight { stats: self.clone(), answered: false }
    }

    /// Counts a failure by its kind.
    pub fn failed(&self, failure: &Failure) {
        let kinds = FAILURE_KINDS.iter().zip(&self.failures);
        kinds.filter(|(kind, _)| **kind == failure.kind()).for_each(|(_, count)| {
            count.fetch_add(1, Relaxed);
        });
    }

    /// Counts a caller who was not let through.
    pub fn denied(&self, denied: &Denied) {
        let kinds = Denied::KINDS.iter().zip(&self.denials);
        kinds.filter(|(kind, _)| **kind == denied.kind()).for_each(|(_, count)| {
            count.fetch_add(1, Relaxed);
        });
    }

    /// Reason and number of callers who were not let through, every reason.
    pub fn denials(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Denied::KINDS.into_iter().zip(self.denials.iter().map(|count| count.load(Relaxed)))
    }

    /// What its versions count of their instances; the first one that is told counts.
    pub fn counts_instances(&self, counts: &Arc<InstanceCounts>) {
        self.instances.get_or_init(|| counts.clone());
    }

    /// Its instances, once it has been started.
    pub fn instances(&self) -> Option<&Arc<InstanceCounts>> {
        self.instances.get()
    }

    /// The pool that it is lent connections from, from now on.
    pub fn borrows_from(&self, pool: &Arc<PostgresPool>) {
        *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(pool);
    }

    /// The pool that it is lent connections from.
    pub fn pool(&self) -> Option<Arc<PostgresPool>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// The number of requests refused so far because the service was saturated, if it
    /// should be logged now: at most once in a second.
    pub fn saturation_to_report(&self) -> Option<u64> {
        let now_s = Timestamp::now().duration_since(self.since).as_secs().unsigned_abs();
        let reported_s = self.saturation_reported_s.swap(now_s, Relaxed);
        (reported_s != now_s).then(|| self.saturated())
    }

    /// Requests refused because the service was saturated.
    pub fn saturated(&self) -> u64 {
        self.failures[0].load(Relaxed)
    }

    /// Counts a version that took another one's place.
    pub fn swapped(&self) {
        self.swaps.fetch_add(1, Relaxed);
    }

    /// The numbers of one route; made when first asked for, and kept when a changed
    /// manifest no longer has it, so their number is bounded by the manifests loaded.
    pub fn route(&self, template: &str) -> Arc<RouteStats> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stats) = routes.get(template) {
            return stats.clone();
        }
        routes.entry(template.into()).or_default().clone()
    }

    /// Every route that has been asked for, in order.
    pub fn routes(&self) -> Vec<(Arc<str>, Arc<RouteStats>)> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.iter().map(|(template, stats)| (template.clone(), stats.clone())).collect()
    }

    /// Requests being worked on.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Requests answered, whatever the status.
    pub fn requests(&self) -> u64 {
        self.by_status.iter().map(|(_, count)| count).sum()
    }

    /// Requests whose client went away before the answer.
    pub fn abandoned(&self) -> u64 {
        self.abandoned.load(Relaxed)
    }

    /// Kind and number of failures, every kind.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        FAILURE_KINDS.into_iter().zip(self.failures.iter().map(|count| count.load(Relaxed)))
    }

    /// Versions that took another one's place.
    pub fn swaps(&self) -> u64 {
        self.swaps.load(Relaxed)
    }

    /// What its rate limits decided.
    pub fn limits(&self) -> &LimitCounters {
        &self.limits
    }

    /// What it counts by itself.
    pub fn own_events(&self) -> &OwnEvents {
        &self.own
    }

    /// Its turns in the background.
    pub fn turns(&self) -> &TurnCounts {
        &self.turns
    }

    /// Cache hits and misses.
    pub fn cache(&self) -> (u64, u64) {
        (self.cache.hits.load(Relaxed), self.cache.misses.load(Relaxed))
    }
}

impl ServiceStats {
    /// The near cache's part of the hits, and what it holds.
    pub fn near(&self) -> &NearCounters {
        &self.cache.near
    }
}

impl Reader for ServiceStats {
    fn read(&self) -> Snapshot {
        let [p50, p90, p99, p999] = self.latency.quantiles_us([0.5, 0.9, 0.99, 0.999]);
        let by_status: Vec<(u16, u64)> = self.by_status.iter().collect();
        let (cache_hits, cache_misses) = self.cache();
        Snapshot {
            service: self.service.to_string(),
            version: String::new(),
            since_ms: u64::try_from(self.since.as_millisecond()).unwrap_or(0),
            requests: by_status.iter().map(|(_, count)| count).sum(),
            by_status,
            in_flight: self.in_flight(),
            cache_hits,
            cache_misses,
            latency_p50_us: p50,
            latency_p90_us: p90,
            latency_p99_us: p99,
            latency_p999_us: p999,
        }
    }

    fn count(&self, event: &str, by: u64) {
        self.own.add(event, by);
    }
}

/// One request being worked on.
#[derive(Debug)]
pub struct InFlight {
    stats: Arc<ServiceStats>,
    answered: bool,
}

impl InFlight {
    /// The request has an answer.
    pub fn answered(mut self, status: StatusCode, took: Duration) {
        self.answered = true;
        self.stats.by_status.add(status);
        self.stats.latency.record(took);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.stats.in_flight.fetch_sub(1, Relaxed);
        if !self.answered {
            self.stats.abandoned.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> Arc<ServiceStats> {
        Arc::new(ServiceStats::new("users".into(), Arc::default()))
    }

    #[test]
    fn an_answered_request_is_counted_once_and_no_longer_in_flight() {
        let stats = stats();
        let request = stats.begin();
        assert_eq!(stats.read().in_flight, 1);
        request.answered(StatusCode::CREATED, Duration::from_micros(20));
        let snapshot = stats.read();
        assert_eq!((snapshot.in_flight, snapshot.requests), (0, 1));
        assert_eq!(snapshot.by_status, [(201, 1)]);
        assert_eq!(snapshot.latency_p50_us, 20);
        assert_eq!(stats.abandoned(), 0);
    }

    #[test]
    fn a_request_that_its_client_gave_up_is_not_an_answer() {
        let stats = stats();
        drop(stats.begin());
        assert_eq!((stats.in_flight(), stats.requests(), stats.abandoned()), (0, 0, 1));
    }

    #[test]
    fn failures_are_counted_by_kind() {
        let stats = stats();
        stats.failed(&Failure::Trap("unreachable".into()));
        stats.failed(&Failure::Timeout { limit_ms: 5_000 });
        stats.failed(&Failure::Timeout { limit_ms: 5_000 });
        let counted: Vec<_> = stats.failures().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("timeout", 2), ("trap", 1)]);
    }

    #[test]
    fn a_route_keeps_its_numbers_when_it_is_asked_for_again() {
        let stats = stats();
        assert!(Arc::ptr_eq(&stats.route("/a"), &stats.route("/a")));
        assert_eq!(stats.routes().len(), 1);
    }
}
