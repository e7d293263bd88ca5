//! One document out of those of the versions that serve.

use std::sync::Arc;

use http::Method;
use serde_json::{Map, Value, json};

use super::operation::{self, TOKEN};
use super::{events, names, own, problems};
use crate::router::{Settings, Table};
use crate::runtime::Description;

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
    let mut components = document["components"].take();
    components["headers"] = problems::headers();
    components["securitySchemes"] = json!({ TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token, as a login gives it.",
    } });
    let mut paths = Map::new();
    for (path, mut item) in taken(&mut document["paths"]) {
        for (method, operation) in operations(&mut item) {
            operation::complete_own(operation, &method, &shared);
            name_operation("host", operation);
        }
        paths.insert(path, item);
    }
    components["responses"] = shared.clone().into();

    let mut tags = Vec::new();
    let mut versions = Map::new();
    for (name, description) in parts {
        let mut part = Value::Object(description.document.clone());
        names::tell_apart(name, &mut part, components.as_object().unwrap_or(&Map::new()));
        for (kind, ours) in taken(&mut part["components"]) {
            // Who may ask is the host's to say.
            if let (Value::Object(ours), true) = (ours, kind != "securitySchemes") {
                let all = &mut components[kind];
                ours.into_iter().for_each(|(name, component)| all[name] = component);
            }
        }
        let mut items = taken(&mut part["paths"]);
        for endpoint in table.endpoints().filter(|endpoint| endpoint.handler.name() == name) {
            let described = match endpoint.events {
                Some(form) => Some(events::item(endpoint, form)),
                None => items.remove(&*endpoint.route),
            };
            let Some(mut item) = described else { continue };
            // What the host serves is served by the host.
            item.as_object_mut().map(|item| item.remove("servers"));
            keep_methods(&mut item, &endpoint.methods);
            for (method, operation) in operations(&mut item) {
                operation::complete(operation, endpoint, &method, &shared);
                name_operation(name, operation);
            }
            paths.insert(endpoint.route.to_string(), item);
        }
        let about = part["info"]["description"].as_str().unwrap_or_default();
        tags.push(json!({ "name": &**name, "description": about }));
        versions.insert(name.to_string(), description.version.label.to_string().into());
        if service.is_some() {
            document["info"]["title"] = part["info"]["title"].take();
        }
    }
    tags.push(json!({ "name": "host", "description": "What the host itself answers." }));
    document["servers"] = json!([{ "url": "/" }]);
    document["tags"] = tags.into();
    document["paths"] = paths.into();
    document["components"] = components;
    document["x-wasmyard-versions"] = versions.into();
    document
}

/// Names an operation among those of all services, and groups it with those of its own.
fn name_operation(service: &str, operation: &mut Map<String, Value>) {
    operation.remove("servers");
    operation.insert("tags".to_owned(), json!([service]));
    if let Some(Value::String(id)) = operation.get_mut("operationId") {
        *id = format!("{service}_{id}");
    }
}

/// A path has parts that are no operations, such as parameters of them all.
fn operations(item: &mut Value) -> impl Iterator<Item = (Method, &mut Map<String, Value>)> {
    let members = item.as_object_mut().into_iter().flatten();
    members.filter_map(|(name, operation)| Some((method(name)?, operation.as_object_mut()?)))
}

fn keep_methods(item: &mut Value, routed: &[Method]) {
    if let Some(item) = item.as_object_mut() {
        item.retain(|name, _| method(name).is_none_or(|method| routed.contains(&method)));
    }
}

/// The method of an operation's name in a path: `get`.
fn method(name: &str) -> Option<Method> {
    let known = ["get", "put", "post", "delete", "options", "head", "patch", "trace"].contains(&name);
    known.then(|| Method::from_bytes(name.to_ascii_uppercase().as_bytes()).ok()).flatten()
}

fn taken(value: &mut Value) -> Map<String, Value> {
    match value.take() {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
