//! What a command has made, and takes back unless it gets to its end.

use std::path::{Path, PathBuf};

use crate::cli::{CliError, Exit};

/// Dropped without [`Undo::keep`], it puts everything back, the last change first.
#[derive(Default)]
pub(super) struct Undo {
    changes: Vec<Change>,
}

enum Change {
    Made(PathBuf),
    Changed(PathBuf, Vec<u8>),
}

impl Undo {
    /// Writes a file with the folders above it. It is replaced as a whole, so that
    /// no reader sees half of it.
    pub(super) fn write(&mut self, path: &Path, content: &str) -> Result<(), CliError> {
        self.restore_later(path)?;
        let write = || {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder)?;
            }
            let mut new = path.as_os_str().to_owned();
            new.push(".new");
            std::fs::write(&new, content)?;
            std::fs::rename(&new, path)
        };
        write().map_err(|error| CliError::new(Exit::CannotCreate, format!("{}: {error}", path.display())))
    }

    /// Remembers a file as it is now, or that it is not there.
    pub(super) fn restore_later(&mut self, path: &Path) -> Result<(), CliError> {
        match std::fs::read(path) {
            Ok(content) => self.changes.push(Change::Changed(path.to_owned(), content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // The topmost folder that would be made.
                let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
                let top = path.ancestors().take_while(missing).last().unwrap_or(path);
                self.changes.push(Change::Made(top.to_owned()));
            }
            Err(error) => return Err(CliError::new(Exit::Io, format!("{}: {error}", path.display()))),
        }
        Ok(())
    }

    /// All went well: everything stays.
    pub(super) fn keep(mut self) {
        self.changes.clear();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        for change in self.changes.drain(..).rev() {
            let (path, undone) = match change {
                Change::Made(path) if path.is_dir() => (path.clone(), std::fs::remove_dir_all(path)),
                Change::Made(path) => (path.clone(), std::fs::remove_file(path)),
                Change::Changed(path, content) => (path.clone(), std::fs::write(path, content)),
            };
            match undone {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    eprintln!("warning: {} is not as it was before: {error}", path.display());
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_taken_back() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (old, new) = (dir.path().join("old"), dir.path().join("a/b/new"));
        std::fs::write(&old, "before").expect("a file");
        for kept in [false, true] {
            let mut undo = Undo::default();
            undo.write(&old, "after").expect("it is written");
            undo.write(&new, "made").expect("it is written");
            undo.write(&old, "later").expect("it is written");
            if kept {
                undo.keep();
                assert_eq!(std::fs::read_to_string(&new).expect("it stays"), "made");
                assert_eq!(std::fs::read_to_string(&old).expect("it stays"), "later");
            } else {
                drop(undo);
                assert!(!dir.path().join("a").exists());
                assert_eq!(std::fs::read_to_string(&old).expect("it is back"), "before");
            }
        }
    }
}
