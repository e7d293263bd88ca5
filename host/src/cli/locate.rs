//! Which manifest a command means.

use std::path::{Path, PathBuf};

use super::{CliError, Context, Exit};
use crate::manifest::Manifest;

/// The name that is looked for.
pub(super) const MANIFEST: &str = "wasmyard.toml";

impl Context {
    /// The manifest's path: as given, or the nearest one upward.
    pub(super) fn manifest_path(&self) -> Result<PathBuf, CliError> {
        if let Some(path) = &self.manifest {
            return Ok(path.clone());
        }
        let here = std::env::current_dir().map_err(|error| {
            CliError::new(Exit::Io, format!("the current folder cannot be read: {error}"))
        })?;
        nearest(&here).ok_or_else(|| {
            CliError::new(
                Exit::Manifest,
                format!(
                    "there is no {MANIFEST} in {} or above it; name one with --manifest, \
                     or begin one with `wasmyard new NAME`",
                    here.display()
                ),
            )
        })
    }

    /// The manifest, read and checked.
    pub(super) fn load_manifest(&self) -> Result<Manifest, CliError> {
        Ok(Manifest::load(&self.manifest_path()?, &environment)?)
    }
}

/// A variable of this process's environment; one that is not UTF-8 counts as unset.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The nearest manifest, shown relative to the current folder where it lies in it.
fn nearest(here: &Path) -> Option<PathBuf> {
    let found = here.ancestors().map(|dir| dir.join(MANIFEST)).find(|path| path.is_file())?;
    Some(found.strip_prefix(here).map_or(found.clone(), Path::to_path_buf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_manifest_upward_is_found() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let deep = root.path().join("a/b");
        std::fs::create_dir_all(&deep).expect("folders in it");
        std::fs::write(root.path().join(MANIFEST), "").expect("a file");
        assert_eq!(nearest(&deep), Some(root.path().join(MANIFEST)));
        assert_eq!(nearest(root.path()), Some(MANIFEST.into()));
        std::fs::write(deep.join(MANIFEST), "").expect("a file");
        assert_eq!(nearest(&deep), Some(MANIFEST.into()));
    }
}
