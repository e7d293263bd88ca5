//! `[services.NAME.grants]`.

use std::time::Duration;

use http::HeaderName;

use super::reader::{Reading, Table, Text};
use super::{CacheGrant, Grants, KeysGrant, PostgresGrant};
use crate::capability::grants::RESERVED;
use crate::limits;

/// Grants, and where the names of other services stand.
#[derive(Clone, Default)]
pub(super) struct ReadGrants {
    pub(super) grants: Grants,
    pub(super) services: Vec<Text>,
}

/// Reads the grants of a service whose requests end after `request_timeout`.
pub(super) fn read(reading: &Reading<'_>, service: &Table<'_, '_>, request_timeout: Duration) -> ReadGrants {
    let Some(table) = service.table("grants") else { return ReadGrants::default() };
    let services = table.texts("services").unwrap_or_default();
    let grants = Grants {
        log: table.boolean("log", false),
        config: table.boolean("config", false),
        stats: table.boolean("stats", false),
        auth: table.boolean("auth", false),
        postgres: table.table("postgres").and_then(|table| postgres(reading, table, request_timeout)),
        redis: table.table("redis").and_then(|table| keys(reading, table)),
        cache: table.table("cache").and_then(|table| cache(reading, table)),
        services: services.iter().map(|name| name.value.clone()).collect(),
        headers: table.texts("headers").map(|names| headers(reading, names)),
    };
    table.finish();
    ReadGrants { grants, services }
}

fn postgres(reading: &Reading<'_>, table: Table<'_, '_>, request_timeout: Duration) -> Option<PostgresGrant> {
    let role = table.required_text("role", "\"users_service\"");
    // A statement should end before its request does, so that the guest can still
    // answer; nine tenths is the proportion of the two defaults.
    let default = limits::POSTGRES_STATEMENT_TIMEOUT.min(request_timeout * 9 / 10);
    let pool_max = table.integer("pool_max", limits::POOL_CONNECTIONS, limits::POSTGRES_POOL_MAX);
    let statement_timeout = table.millis("statement_timeout_ms", limits::TIMEOUTS_MS, default);
    table.finish();
    let role = role?;
    if !is_role(&role.value) {
        let message = format!("{} is no role's name", role.shown());
        let help = "a role has lower-case letters, digits and `_`, begins with a letter, and has at most 63";
        reading.record(reading.fault(&role.span, message).help(help));
    }
    Some(PostgresGrant { role: role.value, pool_max, statement_timeout })
}

fn keys(reading: &Reading<'_>, table: Table<'_, '_>) -> Option<KeysGrant> {
    let keys = required_patterns(reading, &table);
    table.finish();
    Some(KeysGrant { keys: keys? })
}

fn cache(reading: &Reading<'_>, table: Table<'_, '_>) -> Option<CacheGrant> {
    let keys = required_patterns(reading, &table);
    let near_kib = table.integer("near_kib", limits::NEAR_KIBS, limits::NEAR_KIB);
    let private = patterns(reading, table.texts("private").unwrap_or_default());
    table.finish();
    Some(CacheGrant { keys: keys?, near_kib, private })
}

fn required_patterns(reading: &Reading<'_>, table: &Table<'_, '_>) -> Option<Vec<String>> {
    let keys = table.texts("keys");
    if keys.as_ref().is_none_or(Vec::is_empty) {
        table.missing("keys", "[\"users:*\"]");
    }
    keys.map(|keys| patterns(reading, keys))
}

fn patterns(reading: &Reading<'_>, keys: Vec<Text>) -> Vec<String> {
    for key in &keys {
        let star_inside = key.value.find('*').is_some_and(|star| star + 1 < key.value.len());
        if key.value.is_empty() {
            reading.record(
                reading.fault(&key.span, "an empty pattern of keys").help("for example: \"users:*\""),
            );
            continue;
        }
        let reason = if key.value.starts_with(RESERVED) {
            "what begins with `wasmyard:` is the host's own"
        } else if star_inside {
            "`*` stands for any rest, and may only end it"
        } else if key.value.len() > limits::REDIS_KEY_BYTES_MAX {
            "it is longer than a key may be"
        } else {
            continue;
        };
        let message = format!("{} is no pattern of keys: {reason}", key.shown());
        reading.record(reading.fault(&key.span, message).help("for example: \"users:*\""));
    }
    keys.into_iter().map(|key| key.value).collect()
}

/// Names of header fields, in lower case as a guest sees them.
fn headers(reading: &Reading<'_>, names: Vec<Text>) -> Vec<String> {
    let mut read = Vec::with_capacity(names.len());
    for name in names {
        match HeaderName::from_bytes(name.value.as_bytes()) {
            Ok(legal) => read.push(legal.as_str().to_owned()),
            Err(_) => {
                let message = format!("{} is no name of a header field", name.shown());
                reading.record(reading.fault(&name.span, message).help("for example: \"content-type\""));
            }
        }
    }
    read
}

fn is_role(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
