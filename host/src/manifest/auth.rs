//! `[auth]`, and what a route says of its callers.

use std::collections::BTreeMap;

use super::reader::{Reading, Table, Text};
use super::{Auth, AuthLevel, Manifest, RouteAuth};
use crate::limits;

/// The levels by their names.
const LEVELS: [(&str, AuthLevel); 3] =
    [("none", AuthLevel::None), ("optional", AuthLevel::Optional), ("required", AuthLevel::Required)];

/// Reads `[auth]`.
pub(super) fn read(reading: &Reading<'_>, root: &Table<'_, '_>) -> Auth {
    let Some(table) = root.table("auth") else { return Auth::default() };
    let key = table.text("key");
    if let Some(key) = key.as_ref().filter(|key| key.value.chars().count() < limits::AUTH_KEY_CHARS_MIN) {
        let message = format!("`auth.key` is shorter than {} characters", limits::AUTH_KEY_CHARS_MIN);
        reading.record(reading.fault(&key.span, message).help("make one with: openssl rand -hex 32"));
    }
    let name = |key| table.text(key).map_or_else(|| limits::AUTH_NAME.to_owned(), |text| text.value);
    let auth = Auth { key: key.map(|key| key.value), issuer: name("issuer"), audience: name("audience") };
    table.finish();
    auth
}

/// Reads the keys `auth`, `role` and `local_auth` of a route with these methods.
pub(super) fn read_route(reading: &Reading<'_>, route: &Table<'_, '_>, methods: &[String]) -> RouteAuth {
    let levels = match route.is_table("auth") {
        true => by_method(reading, route, methods),
        false => {
            route.text("auth").and_then(|text| level(reading, &text)).map_or_else(BTreeMap::new, |level| {
                methods.iter().map(|method| (method.clone(), level)).collect()
            })
        }
    };
    let (role, local) = (route.text("role"), route.text("local_auth"));
    let auth = RouteAuth {
        levels,
        role: role.as_ref().map(|role| role.value.clone()),
        local_optional: local.as_ref().is_some_and(|local| is_optional(reading, local)),
    };
    if let Some(role) = role.filter(|_| !auth.asks()) {
        let message =
            format!("the role {} is never asked for: no method of the route has `auth`", role.shown());
        reading.record(reading.fault(&role.span, message).hint("add `auth = \"required\"`"));
    }
    let requires = auth.levels.values().any(|level| *level == AuthLevel::Required);
    if let Some(local) = local.filter(|_| auth.local_optional && !requires) {
        let message = "`local_auth` changes nothing: no method of the route has `auth = \"required\"`";
        reading.record(reading.fault(&local.span, message).hint("leave it out"));
    }
    auth
}

fn by_method(
    reading: &Reading<'_>,
    route: &Table<'_, '_>,
    methods: &[String],
) -> BTreeMap<String, AuthLevel> {
    let mut levels = BTreeMap::new();
    for (method, text) in route.named_texts("auth") {
        if !methods.contains(&method.value) {
            let fault = reading
                .fault(&method.span, format!("the route does not answer {}", method.shown()))
                .nearest(&method.value, methods.iter().map(String::as_str))
                .help(format!("its methods: {}", methods.join(", ")));
            reading.record(fault);
        } else if let Some(level) = level(reading, &text) {
            levels.insert(method.value, level);
        }
    }
    levels
}

fn level(reading: &Reading<'_>, text: &Text) -> Option<AuthLevel> {
    let known = LEVELS.into_iter().find(|(name, _)| *name == text.value);
    if known.is_none() {
        let fault = reading
            .fault(&text.span, format!("unknown `auth` {}", text.shown()))
            .nearest(&text.value, LEVELS.map(|(name, _)| name))
            .help("valid: \"none\", \"optional\" (a token must be valid if there is one), \"required\"");
        reading.record(fault);
    }
    known.map(|(_, level)| level)
}

fn is_optional(reading: &Reading<'_>, text: &Text) -> bool {
    let optional = text.value == "optional";
    if !optional {
        let fault = reading
            .fault(&text.span, format!("unknown `local_auth` {}", text.shown()))
            .help("valid: \"optional\"; without it, `auth` holds in the local form too");
        reading.record(fault);
    }
    optional
}

impl Manifest {
    /// Whether anything in it needs the keys for access tokens.
    pub fn needs_auth(&self) -> bool {
        self.services.values().any(|service| {
            let direct = service.direct.iter().flat_map(|direct| &direct.routes);
            service.grants.auth || service.routes.iter().chain(direct).any(|route| route.auth.asks())
        })
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self { key: None, issuer: limits::AUTH_NAME.to_owned(), audience: limits::AUTH_NAME.to_owned() }
    }
}
