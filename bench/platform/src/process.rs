//! The `wasmyard` program as a user starts it.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ChildStdout;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;
use wasmyard_bench::process::Process;

/// For a start: compiling a thousand components, or three under an emulator.
const READY_WAIT: Duration = Duration::from_secs(300);

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

/// A running host.
pub struct HostProcess {
    /// The process.
    pub process: Process,
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
        let begun = Instant::now();
        let (process, printed) = Process::start(arguments[0].as_ref(), None, |command| {
            command.args(&arguments[1..]).envs(self.env.iter().map(|(name, value)| (name, value)));
        })?;
        let ready = first_json(printed)?;
        Ok(HostProcess { process, ready, ready_after: begun.elapsed() })
    }
}

impl HostProcess {
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
