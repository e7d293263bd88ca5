//! A system's process: how it is started, and what it costs.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::command::bound;

/// How long a system may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause between two looks at whether it has.
const STOP_PAUSE: Duration = Duration::from_millis(10);

/// A running process. Dropped, it is told to stop; when this process ends in any other
/// way, the kernel tells it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// Resident memory in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Pages shared with other processes count whole.
    pub(crate) rss_kib: u64,
    /// They count by the part that falls to this process.
    pub(crate) pss_kib: u64,
}

impl Process {
    /// Starts a program with as many sockets as may be, its standard error in a file. It
    /// inherits the cores of the systems.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub(crate) fn start(
        program: &OsStr,
        log: &Path,
        configure: impl FnOnce(&mut Command),
    ) -> Result<(Self, ChildStdout)> {
        let mut command = bound("TERM", program);
        configure(&mut command);
        let file = File::create(log).with_context(|| log.display().to_string())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().with_context(|| format!("{}", program.display()))?;
        let printed = child.stdout.take().context("its standard output")?;
        Ok((Self { child, log: log.to_owned() }, printed))
    }

    /// User and system time so far; that of threads that have ended counts too.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(self.path("stat")).context("a system has ended")?;
        // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
        let fields: Vec<_> = stat.rsplit_once(')').context("stat")?.1.split_whitespace().collect();
        let field = |number: usize| -> Result<u64> { Ok(fields.get(number - 3).context("stat")?.parse()?) };
        let ticks = field(14)? + field(15)?;
        let per_second = sysconf(SysconfVar::CLK_TCK)?.and_then(|ticks| u64::try_from(ticks).ok());
        let per_second = per_second.filter(|ticks| *ticks > 0).context("clock ticks")?;
        Ok(Duration::from_micros(ticks * 1_000_000 / per_second))
    }

    /// What it holds of the machine's memory.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let rollup = std::fs::read_to_string(self.path("smaps_rollup")).context("a system has ended")?;
        let kib = |label: &str| -> Result<u64> {
            let line = rollup.lines().find_map(|line| line.strip_prefix(label)).context("smaps_rollup")?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        Ok(Memory { rss_kib: kib("Rss:")?, pss_kib: kib("Pss:")? })
    }

    /// The last line that it wrote to its log; none when it had nothing to say.
    pub(crate) fn said(&self) -> Option<String> {
        let log = std::fs::read_to_string(&self.log).ok()?;
        log.lines().last().map(str::to_owned)
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }

    fn stop(&mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, Signal::SIGTERM)?;
        let give_up = Instant::now() + STOP_TIMEOUT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > give_up {
                self.child.kill()?;
                self.child.wait()?;
                bail!("it did not stop in time");
            }
            std::thread::sleep(STOP_PAUSE);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("process {}: {error:#}", self.child.id());
        }
    }
}
