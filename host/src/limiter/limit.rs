//! A limit as the manifest gives it, made ready for each request.

use std::sync::Arc;

use http::{HeaderValue, Method};
use xxhash_rust::xxh3::xxh3_64;

use super::gcra::Rate;
use crate::manifest::RateLimit;

/// How many requests of one client go to a service, or to some methods of one of its routes.
#[derive(Debug)]
pub struct Limit {
    /// `users`, or `users:POST:/api/v1/users`: part of the keys in Redis, and what clients are
    /// told the limit's name is. It has no character that a structured field would escape.
    pub(super) name: Box<str>,
    pub(super) rate: Rate,
    pub(super) strict: bool,
    /// Names this limit with these figures among all others: of a changed one a host knows
    /// nothing yet. Redis goes on with the bucket it has, which is empty at worst.
    pub(super) digest: u64,
    /// The value of `RateLimit-Policy`.
    pub(super) policy: HeaderValue,
    /// The value of `X-RateLimit-Limit`.
    pub(super) burst: HeaderValue,
}

impl Limit {
    /// The limit of a whole service.
    pub fn of_service(service: &str, limit: &RateLimit) -> Self {
        Self::new(service.into(), limit)
    }

    /// The limit of some methods of one route.
    pub fn of_route(service: &str, methods: &[String], path: &str, limit: &RateLimit) -> Self {
        Self::new(format!("{service}:{}:{path}", methods.join(",")).into(), limit)
    }

    fn new(name: Box<str>, limit: &RateLimit) -> Self {
        let rate = Rate { interval_us: limit.interval_us(), burst: limit.burst };
        let digest = format!("{name} {rate:?} {}", limit.strict);
        // The quota is the burst, and the window the time in which an empty bucket fills: of
        // a bucket that leaks no other pair of numbers is true at all times.
        let window_s = (rate.burst * rate.interval_us).div_ceil(1_000_000);
        let policy = HeaderValue::try_from(format!("\"{name}\";q={};w={window_s}", rate.burst));
        Self {
            digest: xxh3_64(digest.as_bytes()),
            // The manifest allows only names and paths that are legal in a field's value.
            policy: policy.unwrap_or_else(|_| HeaderValue::from_static("")),
            burst: HeaderValue::from(rate.burst),
            strict: limit.strict,
            rate,
            name,
        }
    }
}

/// The limits of one route, by method.
pub type RouteLimits = Vec<(Method, Arc<Limit>)>;
