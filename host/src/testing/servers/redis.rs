//! A Redis for tests.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::reaper::Reaper;
use super::{free_port, wait_for};

/// A Redis server that keeps its data over a restart, a crash included.
pub struct TestRedis {
    port: u16,
    folder: PathBuf,
    server: Mutex<Option<Child>>,
    _reaper: Reaper,
}

impl TestRedis {
    /// Starts an empty server.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("wasmyard-redis-").tempdir().expect("a folder").keep();
        let reaper = Reaper::new(&folder.join("pid"), &folder);
        let redis = Self { port: free_port(), folder, server: Mutex::default(), _reaper: reaper };
        redis.resume();
        redis
    }

    /// Its connection string.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port of the server.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a command with `redis-cli`, and returns what it prints.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let ran = self.redis_cli(arguments).output().expect("redis-cli");
        String::from_utf8_lossy(&ran.stdout).trim_end().to_owned()
    }

    /// Ends the server at once, as a crash would.
    pub fn kill(&self) {
        let Some(mut child) = self.lock().take() else { return };
        let _ = child.kill();
        let _ = child.wait();
        // What is left of it would name a process that is no longer Redis.
        let _ = std::fs::remove_file(self.folder.join("pid"));
    }

    /// Starts the server again, with the same data on the same port.
    pub fn resume(&self) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
        command.arg("--port").arg(self.port.to_string());
        command.arg("--dir").arg(&self.folder).arg("--pidfile").arg(self.folder.join("pid"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        *self.lock() = Some(child.expect("redis-server"));
        wait_for("Redis", || self.cli(&["PING"]) == "PONG");
    }

    /// Stops the server in its tracks: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &*self.lock() {
            let pid = i32::try_from(child.id()).expect("a process id");
            kill(Pid::from_raw(pid), signal).expect("a signal to a child");
        }
    }

    fn redis_cli(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).args(arguments).stdin(Stdio::null());
        command
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        self.kill();
    }
}
