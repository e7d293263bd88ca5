//! What an earlier host left running.
//!
//! A backend works in its data folder, so the processes whose working folder that
//! is are found in `/proc`, whatever became of pid files.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::LocalError;
use crate::limits::{LOCAL_KILL_WAIT, LOCAL_STOP_WAIT};

/// Whether a process works in the folder, or below it.
pub(super) fn any_in(dir: &Path) -> bool {
    processes().any(|(_, cwd)| cwd.starts_with(dir))
}

/// Stops what works in the folder: the signal, and after a deadline SIGKILL.
/// Returns how many processes there were.
pub(super) async fn stop(dir: &Path, signal: Signal) -> Result<usize, LocalError> {
    let found = working_in(dir);
    if found.is_empty() {
        return Ok(0);
    }
    let heads = heads(&found);
    for pid in &heads {
        // It may just have ended.
        let _ = kill(*pid, signal);
    }
    if !gone_within(dir, LOCAL_STOP_WAIT).await {
        for pid in working_in(dir) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        if !gone_within(dir, LOCAL_KILL_WAIT).await {
            return Err(LocalError::State(format!(
                "processes of an earlier host in {} cannot be ended: {:?}",
                dir.display(),
                working_in(dir).iter().map(|pid| pid.as_raw()).collect::<Vec<_>>()
            )));
        }
    }
    Ok(found.len())
}

async fn gone_within(dir: &Path, deadline: Duration) -> bool {
    tokio::time::timeout(deadline, async {
        while !working_in(dir).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .is_ok()
}

fn working_in(dir: &Path) -> Vec<Pid> {
    processes().filter(|(_, cwd)| cwd == dir).map(|(pid, _)| pid).collect()
}

/// Those whose parent is none of them: a postmaster, and not its workers, which it
/// stops in its own order. Without a postmaster the workers end by themselves.
fn heads(pids: &[Pid]) -> Vec<Pid> {
    let is_head = |pid: &&Pid| parent(**pid).is_none_or(|parent| !pids.contains(&parent));
    pids.iter().filter(is_head).copied().collect()
}

fn parent(pid: Pid) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().map(Pid::from_raw)
}

/// Process ids with their working folders, as far as this user may see them.
fn processes() -> impl Iterator<Item = (Pid, std::path::PathBuf)> {
    std::fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((Pid::from_raw(pid), std::fs::read_link(entry.path().join("cwd")).ok()?))
    })
}
