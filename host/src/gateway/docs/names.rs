//! Names of components, told apart where two services mean different things by one name.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// A component's kind (`schemas`, `responses`, …) and its name.
type Name = (String, String);

/// Renames those of a description's components whose name stands for something else among
/// those that are taken, to `SERVICE.NAME`, and what refers to them.
pub(super) fn tell_apart(service: &str, description: &mut Value, taken: &Map<String, Value>) {
    let conflicts = conflicts(description, taken);
    if conflicts.is_empty() {
        return;
    }
    let renamed = |name: &str| format!("{service}.{name}");
    for (kind, name) in &conflicts {
        let components = &mut description["components"][kind];
        if let Some(component) = components.as_object_mut().and_then(|members| members.remove(name)) {
            components[renamed(name)] = component;
        }
    }
    each_reference(description, &mut |reference| {
        if let Some((kind, name)) = named(reference)
            && conflicts.contains(&(kind.to_owned(), name.to_owned()))
        {
            *reference = format!("#/components/{kind}/{}", renamed(name));
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
                let target = named(reference).map(|(kind, name)| (kind.to_owned(), name.to_owned()));
                refers |= target.is_some_and(|target| conflicts.contains(&target));
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

/// Kind and name of the component that a reference leads to.
fn named(reference: &str) -> Option<(&str, &str)> {
    reference.strip_prefix("#/components/")?.split_once('/')
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
    fn without_a_conflict_nothing_changes() {
        let mut description = json!({ "components": { "schemas": { "User": { "type": "object" } } } });
        let before = description.clone();
        tell_apart("users", &mut description, &Map::new());
        assert_eq!(description, before);
    }
}
