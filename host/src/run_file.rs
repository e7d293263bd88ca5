//! `.wasmyard/run.json`: how the command line finds the running host.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a running host says of itself. It holds no secret: the token is in a file
/// that its owner alone may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// The host's process id.
    pub pid: u32,
    /// Where the operator's API is served.
    pub admin: SocketAddr,
    /// The file with the API's bearer token.
    pub token_file: PathBuf,
}

impl RunFile {
    /// Writes it when the admin listener is bound; a reader never sees half of it.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn write(&self, state_dir: &Path) -> io::Result<()> {
        let new = state_dir.join("run.json.new");
        std::fs::write(&new, serde_json::to_vec(self)?)?;
        std::fs::rename(new, Self::path(state_dir))
    }

    /// Reads it; `None` when no host has run here, or it has stopped in order. After
    /// a kill it is still there, and nothing answers at its address.
    ///
    /// # Errors
    ///
    /// What the file system says, or that the file is not one of these.
    pub fn read(state_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(Self::path(state_dir)) {
            Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes it, when the host stops.
    ///
    /// # Errors
    ///
    /// What the file system says; that it is not there is none.
    pub fn remove(state_dir: &Path) -> io::Result<()> {
        match std::fs::remove_file(Self::path(state_dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("run.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_host_writes_the_command_line_reads_until_it_is_removed() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(RunFile::read(dir.path()).expect("no file is no error"), None);
        let file = RunFile {
            pid: 7,
            admin: ([127, 0, 0, 1], 9901).into(),
            token_file: dir.path().join("admin-token"),
        };
        file.write(dir.path()).expect("it is written");
        assert_eq!(RunFile::read(dir.path()).expect("it is read"), Some(file));
        RunFile::remove(dir.path()).expect("it is removed");
        RunFile::remove(dir.path()).expect("twice is no error");
        assert_eq!(RunFile::read(dir.path()).expect("no file is no error"), None);
    }
}
