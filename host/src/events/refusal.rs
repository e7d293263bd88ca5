//! Why somebody is not subscribed. The documentation has the same problems as its examples.

use serde_json::Value;

use crate::limits::RETRY_AFTER;
use crate::problem::{Kind, Problem};

/// 400: these parameters are none.
pub(crate) fn parameters(faults: Vec<Value>) -> Problem {
    let detail = "Some parameters are not what they should be: see errors.";
    Problem::new(Kind::Malformed, detail).with("errors", faults)
}

/// 403: a page of another origin asks.
pub(crate) fn foreign_origin() -> Problem {
    Problem::new(Kind::Forbidden, "Pages of this origin may not subscribe here.")
}

/// 429: the client has as many subscriptions as one may have.
pub(crate) fn client_has_all(max: usize) -> Problem {
    let detail = format!("One client may have {max} subscriptions at once.");
    Problem::new(Kind::RateLimited, detail).retry_after(RETRY_AFTER)
}

/// 503: the host has as many subscribers as it may.
pub(crate) fn full() -> Problem {
    Problem::new(Kind::Saturated, "The host has as many subscribers as it may.").retry_after(RETRY_AFTER)
}

/// 503: the host stops.
pub(crate) fn stopping() -> Problem {
    Problem::new(Kind::Unavailable, "The host stops.").retry_after(RETRY_AFTER)
}
