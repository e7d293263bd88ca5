//! One document out of those of the versions that serve.

use std::collections::HashSet;
use std::sync::Arc;

use http::Method;
use serde_json::{Map, Value, json};

use super::operation::{self, TOKEN};
use super::{events, names, own, problems, whole};
use crate::router::{Settings, Table};
use crate::runtime::{DESCRIPTION_KINDS, Description};

/// The document of the routes of `table`: all services', or with its name those at the own
/// port of one.
pub(super) fn merge(
    settings: &Settings,
    table: &Table,
    service: Option<&str>,
    parts: &[(Arc<str>, Arc<Description>)],
) -> Value {
    let shared = problems::shared();
    let mut document = own::document(settings, service.is_none());
    let mut components = taken(document.remove("components"));
    components.insert("headers".to_owned(), problems::headers());
    components.insert(
        "securitySchemes".to_owned(),
        json!({ TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token, as a login gives it.",
    } }),
    );
    components.insert("responses".to_owned(), shared.clone().into());
    let mut ids = HashSet::new();
    let mut paths = Map::new();
    for (path, item) in taken(document.remove("paths")) {
        let mut item = taken(Some(item));
        for (method, operation) in operations(&mut item) {
            operation::complete_own(operation, &method, &shared);
            name_operation("host", operation, &mut ids);
        }
        paths.insert(path, item.into());
    }

    let mut tags = Vec::new();
    let mut versions = Map::new();
    let mut title = None;
    for (name, description) in parts {
        let mut part = Value::Object(description.document.clone());
        names::tell_apart(name, &mut part, &components);
        let mut part = taken(Some(part));
        let mut described = taken(part.remove("components"));
        // Who may ask is the host's to say, and what a component asks for is not described here.
        for kind in DESCRIPTION_KINDS {
            let all = components.entry(kind).or_insert_with(|| json!({}));
            if let Some(all) = all.as_object_mut() {
                all.extend(taken(described.remove(kind)));
            }
        }
        let mut items = taken(part.remove("paths"));
        for endpoint in table.endpoints().filter(|endpoint| endpoint.handler.name() == name) {
            let item = match endpoint.events {
                Some(form) => Some(events::item(endpoint, form)),
                None => items.remove(&*endpoint.route),
            };
            let Some(Value::Object(mut item)) = item else { continue };
            // What the host serves is served by the host.
            item.remove("servers");
            item.retain(|name, _| method(name).is_none_or(|method| endpoint.methods.contains(&method)));
            whole::write_out(&mut item, &components);
            for (method, operation) in operations(&mut item) {
                operation::complete(operation, endpoint, &method, &shared);
                name_operation(name, operation, &mut ids);
            }
            paths.insert(endpoint.route.to_string(), item.into());
        }
        let mut info = taken(part.remove("info"));
        let about = info.get("description").and_then(Value::as_str).unwrap_or_default();
        tags.push(json!({ "name": &**name, "description": about }));
        versions.insert(name.to_string(), description.version.label.to_string().into());
        title = info.remove("title").filter(Value::is_string);
    }
    if let (Some(service), Some(Value::Object(info))) = (service, document.get_mut("info")) {
        info.insert("title".to_owned(), title.unwrap_or_else(|| service.into()));
    }
    tags.push(json!({ "name": "host", "description": "What the host itself answers." }));
    document.insert("servers".to_owned(), json!([{ "url": "/" }]));
    document.insert("tags".to_owned(), tags.into());
    document.insert("paths".to_owned(), paths.into());
    document.insert("components".to_owned(), components.into());
    document.insert("x-wasmyard-versions".to_owned(), versions.into());
    document.into()
}

/// Names an operation among those of all services, and groups it with those of its own.
fn name_operation(service: &str, operation: &mut Map<String, Value>, ids: &mut HashSet<String>) {
    operation.remove("servers");
    operation.remove("callbacks");
    operation.insert("tags".to_owned(), json!([service]));
    if let Some(Value::String(id)) = operation.get_mut("operationId") {
        *id = format!("{service}_{id}");
        let first = id.clone();
        // Unique (section 4.8.10), though a service may have two of a name.
        for number in 2.. {
            if ids.insert(id.clone()) {
                break;
            }
            *id = format!("{first}_{number}");
        }
    }
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for response in responses.into_iter().flat_map(Map::values_mut) {
        let links = response.get_mut("links").and_then(Value::as_object_mut);
        for link in links.into_iter().flat_map(Map::values_mut) {
            if let Some(Value::String(id)) = link.get_mut("operationId") {
                *id = format!("{service}_{id}");
            }
        }
    }
}

/// A path has parts that are no operations, such as its summary.
pub(super) fn operations(
    item: &mut Map<String, Value>,
) -> impl Iterator<Item = (Method, &mut Map<String, Value>)> {
    item.iter_mut().filter_map(|(name, operation)| Some((method(name)?, operation.as_object_mut()?)))
}

/// The method of an operation's name in a path: `get`.
fn method(name: &str) -> Option<Method> {
    let known = ["get", "put", "post", "delete", "options", "head", "patch", "trace"].contains(&name);
    known.then(|| Method::from_bytes(name.to_ascii_uppercase().as_bytes()).ok()).flatten()
}

/// The members of an object; none of anything else.
fn taken(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}
