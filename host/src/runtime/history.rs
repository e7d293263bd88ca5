//! What was deployed to a service, kept in a file so that the choice survives a restart.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::component::{Digest, write_whole};
use crate::admin::api::{HistoryEntry, VersionState};
use crate::limits::{HISTORY_MAX, VERSIONS_KEPT};

/// One service's history.
pub(super) struct History {
    path: PathBuf,
    record: Record,
    /// The component's file was refused when it was last looked at. What stood in its way
    /// may lie outside the file, so the same bytes may be tried again. Not kept: a start
    /// tries anyway.
    source_refused: bool,
}

/// The file's content at one moment.
pub(super) struct Snapshot {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Snapshot {
    /// Writes the file.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        write_whole(&self.path, &self.bytes)
    }
}

/// The file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Record {
    /// The digest of the manifest's component file when it was last looked at. While the
    /// file stays the same, a deploy or rollback made since then outlives a restart.
    source: Option<String>,
    /// Digests that served one after another; the last one is the choice, and a rollback
    /// takes it away.
    lineage: Vec<String>,
    /// Newest first.
    entries: VecDeque<HistoryEntry>,
}

impl History {
    /// Reads a service's history; there is none before its first start.
    pub(super) fn open(state_dir: &Path, service: &str) -> anyhow::Result<Self> {
        let dir = state_dir.join("history");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let path = dir.join(format!("{service}.json"));
        let mut record: Record = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged; move it away to start anew", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Record::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        for entry in &mut record.entries {
            if entry.state != VersionState::Refused {
                entry.state = VersionState::Retired;
            }
        }
        Ok(Self { path, record, source_refused: false })
    }

    /// What the service was serving, if the component's file is still the one it was.
    pub(super) fn choice(&self, source: &Digest) -> Option<Digest> {
        let unchanged = self.is_source(source);
        self.record.lineage.last().filter(|_| unchanged).and_then(|digest| Digest::parse(digest))
    }

    /// What a rollback goes back to.
    pub(super) fn previous(&self) -> Option<Digest> {
        self.record.lineage.iter().rev().nth(1).and_then(|digest| Digest::parse(digest))
    }

    /// The digests that must stay on disk.
    pub(super) fn kept(&self) -> impl Iterator<Item = Digest> {
        self.record.lineage.iter().filter_map(|digest| Digest::parse(digest))
    }

    /// The entries, newest first.
    pub(super) fn entries(&self) -> Vec<HistoryEntry> {
        self.record.entries.iter().cloned().collect()
    }

    /// Notes what the manifest's component file is now. Whether it should be deployed: it
    /// is another one than the last time, or was refused then.
    pub(super) fn look_at_source(&mut self, source: &Digest) -> bool {
        let known = self.is_source(source) && !self.source_refused;
        self.set_source(source);
        !known
    }

    /// Whether the file that was looked at last was refused.
    pub(super) fn note_source_refused(&mut self, refused: bool) {
        self.source_refused = refused;
    }

    /// Notes which file the manifest's component was.
    pub(super) fn set_source(&mut self, source: &Digest) {
        self.record.source = Some(source.as_str().to_owned());
    }

    /// A version has become active, as the newest of its line.
    pub(super) fn push(&mut self, digest: &Digest, entry: HistoryEntry) {
        let lineage = &mut self.record.lineage;
        if lineage.last().is_none_or(|last| last != digest.as_str()) {
            lineage.push(digest.as_str().to_owned());
        }
        let excess = lineage.len().saturating_sub(VERSIONS_KEPT);
        lineage.drain(..excess);
        self.activate(entry);
    }

    /// The active version has been given up for the one before it.
    pub(super) fn pop(&mut self, entry: HistoryEntry) {
        self.record.lineage.pop();
        self.activate(entry);
    }

    /// A version was refused.
    pub(super) fn refuse(&mut self, entry: HistoryEntry) {
        self.note(entry);
    }

    /// The last request has ended of the version that became active `at` this moment. The
    /// same component may have been active several times, so its digest would not do.
    pub(super) fn retire(&mut self, at: Timestamp) {
        for entry in &mut self.record.entries {
            if entry.at == at && entry.state == VersionState::Draining {
                entry.state = VersionState::Retired;
            }
        }
    }

    /// What the file should hold.
    pub(super) fn snapshot(&self) -> anyhow::Result<Snapshot> {
        Ok(Snapshot { path: self.path.clone(), bytes: serde_json::to_vec_pretty(&self.record)? })
    }

    fn is_source(&self, source: &Digest) -> bool {
        self.record.source.as_deref() == Some(source.as_str())
    }

    fn activate(&mut self, entry: HistoryEntry) {
        for earlier in &mut self.record.entries {
            if earlier.state == VersionState::Active {
                earlier.state = VersionState::Draining;
            }
        }
        self.note(entry);
    }

    fn note(&mut self, entry: HistoryEntry) {
        self.record.entries.push_front(entry);
        self.record.entries.truncate(HISTORY_MAX);
    }
}
