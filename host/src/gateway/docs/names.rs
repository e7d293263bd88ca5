//! Names of components, told apart where two services mean different things by one name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::runtime::component_of;

/// A component's kind (`schemas`, `responses`, …) and its name.
type Name = (String, String);

/// Renames those of a description's components whose name stands for something else among
/// those that are taken, to `SERVICE.NAME`, and what refers to them.
pub(super) fn tell_apart(service: &str, description: &mut Value, taken: &Map<String, Value>) {
    let conflicts = conflicts(description, taken);
    if conflicts.is_empty() {
        return;
    }
    let mut renamed: BTreeMap<Name, String> = BTreeMap::new();
    for (kind, name) in conflicts {
        let own = description.get_mut("components").and_then(|components| components.get_mut(&kind));
        let Some(own) = own.and_then(Value::as_object_mut) else { continue };
        let mut other = format!("{service}.{name}");
        let elsewhere = taken.get(&kind);
        while own.contains_key(&other) || elsewhere.is_some_and(|taken| taken.get(&other).is_some()) {
            other.push('_');
        }
        if let Some(component) = own.remove(&name) {
            own.insert(other.clone(), component);
            renamed.insert((kind, name), other);
        }
    }
    each_reference(description, &mut |reference| {
        if let Some((name, rest)) = named(reference)
            && let Some(other) = renamed.get(&name)
        {
            *reference = format!("#/components/{}/{other}{rest}", name.0);
        }
    });
}

/// Components whose name is taken by something else, and those that refer to one of them: the
/// same words mean something else then.
fn conflicts(description: &Value, taken: &Map<String, Value>) -> BTreeSet<Name> {
    let mut open = Vec::new();
    let mut conflicts = BTreeSet::new();
    for (kind, components) in description["components"].as_object().into_iter().flatten() {
        for (name, component) in components.as_object().into_iter().flatten() {
            match taken.get(kind).and_then(|components| components.get(name)) {
                None => {}
                Some(other) if other == component => open.push(((kind.clone(), name.clone()), component)),
                Some(_) => {
                    conflicts.insert((kind.clone(), name.clone()));
                }
            }
        }
    }
    loop {
        let before = conflicts.len();
        for (name, component) in &open {
            let mut refers = false;
            each_reference(&mut (*component).clone(), &mut |reference| {
                refers |= named(reference).is_some_and(|(name, _)| conflicts.contains(&name));
            });
            if refers {
                conflicts.insert(name.clone());
            }
        }
        if conflicts.len() == before {
            return conflicts;
        }
    }
}

/// Shows every reference in a value, those of a discriminator's mapping among them.
fn each_reference(value: &mut Value, see: &mut impl FnMut(&mut String)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each_reference(item, see)),
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("$ref", Value::String(reference)) => see(reference),
                    ("mapping", Value::Object(mapping)) => {
                        for target in mapping.values_mut() {
                            match target {
                                Value::String(reference) => see(reference),
                                other => each_reference(other, see),
                            }
                        }
                    }
                    (_, member) => each_reference(member, see),
                }
            }
        }
        _ => {}
    }
}

/// The component that a reference leads to, and the way from there to a part of it.
fn named(reference: &str) -> Option<(Name, &str)> {
    let (kind, target) = component_of(reference)?;
    let (name, rest) = target.split_at(target.find('/').unwrap_or(target.len()));
    Some(((kind.to_owned(), name.to_owned()), rest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_means_the_same_keeps_its_name_and_the_rest_gets_its_services() {
        let schemas = |status: &str| {
            json!({
                "Problem": { "type": "object" },
                "Status": { "enum": [status] },
                "Order": { "properties": { "status": { "$ref": "#/components/schemas/Status" } } },
                "List": { "items": { "$ref": "#/components/schemas/Order" } },
            })
        };
        let taken = json!({ "schemas": schemas("pending") });
        let mut description = json!({
            "paths": { "/x": { "$ref": "#/components/schemas/List" }, "/y": { "$ref": "#/components/schemas/Problem" } },
            "components": { "schemas": schemas("open") },
        });
        tell_apart("tickets", &mut description, taken.as_object().unwrap());
        let names: Vec<_> = description["components"]["schemas"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["Problem", "tickets.List", "tickets.Order", "tickets.Status"]);
        let list = &description["components"]["schemas"]["tickets.List"];
        assert_eq!(list["items"]["$ref"], "#/components/schemas/tickets.Order");
        assert_eq!(description["paths"]["/x"]["$ref"], "#/components/schemas/tickets.List");
        assert_eq!(description["paths"]["/y"]["$ref"], "#/components/schemas/Problem");
    }

    #[test]
    fn a_name_that_is_taken_too_and_a_way_into_a_component_are_followed() {
        let taken = json!({ "schemas": { "Item": { "type": "string" }, "a.Item": true } });
        let mut description = json!({
            "x": { "$ref": "#/components/schemas/Item/properties/id" },
            "components": { "schemas": {
                "Item": { "properties": { "id": { "type": "integer" } } },
                "a.Item_": false,
            } },
        });
        tell_apart("a", &mut description, taken.as_object().unwrap());
        assert_eq!(description["x"]["$ref"], "#/components/schemas/a.Item__/properties/id");
        assert_eq!(
            description.pointer("/components/schemas/a.Item__/properties/id/type"),
            Some(&json!("integer"))
        );
        assert_eq!(description.pointer("/components/schemas/a.Item_"), Some(&json!(false)));
    }

    #[test]
    fn without_a_conflict_nothing_changes() {
        let mut description = json!({ "components": { "schemas": { "User": { "type": "object" } } } });
        let before = description.clone();
        tell_apart("users", &mut description, &Map::new());
        assert_eq!(description, before);
    }
}
