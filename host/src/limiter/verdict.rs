//! Whether a request may pass, and what its client is told of its limit.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::limit::Limit;
use crate::problem::{Kind, Problem};

/// The fields of draft-ietf-httpapi-ratelimit-headers, and those that came before it.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What has been decided of one request.
#[derive(Debug, Clone)]
pub struct Verdict {
    limit: Arc<Limit>,
    passed: bool,
    /// How many more requests would pass now, as far as this host knows.
    left: u64,
    /// Until the bucket is whole again; of a refused request, until the next one passes.
    reset_us: u64,
}

impl Verdict {
    /// How many fields an answer gets of it at most.
    pub const FIELDS: usize = 6;

    pub(super) fn pass(limit: &Arc<Limit>, left: u64, whole_in_us: u64) -> Self {
        let left = left.min(limit.rate.burst);
        Self { limit: limit.clone(), passed: true, left, reset_us: whole_in_us }
    }

    pub(crate) fn refuse(limit: &Arc<Limit>, wait_us: u64) -> Self {
        Self { limit: limit.clone(), passed: false, left: 0, reset_us: wait_us.max(1) }
    }

    /// Whether the request may pass.
    pub fn passed(&self) -> bool {
        self.passed
    }

    /// How many more requests would pass now.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// What a refused client reads (RFC 6585, section 4). The draft's name for the extension
    /// is kept.
    pub fn problem(&self) -> Problem {
        let (burst, wait_s) = (self.limit.rate.burst, self.reset_s());
        let per_s = (burst * self.limit.rate.interval_us).div_ceil(1_000_000);
        let detail = format!(
            "At most {burst} requests at once, and {burst} in {per_s} s, may come from one client; the next one passes in {wait_s} s."
        );
        Problem::new(Kind::RateLimited, detail).with("violated-policies", vec![&*self.limit.name])
    }

    /// Writes the fields that tell of the limit, and `Retry-After` where it is reached.
    pub fn write(&self, headers: &mut HeaderMap) {
        let reset_s = self.reset_s();
        let mut state = String::with_capacity(self.limit.name.len() + 40);
        // Writing to a string does not fail.
        let _ = write!(state, "\"{}\";r={};t={reset_s}", self.limit.name, self.left);
        if let Ok(state) = HeaderValue::from_maybe_shared(Bytes::from(state)) {
            headers.insert(STATE, state);
        }
        headers.insert(POLICY, self.limit.policy.clone());
        headers.insert(X_LIMIT, self.limit.burst.clone());
        headers.insert(X_REMAINING, HeaderValue::from(self.left));
        headers.insert(X_RESET, HeaderValue::from(reset_s));
        if !self.passed {
            headers.insert(RETRY_AFTER, HeaderValue::from(reset_s));
        }
    }

    /// In whole seconds, and never too early.
    fn reset_s(&self) -> u64 {
        Duration::from_micros(self.reset_us).as_nanos().div_ceil(1_000_000_000).try_into().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::RateLimit;

    fn limit() -> Arc<Limit> {
        let limit = RateLimit {
            requests: 10,
            per: Duration::from_secs(60),
            burst: 5,
            strict: false,
            methods: Vec::new(),
        };
        Arc::new(Limit::of_service("users", &limit))
    }

    fn fields(verdict: &Verdict) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        verdict.write(&mut headers);
        let mut fields: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        fields.sort();
        fields
    }

    #[test]
    fn a_client_is_told_where_it_stands() {
        let cases = [
            (Verdict::pass(&limit(), 4, 6_000_000), "4", "6", None),
            (Verdict::pass(&limit(), 0, 29_000_001), "0", "30", None),
            // Never more than the quota, whatever this host thinks.
            (Verdict::pass(&limit(), 9, 0), "5", "0", None),
            (Verdict::refuse(&limit(), 5_000_001), "0", "6", Some("6")),
            // A client that is told to wait waits for a second at least.
            (Verdict::refuse(&limit(), 0), "0", "1", Some("1")),
        ];
        for (verdict, left, reset, retry) in cases {
            let state = format!("\"users\";r={left};t={reset}");
            let mut expected = vec![
                ("ratelimit", &*state),
                ("ratelimit-policy", "\"users\";q=5;w=30"),
                ("x-ratelimit-limit", "5"),
                ("x-ratelimit-remaining", left),
                ("x-ratelimit-reset", reset),
            ];
            expected.extend(retry.map(|retry| ("retry-after", retry)));
            expected.sort_unstable();
            let found = fields(&verdict);
            let found: Vec<_> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_route_has_a_name_that_needs_no_escape() {
        let limit = Limit::of_route(
            "users",
            &["POST".to_owned()],
            "/api/v1/users/{id}",
            &RateLimit {
                requests: 1,
                per: Duration::from_secs(1),
                burst: 1,
                strict: true,
                methods: Vec::new(),
            },
        );
        assert_eq!(limit.policy, "\"users:POST:/api/v1/users/{id}\";q=1;w=1");
    }
}
