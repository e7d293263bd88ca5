//! A host from start to signal to stop.

use std::process;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Host, HostOptions, Ready};
use crate::admin::AdminToken;
use crate::manifest::Manifest;
use crate::run_file::RunFile;

/// What [`run`] serves, and how it tells of it.
pub struct UpOptions {
    /// The manifest, checked.
    pub manifest: Manifest,
    /// The local form: backends of its own where none is configured, the services'
    /// direct ports, sample data, and a watch on components and manifest.
    pub local: bool,
    /// Told each step of the start and of the stop in a few words, without secrets.
    pub progress: Box<dyn Fn(&str) + Send + Sync>,
    /// Called once, when every listener is bound and every service that can serve
    /// serves.
    pub ready: Box<dyn FnOnce(&Ready) + Send>,
}

/// Serves until a signal, then drains and stops what it started. Returns after that.
/// A second signal ends the process at once, with exit code 130.
///
/// # Errors
///
/// Nothing is left running when it fails.
pub async fn run(options: UpOptions) -> anyhow::Result<()> {
    let UpOptions { manifest, local, progress, ready } = options;
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let state_dir = manifest.state_dir();
    let start =
        Host::start(manifest.clone(), HostOptions { state_dir: state_dir.clone(), local }, &*progress);
    let host = tokio::select! {
        started = start => started?,
        // Dropped half-way, the start takes down what it has begun.
        () = signals.next() => return Ok(()),
    };
    let run_file = RunFile {
        pid: process::id(),
        admin: host.addresses().admin,
        token_file: AdminToken::path(&state_dir),
    };
    if let Err(error) = run_file.write(&state_dir) {
        host.stop(&*progress).await;
        return Err(error).with_context(|| format!("cannot write into {}", state_dir.display()));
    }
    ready(&Ready::of(&host, &manifest));

    signals.next().await;
    let stopped = host.stop(&*progress);
    tokio::select! {
        drained = stopped => {
            if drained.aborted > 0 {
                tracing::warn!(connections = drained.aborted, "connections were cut off at the drain deadline");
            }
        }
        () = signals.next() => {
            tracing::warn!("a second signal: stopping at once");
            process::exit(130);
        }
    }
    RunFile::remove(&state_dir).with_context(|| format!("cannot remove a file of {}", state_dir.display()))
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
