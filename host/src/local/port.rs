//! Ports: the standard one, or the next free one, and the same again next time.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use super::LocalError;

/// How many ports after the standard one are tried.
const TRIED: u16 = 100;

/// The ports that this state folder's backends had last.
pub(super) struct Ports {
    path: PathBuf,
    last: BTreeMap<String, u16>,
}

impl Ports {
    /// Reads them; a file that cannot be read is as good as none.
    pub(super) fn load(state_dir: &Path) -> Self {
        let path = state_dir.join("ports.json");
        let last = std::fs::read(&path).ok().and_then(|json| serde_json::from_slice(&json).ok());
        Self { path, last: last.unwrap_or_default() }
    }

    /// The ports to try for a backend, the best one first: the last one, the
    /// standard one, those after it. Only free ones; one may be taken again before
    /// it is used.
    pub(super) fn candidates(&self, backend: &str, standard: u16) -> impl Iterator<Item = u16> + use<> {
        let last = self.last.get(backend).copied();
        last.into_iter()
            .chain((standard..standard.saturating_add(TRIED)).filter(move |port| Some(*port) != last))
            .filter(|port| is_free(*port))
    }

    /// Remembers a port.
    pub(super) fn remember(&mut self, backend: &str, port: u16) -> Result<(), LocalError> {
        self.last.insert(backend.to_owned(), port);
        let json = serde_json::to_vec(&self.last).unwrap_or_default();
        std::fs::write(&self.path, json).map_err(LocalError::io("writing", &self.path))
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
