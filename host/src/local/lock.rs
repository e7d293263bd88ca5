//! One host at a time for one state folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::LocalError;
use crate::limits::LOCAL_LOCK_WAIT;

/// Holds a state folder for this process. The kernel lets go of it however the
/// process ends, so there is no stale lock.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the folder, which is made when it does not exist.
    ///
    /// # Errors
    ///
    /// [`LocalError::InUse`] when another process holds it.
    pub fn acquire(state_dir: &Path) -> Result<Self, LocalError> {
        // Others may pass through, not look: as root, Postgres runs as another user.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(state_dir)
            .map_err(LocalError::io("making", state_dir))?;
        let path = state_dir.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(LocalError::io("opening", &path))?;
        let deadline = Instant::now() + LOCAL_LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    let mut pid = String::new();
                    // Without the number the message is still right.
                    let _ = file.read_to_string(&mut pid);
                    let state_dir = state_dir.to_owned();
                    return Err(LocalError::InUse { state_dir, pid: pid.trim().parse().ok() });
                }
                Err(TryLockError::Error(error)) => return Err(LocalError::io("locking", &path)(error)),
            }
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(LocalError::io("writing", &path))?;
        Ok(Self { _file: file })
    }
}
