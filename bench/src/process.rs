//! A system's process: how it is started, and what it costs.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::command::bound;

/// How long a system may take to stop; under an emulator it needs much of it.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause between two looks at whether it has.
const STOP_PAUSE: Duration = Duration::from_millis(10);

/// A running process. Dropped, it is told to stop; when this process ends in any other
/// way, the kernel tells it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Option<PathBuf>,
}

/// Resident memory in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Pages shared with other processes count whole.
    pub rss_kib: u64,
    /// They count by the part that falls to this process.
    pub pss_kib: u64,
    /// What no file on disk stands for, so machine code not among it.
    pub anonymous_kib: u64,
}

impl Process {
    /// Starts a program with as many sockets as may be. Its standard error goes into the
    /// file `log`, or where this process' own goes. It inherits the cores of this process.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start(
        program: &OsStr,
        log: Option<&Path>,
        configure: impl FnOnce(&mut Command),
    ) -> Result<(Self, ChildStdout)> {
        let mut command = bound("TERM", program);
        configure(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        if let Some(log) = log {
            command.stderr(File::create(log).with_context(|| log.display().to_string())?);
        }
        let mut child = command.spawn().with_context(|| format!("{}", program.display()))?;
        let printed = child.stdout.take().context("its standard output")?;
        Ok((Self { child, log: log.map(Path::to_owned) }, printed))
    }

    /// The process' id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops it in order, as SIGTERM does.
    ///
    /// # Errors
    ///
    /// It does not end in time, or not well.
    pub fn stop(mut self) -> Result<()> {
        let status = self.end()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }

    /// User and system time so far; that of threads that have ended counts too.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn cpu(&self) -> Result<Duration> {
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
    pub fn memory(&self) -> Result<Memory> {
        let rollup = std::fs::read_to_string(self.path("smaps_rollup")).context("a system has ended")?;
        let kib = |label: &str| -> Result<u64> {
            let line = rollup.lines().find_map(|line| line.strip_prefix(label)).context("smaps_rollup")?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        Ok(Memory { rss_kib: kib("Rss:")?, pss_kib: kib("Pss:")?, anonymous_kib: kib("Anonymous:")? })
    }

    /// The last line that it wrote to its log; none when it has no log, or had nothing to
    /// say.
    pub fn said(&self) -> Option<String> {
        let log = std::fs::read_to_string(self.log.as_ref()?).ok()?;
        log.lines().last().map(str::to_owned)
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }

    fn end(&mut self) -> Result<ExitStatus> {
        // Once waited for, its id may be another process'.
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let give_up = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > give_up {
                self.child.kill()?;
                self.child.wait()?;
                bail!("it did not stop in time");
            }
            std::thread::sleep(STOP_PAUSE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("process {}: {error:#}", self.child.id());
        }
    }
}
