//! The Cargo workspace that a new service becomes a member of.

use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, Table, value};

use super::library;
use super::undo::Undo;
use crate::cli::{CliError, Exit};

/// Guests only: a component is small, so whole-program optimization costs seconds
/// and takes a third off its size.
const PROFILE: &str = r#"
# For components: `cargo build --profile component --target wasm32-wasip2`.
[profile.component]
inherits = "release"
debug = false
lto = "fat"
codegen-units = 1
panic = "abort"
strip = true
"#;

/// How components are linked, by path: cargo reads it for whatever is built below it.
const LINKING: (&str, &str) = (".cargo/config.toml", include_str!("../../../../.cargo/config.toml"));

/// Makes sure that a folder is a workspace with `components/NAME` in it, a profile
/// for components and the guest library. Returns whether the library is in
/// `components/guest`, and not the workspace's own dependency.
pub(super) fn prepare(dir: &Path, name: &str, undo: &mut Undo) -> Result<bool, CliError> {
    let path = dir.join("Cargo.toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "[workspace]\nresolver = \"3\"\nmembers = [\"components/*\"]\n".to_owned()
        }
        Err(error) => return Err(CliError::new(Exit::Io, format!("{}: {error}", path.display()))),
    };
    let (edited, has_library) = edit(&text, name)
        .map_err(|reason| CliError::new(Exit::Failed, format!("{}: {reason}", path.display())))?;
    if edited != text || !path.exists() {
        undo.write(&path, &edited)?;
    }
    // Somebody's own file stays as it is: a component works without this one.
    let (linking, text) = LINKING;
    if !dir.join(linking).exists() {
        undo.write(&dir.join(linking), text)?;
    }
    if !has_library && !dir.join("components/guest/Cargo.toml").exists() {
        for (file, content) in library::files()? {
            // The contract may be there without the library; it is the same one.
            if !dir.join(file).exists() {
                undo.write(&dir.join(file), &content)?;
            }
        }
    }
    Ok(!has_library)
}

/// The workspace's Cargo.toml with what a component needs, and whether the guest
/// library is one of its dependencies.
fn edit(text: &str, name: &str) -> Result<(String, bool), String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    let workspace = document.entry("workspace").or_insert(Item::Table(Table::new()));
    let workspace = workspace.as_table_like_mut().ok_or("`workspace` is not a table")?;
    let has_library = workspace
        .get("dependencies")
        .is_some_and(|dependencies| dependencies.get("wasmyard-guest").is_some());
    let members = workspace.entry("members").or_insert(value(Array::new()));
    let members = members.as_array_mut().ok_or("`workspace.members` is not an array")?;
    let mut wanted = vec![format!("components/{name}")];
    if !has_library {
        wanted.push("components/guest".to_owned());
    }
    for member in wanted {
        let covered = members.iter().filter_map(toml_edit::Value::as_str);
        if !covered.into_iter().any(|have| have == member || have == "components/*") {
            members.push(member);
        }
    }
    let has_profile = document.get("profile").is_some_and(|profiles| profiles.get("component").is_some());
    let mut edited = document.to_string();
    if !has_profile {
        edited.push_str(PROFILE);
    }
    Ok((edited, has_library))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_that_has_everything_stays_as_it_is() {
        let text = include_str!("../../../../Cargo.toml");
        assert_eq!(edit(text, "reviews"), Ok((text.to_owned(), true)));
    }

    #[test]
    fn another_workspace_gets_what_it_lacks_and_keeps_its_comments() {
        let text = "# mine\n[workspace]\nmembers = [\"app\"] # two\n";
        let (edited, has_library) = edit(text, "reviews").expect("it is a workspace");
        assert!(!has_library);
        assert!(edited.starts_with("# mine\n"), "{edited}");
        assert!(edited.contains("# two"), "{edited}");
        assert!(
            edited.contains("\"components/reviews\"") && edited.contains("\"components/guest\""),
            "{edited}"
        );
        assert!(edited.contains("[profile.component]"), "{edited}");
        let again = edit(&edited, "reviews").expect("it is a workspace");
        assert_eq!(again.0, edited, "a second time changes nothing");
    }
}
