//! Why a local backend did not start.

use std::io;
use std::path::{Path, PathBuf};

/// Why a local backend did not start.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Another host holds the state folder.
    #[error("{} is in use by another host{}", state_dir.display(), pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    InUse {
        /// The state folder.
        state_dir: PathBuf,
        /// The other host, if it has said so.
        pid: Option<u32>,
    },
    /// A program is not installed.
    #[error("{program} is not installed; on Debian: apt-get install {package}")]
    MissingProgram {
        /// Its name.
        program: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A backend ended instead of starting, or was not ready in time.
    #[error("{backend} did not start: {reason}{}", tail(log))]
    NotReady {
        /// `Postgres` or `Redis`.
        backend: &'static str,
        /// What happened.
        reason: String,
        /// The end of what it wrote.
        log: String,
    },
    /// A file or folder could not be used.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// What is kept does not fit what is here.
    #[error("{0}")]
    State(String),
}

impl LocalError {
    /// Says what was being done with a path when the system refused.
    pub(super) fn io(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let doing = format!("{doing} {}", path.display());
        move |source| Self::Io { doing, source }
    }
}

fn tail(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!("; it wrote:\n{log}") }
}
