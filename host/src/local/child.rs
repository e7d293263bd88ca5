//! A child that lives no longer than the host.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getppid};

use super::LocalError;
use crate::limits::LOCAL_LOG_TAIL_BYTES;

/// A thread that starts children.
///
/// The kernel's signal on a parent's death follows the *thread* that made the child,
/// and a thread of a pool may end at any time. This one ends with its last handle.
pub(super) struct Keeper {
    jobs: mpsc::Sender<Job>,
}

type Job = (Command, mpsc::Sender<std::io::Result<Child>>);

/// A running child.
pub(super) struct Running {
    child: Child,
    log: PathBuf,
}

impl Keeper {
    /// Starts the thread.
    pub(super) fn start() -> Result<Self, LocalError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("local-backends".into())
            .spawn(move || {
                for (mut command, reply) in queue {
                    // The asker waits for the answer, or has gone with the host.
                    let _ = reply.send(command.spawn());
                }
            })
            .map_err(|source| LocalError::Io { doing: "starting a thread".into(), source })?;
        Ok(Self { jobs })
    }

    /// Starts a command in a process group of its own, its output in `log`; the
    /// kernel sends it `on_death` when the host dies.
    pub(super) fn spawn(
        &self,
        mut command: Command,
        log: &Path,
        on_death: Signal,
    ) -> Result<Running, LocalError> {
        keep_last(log);
        let output = File::create(log).map_err(LocalError::io("writing", log))?;
        let errors = output.try_clone().map_err(LocalError::io("writing", log))?;
        command.stdout(output).stderr(errors).process_group(0);
        die_with_parent(&mut command, on_death);
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |source| LocalError::Io { doing: format!("starting {program}"), source };
        let gone = || failed(std::io::Error::other("the thread that starts children has ended"));
        let (reply, answer) = mpsc::channel();
        self.jobs.send((command, reply)).map_err(|_| gone())?;
        let child = answer.recv().map_err(|_| gone())?.map_err(failed)?;
        Ok(Running { child, log: log.to_owned() })
    }
}

impl Running {
    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The end of what it wrote.
    pub(super) fn log_tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let tail = &bytes[bytes.len().saturating_sub(LOCAL_LOG_TAIL_BYTES)..];
        String::from_utf8_lossy(tail).trim().to_owned()
    }

    /// Sends each signal in turn and waits for its time; at last SIGKILL. Returns
    /// the last signal that was needed.
    pub(super) async fn stop(&mut self, signals: &[(Signal, Duration)]) -> Signal {
        let Ok(pid) = i32::try_from(self.child.id()).map(Pid::from_raw) else { return Signal::SIGKILL };
        for (signal, wait) in signals {
            if self.ended().is_none() {
                // The child is not waited for elsewhere, so its id is still its own.
                let _ = kill(pid, *signal);
            }
            let ended = tokio::time::timeout(*wait, async {
                while self.ended().is_none() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
            if ended.await.is_ok() {
                return *signal;
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        Signal::SIGKILL
    }
}

#[expect(unsafe_code, reason = "only the child itself can ask for a signal on its parent's death")]
fn die_with_parent(command: &mut Command, signal: Signal) {
    let parent = getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. prctl
    // and getppid are plain system calls, nothing allocates, and no lock is taken.
    // It comes after the change of user, which would clear the setting.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(signal)?;
            // The parent may have died before the setting took effect.
            if getppid() == parent { Ok(()) } else { Err(nix::errno::Errno::ESRCH.into()) }
        });
    }
}

/// Keeps the log of the run before, in which a crash can be looked up.
fn keep_last(log: &Path) {
    let _ = std::fs::rename(log, log.with_extension("log.last"));
}
