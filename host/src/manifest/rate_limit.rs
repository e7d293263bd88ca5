//! `rate_limit` of a service or of a route.

use std::time::Duration;

use super::RateLimit;
use super::reader::{Reading, Table, Text};
use crate::limits;

const PER_EXAMPLE: &str = "\"1m\"";

impl RateLimit {
    /// Time from one token to the next, in whole microseconds; rounded up, so that what is
    /// not whole makes the limit a little stricter.
    pub fn interval_us(&self) -> u64 {
        micros(self.per).div_ceil(self.requests.max(1)).max(1)
    }
}

/// Reads the `rate_limit` of a table, for a manifest of `hosts` hosts. `methods` are those of
/// the route, if it is one's.
pub(super) fn read(
    reading: &Reading<'_>,
    parent: &Table<'_, '_>,
    methods: Option<&[String]>,
    hosts: u32,
) -> Option<RateLimit> {
    let table = parent.table("rate_limit")?;
    let recorded = reading.faults.borrow().len();
    let requests = table.number("requests", &limits::RATE_LIMIT_REQUESTS);
    if requests.is_none() && reading.faults.borrow().len() == recorded {
        table.missing("requests", "600");
    }
    let per = table.required_text("per", PER_EXAMPLE);
    let per = per.and_then(|text| period(reading, &table, "per", &text));
    let burst = table.integer("burst", limits::RATE_LIMIT_REQUESTS, requests.unwrap_or(1));
    let strict = table.boolean("strict", false);
    let methods = methods.and_then(|methods| only(reading, &table, methods)).unwrap_or_default();
    let limit = requests.zip(per).map(|(requests, per)| RateLimit { requests, per, burst, strict, methods });
    if let Some(limit) = &limit
        && reading.faults.borrow().len() == recorded
    {
        check(reading, &table, limit, hosts);
    }
    table.finish();
    limit
}

/// What is right for itself, and wrong together.
fn check(reading: &Reading<'_>, table: &Table<'_, '_>, limit: &RateLimit, hosts: u32) {
    let record = |key: &str, message: String, help: String| {
        reading.record(reading.fault(&table.value_span(key), message).help(help));
    };
    let rate_max = 1_000_000 / limits::RATE_LIMIT_INTERVAL_US_MIN;
    if limit.requests > micros(limit.per) / limits::RATE_LIMIT_INTERVAL_US_MIN {
        let message = format!("`{}` is more than {rate_max} in a second", table.full("requests"));
        record("requests", message, "leave `rate_limit` out for no limit at all".to_owned());
        return;
    }
    let whole_us = u128::from(limit.interval_us()) * u128::from(limit.burst);
    if whole_us > limits::RATE_LIMIT_WHOLE_MAX.as_micros() {
        let days = limits::RATE_LIMIT_WHOLE_MAX.as_secs() / (24 * 3600);
        let message = format!("`{}` would take more than {days} days to come back", table.full("burst"));
        let help = format!("one request comes back in {} s", limit.interval_us().div_ceil(1_000_000));
        record("burst", message, help);
    }
    if limit.strict && limit.burst < u64::from(hosts) {
        let message = format!("`{}` of a strict limit is less than `runtime.hosts`", table.full("burst"));
        let help = format!("without Redis each of the {hosts} hosts lets one request pass at a time");
        record("burst", message, help);
    }
}

/// The methods of the route that it is for; all of them unless it says so.
fn only(reading: &Reading<'_>, table: &Table<'_, '_>, methods: &[String]) -> Option<Vec<String>> {
    let written = table.texts("methods")?;
    for method in &written {
        if !methods.contains(&method.value) {
            let message = format!("the route does not answer {}", method.shown());
            let fault = reading.fault(&method.span, message);
            reading.record(fault.help(format!("it answers {}", methods.join(", "))));
        }
    }
    if written.is_empty() {
        table.missing("methods", "[\"POST\"]");
    }
    Some(written.into_iter().map(|method| method.value).collect())
}

/// `"1s"`, `"15m"`, `"2h"`, `"1d"`, under this key.
pub(super) fn period(
    reading: &Reading<'_>,
    table: &Table<'_, '_>,
    key: &str,
    text: &Text,
) -> Option<Duration> {
    let unit_s = match text.value.bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3_600,
        Some(b'd') => 24 * 3_600,
        _ => 0,
    };
    let number = text.value.get(..text.value.len().saturating_sub(1)).unwrap_or_default();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u64> = digits.then(|| number.parse().ok()).flatten();
    let period = number.and_then(|number| number.checked_mul(unit_s)).map(Duration::from_secs);
    let legal = period.filter(|period| !period.is_zero() && *period <= limits::RATE_LIMIT_PER_MAX);
    if legal.is_none() {
        let message = format!("`{}`: {} is no period", table.full(key), text.shown());
        let help = "a whole number and s, m, h or d, at most a day: \"1s\", \"15m\", \"1h\"";
        reading.record(reading.fault(&text.span, message).help(help));
    }
    legal
}

fn micros(period: Duration) -> u64 {
    u64::try_from(period.as_micros()).unwrap_or(u64::MAX)
}
