//! What went over one route: how many requests, how they ended, how long they took.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::{Method, StatusCode};

use super::trace::TraceId;
use super::{Exemplars, Latency};

/// The methods that metrics tell apart; a client may invent others without bound.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];
const STATUS_MIN: u16 = 100;
const STATUSES: usize = 500;

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client, over HTTP.
    Client,
    /// Another service, in process.
    Service,
}

impl Origin {
    /// Both, for a reader of [`RouteStats`].
    pub const ALL: [Self; 2] = [Self::Client, Self::Service];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Service => "service",
        }
    }
}

/// The numbers of one route. Whoever routes a request holds it already, so counting
/// looks nothing up.
#[derive(Debug, Default)]
pub struct RouteStats {
    by_origin: [Traffic; 2],
}

#[derive(Debug, Default)]
struct Traffic([OnceLock<Box<ByMethod>>; METHODS.len()]);

/// Made with the first request of a method: most routes have one or two.
#[derive(Debug, Default)]
struct ByMethod {
    statuses: StatusCounts,
    latency: Latency,
    exemplars: Exemplars,
}

/// Errors of the server that a scrape shows before there is one: the first of a series that
/// is not there yet is invisible to a rate.
const SHOWN_FROM_THE_START: [u16; 3] = [500, 503, 504];

impl RouteStats {
    /// Counts one answered request.
    pub fn record(&self, origin: Origin, method: &Method, status: StatusCode, took: Duration) {
        let traffic = self.of(origin, method);
        traffic.statuses.add(status);
        traffic.latency.record(took);
    }

    /// Keeps a request that was counted, and of which there is a trace.
    pub fn exemplify(&self, origin: Origin, method: &Method, took: Duration, trace: TraceId) {
        self.of(origin, method).exemplars.keep(took, trace);
    }

    /// Method, status and number of the requests from `origin`, where there were any; and of a
    /// method that is used, the errors that there may be.
    pub fn counts(&self, origin: Origin) -> impl Iterator<Item = (&'static str, u16, u64)> {
        self.used(origin).flat_map(|(method, traffic)| {
            let shown = |(status, count): &(u16, u64)| *count > 0 || SHOWN_FROM_THE_START.contains(status);
            traffic.statuses.all().filter(shown).map(move |(status, count)| (method, status, count))
        })
    }

    /// How long the requests from `origin` took, by method, with those of which there is a
    /// trace.
    pub fn durations(&self, origin: Origin) -> impl Iterator<Item = (&'static str, &Latency, &Exemplars)> {
        self.used(origin).map(|(method, traffic)| (method, &traffic.latency, &traffic.exemplars))
    }

    fn of(&self, origin: Origin, method: &Method) -> &ByMethod {
        self.by_origin[origin as usize].0[method_index(method)].get_or_init(Box::default)
    }

    fn used(&self, origin: Origin) -> impl Iterator<Item = (&'static str, &ByMethod)> {
        let traffic = METHODS.iter().zip(&self.by_origin[origin as usize].0);
        traffic.filter_map(|(method, traffic)| Some((*method, &**traffic.get()?)))
    }
}

fn method_index(method: &Method) -> usize {
    METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1)
}

/// A counter for each status code.
#[derive(Debug)]
pub struct StatusCounts(Box<[AtomicU64]>);

impl Default for StatusCounts {
    fn default() -> Self {
        Self((0..STATUSES).map(|_| AtomicU64::new(0)).collect())
    }
}

impl StatusCounts {
    /// Counts one answer. A code above 599, which the host never sends, counts as 599.
    pub fn add(&self, status: StatusCode) {
        let index = usize::from(status.as_u16() - STATUS_MIN).min(STATUSES - 1);
        self.0[index].fetch_add(1, Relaxed);
    }

    /// The codes that occurred, in order, with how often they did.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        self.all().filter(|(_, count)| *count > 0)
    }

    fn all(&self) -> impl Iterator<Item = (u16, u64)> {
        (STATUS_MIN..).zip(&self.0).map(|(status, count)| (status, count.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_origin_method_and_status_is_counted_apart() {
        let stats = RouteStats::default();
        let invented = Method::from_bytes(b"BREW").unwrap();
        for (origin, method, status) in [
            (Origin::Client, &Method::GET, 200),
            (Origin::Client, &Method::GET, 200),
            (Origin::Client, &Method::POST, 409),
            (Origin::Client, &invented, 405),
            (Origin::Service, &Method::GET, 200),
        ] {
            stats.record(origin, method, StatusCode::from_u16(status).unwrap(), Duration::from_millis(1));
        }
        let occurred = |origin| stats.counts(origin).filter(|(.., count)| *count > 0).collect::<Vec<_>>();
        let of_clients = occurred(Origin::Client);
        assert_eq!(of_clients, [("GET", 200, 2), ("POST", 409, 1), ("other", 405, 1)]);
        assert_eq!(occurred(Origin::Service), [("GET", 200, 1)]);
        let timed = |origin| {
            stats.durations(origin).map(|(method, latency, _)| (method, latency.count())).collect::<Vec<_>>()
        };
        assert_eq!(timed(Origin::Client), [("GET", 2), ("POST", 1), ("other", 1)]);
        assert_eq!(timed(Origin::Service), [("GET", 1)]);
    }

    #[test]
    fn the_errors_of_a_used_method_stand_at_nought_before_the_first_of_them() {
        let stats = RouteStats::default();
        stats.record(Origin::Client, &Method::GET, StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO);
        let counts: Vec<_> = stats.counts(Origin::Client).collect();
        assert_eq!(counts, [("GET", 500, 0), ("GET", 503, 1), ("GET", 504, 0)]);
        assert_eq!(stats.counts(Origin::Service).count(), 0);
    }

    #[test]
    fn an_unusual_code_does_not_count_out_of_bounds() {
        let counts = StatusCounts::default();
        counts.add(StatusCode::from_u16(100).unwrap());
        counts.add(StatusCode::from_u16(999).unwrap());
        assert_eq!(counts.iter().collect::<Vec<_>>(), [(100, 1), (599, 1)]);
    }
}
