//! Routes: path templates and the methods they answer.

use super::reader::{Reading, Table, Text};
use super::{CacheGrant, Route, auth, events, rate_limit};
use crate::capability::grants::KeyPatterns;

/// The methods that a route may name.
const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];

/// A route, and where its path, its cache key and the form of its events stand.
#[derive(Clone)]
pub(super) struct ReadRoute {
    pub(super) route: Route,
    pub(super) path: Text,
    pub(super) cache: Option<Text>,
    pub(super) events: Option<Text>,
}

/// Reads the routes under a key of a table; `None` when there is no such key.
pub(super) fn read_all(
    reading: &Reading<'_>,
    table: &Table<'_, '_>,
    key: &'static str,
    hosts: u32,
) -> Option<Vec<ReadRoute>> {
    let routes = table.tables(key)?;
    Some(routes.into_iter().filter_map(|route| read(reading, route, hosts)).collect())
}

fn read(reading: &Reading<'_>, table: Table<'_, '_>, hosts: u32) -> Option<ReadRoute> {
    let path = table.required_text("path", "\"/api/v1/things/{id}\"");
    let methods = table.texts("methods");
    if methods.as_ref().is_none_or(Vec::is_empty) {
        table.missing("methods", "[\"GET\"]");
    }
    let methods = read_methods(reading, methods.unwrap_or_default());
    let cache = table.text("cache");
    let rate_limit = rate_limit::read(reading, &table, Some(&methods), hosts);
    let auth = auth::read_route(reading, &table, &methods);
    let (form, events) = events::read_form(reading, &table).unzip();
    table.finish();
    let path = path?;
    if let Err(reason) = check_path(&path.value, true) {
        let message = format!("{} is no route: {reason}", path.shown());
        reading.record(reading.fault(&path.span, message).help("for example: \"/api/v1/things/{id}\""));
        return None;
    }
    if let Some(key) = &cache
        && let Err(reason) = check_cache_key(&key.value, &path.value, &methods)
    {
        let message = format!("{} is no cache key of this route: {reason}", key.shown());
        reading.record(reading.fault(&key.span, message).help("for example: \"things:{id}\""));
        return None;
    }
    let cached = cache.as_ref().map(|key| key.value.clone());
    let route = Route { path: path.value.clone(), methods, cache: cached, auth, rate_limit, events: form };
    Some(ReadRoute { route, path, cache, events })
}

/// Checks that a service may cache under the keys of its routes.
pub(super) fn check_granted(reading: &Reading<'_>, routes: &[ReadRoute], grant: Option<&CacheGrant>) {
    for key in routes.iter().filter_map(|route| route.cache.as_ref()) {
        let granted = grant.is_some_and(|grant| {
            let patterns = KeyPatterns::new(&grant.keys);
            match key.value.split_once('{') {
                // Whatever stands for the parameters, the pattern must allow it.
                Some((fixed, _)) => {
                    patterns.prefixes().iter().any(|prefix| fixed.starts_with(prefix.as_str()))
                }
                None => patterns.allow(&key.value),
            }
        });
        if !granted {
            let message = format!("the service may not cache under {}", key.shown());
            let hint = "grant it: `cache = { keys = [\"…*\"] }` in its grants, with what the key begins with";
            reading.record(reading.fault(&key.span, message).hint(hint));
        }
    }
}

/// Whether a key can be that of a route's answer; if not, why.
fn check_cache_key(key: &str, path: &str, methods: &[String]) -> Result<(), String> {
    if key.is_empty() {
        return Err("it is empty".into());
    }
    if !methods.iter().any(|method| method == "GET") {
        return Err("only the answer to a GET is cached, and the route has none".into());
    }
    let named: Vec<&str> = parameters(path).collect();
    let mut used = Vec::new();
    let mut rest = key;
    while let Some((_, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("a `{` is not closed")?;
        if !named.contains(&name) {
            return Err(format!("the path has no parameter `{{{name}}}`"));
        }
        used.push(name);
        rest = after;
    }
    // Two addresses would share one answer.
    named
        .iter()
        .find(|name| !used.contains(name))
        .map_or(Ok(()), |name| Err(format!("it lacks `{{{name}}}`")))
}

/// The names of a path's parameters, in its order.
pub(crate) fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn read_methods(reading: &Reading<'_>, written: Vec<Text>) -> Vec<String> {
    let mut methods = Vec::with_capacity(written.len());
    for method in written {
        if methods.contains(&method.value) {
            let message = format!("the method {} stands here twice", method.shown());
            reading.record(reading.fault(&method.span, message));
        } else if METHODS.contains(&method.value.as_str()) {
            methods.push(method.value);
        } else {
            let fault = reading.fault(&method.span, format!("unknown method {}", method.shown()));
            reading.record(match method.value.as_str() {
                "HEAD" => fault.hint("HEAD comes with GET"),
                "OPTIONS" => fault.hint("OPTIONS is answered by the host"),
                _ => fault
                    .nearest(&method.value, METHODS.iter().copied())
                    .help(format!("valid: {}", METHODS.join(", "))),
            });
        }
    }
    methods
}

/// Whether a path can be a route; if not, why.
pub(super) fn check_path(path: &str, parameters: bool) -> Result<(), String> {
    let Some(rest) = path.strip_prefix('/') else { return Err("it does not begin with `/`".into()) };
    let mut names = Vec::new();
    for segment in rest.split('/') {
        if segment.is_empty() && !rest.is_empty() {
            return Err("it has an empty segment, or ends with `/`".into());
        }
        if segment == "." || segment == ".." {
            return Err(format!("a client never sends the segment `{segment}`"));
        }
        if let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            if !parameters {
                return Err("it may not have parameters".into());
            }
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(format!("`{{{name}}}`: a parameter's name has letters, digits and `_`"));
            }
            if names.contains(&name) {
                return Err(format!("the parameter `{{{name}}}` stands in it twice"));
            }
            names.push(name);
        } else if let Some(bad) = segment.chars().find(|&character| !is_path_character(character)) {
            return Err(match bad {
                '{' | '}' => "a parameter is a whole segment: `/{name}/`".into(),
                '?' | '#' => format!("`{bad}` ends a path"),
                _ => format!("{bad:?} must be percent-encoded"),
            });
        }
    }
    Ok(())
}

/// RFC 3986, section 3.3: `pchar`, with `%` for what is encoded.
fn is_path_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@%".contains(character)
}
