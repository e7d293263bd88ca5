//! Operations written out: what they refer to, and what their path says for all of them, so
//! that the host can see what is there and add to it.

use serde_json::{Map, Value, json};

use super::merge::operations;
use crate::runtime::component_of;

/// Writes out the parameters and the answers of a path's operations.
pub(super) fn write_out(item: &mut Map<String, Value>, components: &Map<String, Value>) {
    let shared = match item.remove("parameters") {
        Some(Value::Array(shared)) => shared,
        _ => Vec::new(),
    };
    for (_, operation) in operations(item) {
        let own = match operation.remove("parameters") {
            Some(Value::Array(own)) => own,
            _ => Vec::new(),
        };
        let mut parameters: Vec<Value> = Vec::new();
        // Those of the operation go before those of its path (section 4.8.9).
        for parameter in own.into_iter().chain(shared.iter().cloned()) {
            let parameter = resolved(parameter, components);
            if !parameters.iter().any(|known| is_same(known, &parameter)) {
                parameters.push(parameter);
            }
        }
        if !parameters.is_empty() {
            operation.insert("parameters".to_owned(), parameters.into());
        }
        if let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) {
            for response in responses.values_mut() {
                *response = resolved(response.take(), components);
            }
        }
    }
}

/// Declares what a path's template has and the operation says nothing of.
pub(super) fn declare_segments<'a>(operation: &mut Map<String, Value>, names: impl Iterator<Item = &'a str>) {
    for name in names {
        let declared = parameter(operation, "path", name).is_some_and(|declared| {
            // A segment is always there.
            declared.insert("required".to_owned(), true.into());
            true
        });
        if !declared {
            let schema = json!({ "type": "string" });
            add_parameter(
                operation,
                json!({ "name": name, "in": "path", "required": true, "schema": schema }),
            );
        }
    }
}

/// Adds a parameter that is not there.
pub(super) fn add_parameter(operation: &mut Map<String, Value>, parameter: Value) {
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    if let Some(parameters) = parameters.as_array_mut()
        && !parameters.iter().any(|known| is_same(known, &parameter))
    {
        parameters.push(parameter);
    }
}

fn parameter<'a>(
    operation: &'a mut Map<String, Value>,
    place: &str,
    name: &str,
) -> Option<&'a mut Map<String, Value>> {
    let wanted = json!({ "name": name, "in": place });
    let parameters = operation.get_mut("parameters")?.as_array_mut()?;
    parameters.iter_mut().find(|parameter| is_same(parameter, &wanted))?.as_object_mut()
}

/// A parameter is unique by its name and its place; names of header fields have no case.
fn is_same(one: &Value, other: &Value) -> bool {
    let name = |parameter: &Value| match parameter["in"] == "header" {
        true => parameter["name"].as_str().map(str::to_ascii_lowercase),
        false => parameter["name"].as_str().map(str::to_owned),
    };
    one["in"] == other["in"] && name(one) == name(other)
}

/// A component does not refer to another one (`runtime/description/shape.rs`), so one step is
/// enough.
fn resolved(value: Value, components: &Map<String, Value>) -> Value {
    let target = value.get("$ref").and_then(Value::as_str).and_then(component_of);
    let found = target.and_then(|(kind, name)| components.get(kind)?.get(name)).cloned();
    found.unwrap_or(value)
}
