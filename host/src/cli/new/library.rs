//! The guest library and the contract, carried in the binary.

use toml_edit::{Array, DocumentMut, InlineTable, Item, TableLike, Value};

use crate::cli::{CliError, Exit};

include!(concat!(env!("OUT_DIR"), "/library.rs"));

/// The files with their paths from the workspace's root. The library's Cargo.toml no
/// longer refers to this project's workspace.
pub(super) fn files() -> Result<Vec<(&'static str, String)>, CliError> {
    LIBRARY
        .iter()
        .map(|(path, text)| {
            let text = if path.ends_with("Cargo.toml") { standalone(text)? } else { (*text).to_owned() };
            Ok((*path, text))
        })
        .collect()
}

/// A Cargo.toml with what it inherits from the workspace written out.
fn standalone(text: &str) -> Result<String, CliError> {
    let read = |text: &str| {
        text.parse::<DocumentMut>()
            .map_err(|error| CliError::new(Exit::Internal, format!("the carried Cargo.toml: {error}")))
    };
    let (mut document, root) = (read(text)?, read(WORKSPACE)?);
    let workspace = &root["workspace"];
    document.remove("lints");
    for (part, source) in [
        ("package", workspace.get("package")),
        ("dependencies", workspace.get("dependencies")),
        ("dev-dependencies", workspace.get("dependencies")),
    ] {
        let Some(table) = document.get_mut(part).and_then(Item::as_table_like_mut) else { continue };
        let names: Vec<String> = table.iter().map(|(name, _)| name.to_owned()).collect();
        for name in names {
            let Some(item) = table.get(&name) else { continue };
            if !inherits(item) {
                continue;
            }
            let inherited = source.and_then(|source| source.get(&name)).and_then(Item::as_value);
            match inherited {
                Some(value) => {
                    let merged = with_features(value, item.get("features").and_then(Item::as_array));
                    table.insert(&name, Item::Value(merged));
                }
                None => {
                    table.remove(&name);
                }
            }
        }
    }
    Ok(document.to_string())
}

fn inherits(item: &Item) -> bool {
    item.as_table_like()
        .and_then(|table: &dyn TableLike| table.get("workspace"))
        .and_then(Item::as_bool)
        .unwrap_or(false)
}

/// A dependency with features more.
fn with_features(dependency: &Value, more: Option<&Array>) -> Value {
    let mut dependency = dependency.clone();
    dependency.decor_mut().clear();
    let Some(more) = more else { return dependency };
    let mut table = match dependency {
        Value::InlineTable(table) => table,
        version => {
            let mut table = InlineTable::new();
            table.insert("version", version);
            table
        }
    };
    let mut features = table.get("features").and_then(Value::as_array).cloned().unwrap_or_default();
    features.extend(more.iter().cloned());
    table.insert("features", Value::Array(features));
    Value::InlineTable(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_carried_library_stands_on_its_own() {
        let files = files().expect("they are carried");
        let cargo =
            files.iter().find(|(path, _)| *path == "components/guest/Cargo.toml").expect("its Cargo.toml");
        assert!(!cargo.1.contains("workspace"), "{}", cargo.1);
        let document: DocumentMut = cargo.1.parse().expect("TOML");
        assert_eq!(document["package"]["name"].as_str(), Some("wasmyard-guest"));
        assert_eq!(document["package"]["edition"].as_str(), Some("2024"));
        assert!(document["dependencies"]["serde"].get("version").is_some(), "{}", cargo.1);
        for path in ["components/guest/src/lib.rs", "wit/http-handler.wit"] {
            assert!(files.iter().any(|(carried, _)| *carried == path), "{path}");
        }
    }

    #[test]
    fn features_of_both_places_are_kept() {
        let base: Value = "{ version = \"1\", features = [\"a\"] }".parse().expect("TOML");
        let more: Value = "[\"b\"]".parse().expect("TOML");
        let merged = with_features(&base, more.as_array()).to_string();
        assert!(merged.contains("\"a\"") && merged.contains("\"b\""), "{merged}");
        let from_version = with_features(&"\"1\"".parse().expect("TOML"), more.as_array()).to_string();
        assert!(from_version.contains("version") && from_version.contains("\"b\""), "{from_version}");
    }
}
