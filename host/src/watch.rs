//! Tells which of a set of files have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// A file that is being written changes again and again; it is looked at when it has
/// stayed the same for so long.
const SETTLE: Duration = Duration::from_millis(150);
/// The kernel's notices are lost when a folder is deleted and made anew, and do not
/// exist on some network file systems; so every file is looked at this often anyway.
const SWEEP: Duration = Duration::from_secs(2);

/// Watches files. Dropping it ends the watch.
pub struct FileWatch {
    seen: BTreeMap<PathBuf, Option<Signature>>,
    watcher: Option<notify::RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    wake: mpsc::Receiver<()>,
    /// Keeps `wake` open where the kernel offers no watch: closed, it would wake at once,
    /// for ever.
    _wake_up: mpsc::Sender<()>,
}

/// Changes whenever a file is written or replaced, as far as a look at its metadata can
/// tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Signature {
    modified: SystemTime,
    bytes: u64,
    inode: u64,
}

impl FileWatch {
    /// Watches `files` for changes from now on. A file need not exist yet.
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let (wake_up, wake) = mpsc::channel(1);
        let watcher = notify::recommended_watcher({
            let wake_up = wake_up.clone();
            move |_| {
                // A full channel already holds the notice that something changed.
                let _ = wake_up.try_send(());
            }
        });
        let watcher = watcher.inspect_err(|error| tracing::debug!("watching by looking only: {error}")).ok();
        let mut watch =
            Self { seen: BTreeMap::new(), watcher, folders: BTreeSet::new(), wake, _wake_up: wake_up };
        watch.set(files);
        watch
    }

    /// Watches these files instead. One that was watched before keeps what was seen of
    /// it.
    pub fn set(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        let mut before = std::mem::take(&mut self.seen);
        for file in files {
            let signature = before.remove(&file).unwrap_or_else(|| signature(&file));
            self.seen.insert(file, signature);
        }
        self.arm();
    }

    /// Waits until files have changed and settled, and gives them. A file that has been
    /// deleted is given once it is there again.
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            // Either way the files are looked at; the notice only makes it sooner.
            let _ = tokio::time::timeout(SWEEP, self.wake.recv()).await;
            let mut candidates = self.different();
            while !candidates.is_empty() {
                tokio::time::sleep(SETTLE).await;
                let now = self.different();
                if now == candidates {
                    self.arm();
                    let changed: Vec<_> = now.keys().cloned().collect();
                    self.seen.extend(now.into_iter().map(|(file, signature)| (file, Some(signature))));
                    return changed;
                }
                candidates = now;
            }
        }
    }

    fn different(&self) -> BTreeMap<PathBuf, Signature> {
        let now = self.seen.iter().filter_map(|(file, seen)| Some((file, seen, signature(file)?)));
        now.filter(|(_, seen, now)| **seen != Some(*now)).map(|(file, _, now)| (file.clone(), now)).collect()
    }

    /// Watches the folders, not the files: a build replaces a file, and a watch on the
    /// old one would go with it.
    fn arm(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: BTreeSet<_> =
            self.seen.keys().filter_map(|file| file.parent()).map(Path::to_owned).collect();
        for folder in self.folders.difference(&wanted) {
            // It may be gone already.
            let _ = watcher.unwatch(folder);
        }
        let mut armed = BTreeSet::new();
        for folder in wanted {
            // Watching a folder again is harmless, and needed when it was made anew.
            if watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok() {
                armed.insert(folder);
            }
        }
        self.folders = armed;
    }
}

fn signature(file: &Path) -> Option<Signature> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(file).ok()?;
    Some(Signature { modified: metadata.modified().ok()?, bytes: metadata.len(), inode: metadata.ino() })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next_change(watch: &mut FileWatch) -> Vec<PathBuf> {
        tokio::time::timeout(Duration::from_secs(30), watch.changed()).await.expect("a change is noticed")
    }

    #[tokio::test]
    async fn a_replaced_file_and_a_folder_made_anew_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("out");
        std::fs::create_dir(&folder).unwrap();
        let (a, b) = (folder.join("a"), folder.join("b"));
        std::fs::write(&a, "1").unwrap();
        let mut watch = FileWatch::new([a.clone(), b.clone()]);

        std::fs::write(folder.join("new"), "22").unwrap();
        std::fs::rename(folder.join("new"), &a).unwrap();
        assert_eq!(next_change(&mut watch).await, std::slice::from_ref(&a));

        std::fs::write(&b, "first").unwrap();
        assert_eq!(next_change(&mut watch).await, std::slice::from_ref(&b));

        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&a, "333").unwrap();
        assert_eq!(next_change(&mut watch).await, [a]);
    }
}
