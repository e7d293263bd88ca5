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
struct Traffic {
    by_method: [OnceLock<StatusCounts>; METHODS.len()],
    latency: Latency,
    exemplars: Exemplars,
}

impl RouteStats {
    /// Counts one answered request.
    pub fn record(&self, origin: Origin, method: &Method, status: StatusCode, took: Duration) {
        let traffic = &self.by_origin[origin as usize];
        traffic.by_method[method_index(method)].get_or_init(StatusCounts::default).add(status);
        traffic.latency.record(took);
    }

    /// Keeps a request that was counted, and of which there is a trace.
    pub fn exemplify(&self, origin: Origin, took: Duration, trace: TraceId) {
        self.by_origin[origin as usize].exemplars.keep(took, trace);
    }

    /// Requests from `origin` of which there is a trace.
    pub fn exemplars(&self, origin: Origin) -> &Exemplars {
        &self.by_origin[origin as usize].exemplars
    }

    /// Method, status and number of the requests from `origin`, where there were any.
    pub fn counts(&self, origin: Origin) -> impl Iterator<Item = (&'static str, u16, u64)> {
        METHODS.iter().zip(&self.by_origin[origin as usize].by_method).flat_map(|(method, counts)| {
            counts
                .get()
                .into_iter()
                .flat_map(StatusCounts::iter)
                .map(|(status, count)| (*method, status, count))
        })
    }

    /// How long the requests from `origin` took.
    pub fn latency(&self, origin: Origin) -> &Latency {
        &self.by_origin[origin as usize].latency
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
        (STATUS_MIN..)
            .zip(&self.0)
            .map(|(status, count)| (status, count.load(Relaxed)))
            .filter(|(_, n)| *n > 0)
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
        let of_clients: Vec<_> = stats.counts(Origin::Client).collect();
        assert_eq!(of_clients, [("GET", 200, 2), ("POST", 409, 1), ("other", 405, 1)]);
        let of_services: Vec<_> = stats.counts(Origin::Service).collect();
        assert_eq!(of_services, [("GET", 200, 1)]);
        assert_eq!(stats.latency(Origin::Client).count(), 4);
    }

    #[test]
    fn an_unusual_code_does_not_count_out_of_bounds() {
        let counts = StatusCounts::default();
        counts.add(StatusCode::from_u16(100).unwrap());
        counts.add(StatusCode::from_u16(999).unwrap());
        assert_eq!(counts.iter().collect::<Vec<_>>(), [(100, 1), (599, 1)]);
    }
}
