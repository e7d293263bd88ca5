//! The `wasmyard` program as a user starts it.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// For a start: compiling a thousand components, or three under an emulator.
const READY_WAIT: Duration = Duration::from_secs(300);
/// For a stop in order.
const STOP_WAIT: Duration = Duration::from_secs(60);

/// How to start a host.
pub struct Launch {
    /// The `wasmyard` program.
    pub program: PathBuf,
    /// A program that runs it, with its arguments; empty for none.
    pub wrapper: Vec<String>,
    /// The manifest.
    pub manifest: PathBuf,
    /// `up --local`: the services' own ports.
    pub local: bool,
    /// Environment variables beside this process' own.
    pub env: Vec<(String, String)>,
}

/// A running host. Dropped, it is killed.
pub struct HostProcess {
    child: Child,
    /// What it said of itself when it was ready.
    pub ready: Value,
    /// From before the process was made until it said so.
    pub ready_after: Duration,
}

impl Launch {
    /// Starts the host and waits until it serves. Its log goes to standard error.
    ///
    /// # Errors
    /// It ended instead, or took too long.
    pub fn start(&self) -> anyhow::Result<HostProcess> {
        let mut arguments = self.wrapper.iter().map(String::as_str).collect::<Vec<_>>();
        let program = self.program.to_str().context("a path that is no text")?;
        let manifest = self.manifest.to_str().context("a path that is no text")?;
        arguments.extend([program, "--json", "--manifest", manifest, "up"]);
        if self.local {
            arguments.push("--local");
        }
        let mut command = Command::new(arguments[0]);
        command.args(&arguments[1..]).stdin(Stdio::null()).stdout(Stdio::piped());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let begun = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {}", arguments[0]))?;
        let stdout = child.stdout.take().context("the output is a pipe")?;
        let mut host = HostProcess { child, ready: Value::Null, ready_after: Duration::ZERO };
        host.ready = first_json(stdout)?;
        host.ready_after = begun.elapsed();
        Ok(host)
    }
}

impl HostProcess {
    /// The process' id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The port of one service alone.
    ///
    /// # Errors
    /// It has none.
    pub fn direct_port(&self, service: &str) -> anyhow::Result<u16> {
        let services = self.ready["services"].as_array().context("no services")?;
        let found = services.iter().find(|entry| entry["name"] == service);
        let port = found.and_then(|entry| entry["direct_port"].as_u64());
        let port = port.with_context(|| format!("{service} has no port of its own: {}", self.ready))?;
        Ok(u16::try_from(port)?)
    }

    /// Resident memory of the process alone, in bytes: what no file on disk stands for.
    ///
    /// # Errors
    /// The process has ended.
    pub fn private_bytes(&self) -> anyhow::Result<u64> {
        self.smaps("Anonymous:")
    }

    /// All resident memory, in bytes, machine code and other mapped files included.
    ///
    /// # Errors
    /// The process has ended.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.smaps("Rss:")
    }

    /// User and system time that it has used.
    ///
    /// # Errors
    /// The process has ended.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // The name, in parentheses, may hold anything; fields are counted after it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| -> anyhow::Result<u64> {
            Ok(fields.get(index).context("a short stat file")?.parse()?)
        };
        // USER_HZ is 100 on every Linux that Rust runs on.
        Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
    }

    /// Stops it in order, as SIGTERM does.
    ///
    /// # Errors
    /// It does not end, or not well.
    pub fn stop(mut self) -> anyhow::Result<()> {
        kill(self.nix_pid()?, Signal::SIGTERM)?;
        let give_up = Instant::now() + STOP_WAIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() { Ok(()) } else { bail!("the host ended with {status}") };
            }
            if Instant::now() > give_up {
                bail!("the host does not stop");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn smaps(&self, field: &str) -> anyhow::Result<u64> {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid()))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix(field)).context("no such line")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    fn nix_pid(&self) -> anyhow::Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.pid())?))
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
///
/// # Errors
/// There is none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The first JSON value that a host prints. What comes later is read and dropped, so that
/// the host never waits for a full pipe.
fn first_json(mut stdout: ChildStdout) -> anyhow::Result<Value> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut text, mut chunk, mut sent) = (Vec::new(), [0; 4096], false);
        while let Ok(read @ 1..) = stdout.read(&mut chunk) {
            if sent {
                continue;
            }
            text.extend_from_slice(&chunk[..read]);
            if let Some(Ok(value)) = serde_json::Deserializer::from_slice(&text).into_iter::<Value>().next() {
                // Nobody waits any more when the wait was too long.
                let _ = send.send(value);
                sent = true;
            }
        }
    });
    let value =
        receive.recv_timeout(READY_WAIT).context("the host ended before it was ready, or takes too long")?;
    if value.get("error").is_some() { bail!("the host does not start: {value}") } else { Ok(value) }
}
