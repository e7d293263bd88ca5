//! The host's own Redis.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::account::Home;
use super::child::{Keeper, Running};
use super::orphan;
use super::port::Ports;
use super::{LocalError, Progress};
use crate::limits::{LOCAL_REDIS_READY_WAIT, LOCAL_STOP_WAIT, REDIS_CONNECT_TIMEOUT};

const STANDARD_PORT: u16 = 6379;

/// A running Redis.
pub(super) struct Redis {
    server: Running,
    url: String,
    port: u16,
}

impl Redis {
    /// Starts it and waits until it has loaded its data and answers.
    pub(super) async fn start(
        home: &Home,
        keeper: &Keeper,
        progress: &Progress<'_>,
    ) -> Result<Self, LocalError> {
        let program = find()?;
        let data = home.make_dir("redis")?;
        if orphan::stop(&data, Signal::SIGTERM).await? > 0 {
            progress("stopped a Redis that an earlier host had left running");
        }
        let mut ports = Ports::load(&home.state_dir);
        let mut candidates = ports.candidates("redis", STANDARD_PORT);
        let (server, port) = loop {
            let port =
                candidates.next().ok_or_else(|| not_ready("no free port from 6379 on", String::new()))?;
            progress(&format!("starting Redis on port {port}"));
            let command = serve(home, &program, &data, port);
            let mut server = keeper.spawn(command, &home.state_dir.join("redis.log"), Signal::SIGTERM)?;
            match ready(&mut server, port).await {
                Ok(()) => break (server, port),
                Err(error) => {
                    server.stop(STOP).await;
                    if !address_in_use(&error) {
                        return Err(error);
                    }
                }
            }
        };
        ports.remember("redis", port)?;
        Ok(Self { server, url: format!("redis://127.0.0.1:{port}/0"), port })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn cli(&self) -> String {
        format!("redis-cli -h 127.0.0.1 -p {}", self.port)
    }

    pub(super) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(super) async fn stop(mut self, progress: &Progress<'_>) {
        progress("stopping Redis");
        if self.server.stop(STOP).await != Signal::SIGTERM {
            progress("Redis did not stop in time and was ended");
        }
    }
}

/// SIGTERM is Redis' own shutdown: it writes what it has.
const STOP: &[(Signal, Duration)] = &[(Signal::SIGTERM, LOCAL_STOP_WAIT)];

fn find() -> Result<PathBuf, LocalError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/bin".into());
    folders.push("/usr/local/bin".into());
    folders
        .into_iter()
        .map(|dir| dir.join("redis-server"))
        .find(|program| program.is_file())
        .ok_or(LocalError::MissingProgram { program: "redis-server".into(), package: "redis-server" })
}

fn serve(home: &Home, program: &Path, data: &Path, port: u16) -> Command {
    let mut command = home.command(program);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(data);
    // A log of writes and no snapshots: nothing is lost when it is killed.
    command.args(["--appendonly", "yes", "--save", "", "--daemonize", "no"]);
    command
}

/// Waits for `+PONG`; while it loads its data it answers `-LOADING`.
async fn ready(server: &mut Running, port: u16) -> Result<(), LocalError> {
    let answered = tokio::time::timeout(LOCAL_REDIS_READY_WAIT, async {
        loop {
            // Asked before and after: an answer might be another Redis', on whose
            // port this one could not start.
            let answered = ping(port).await;
            if let Some(status) = server.ended() {
                return Err(not_ready(&format!("it ended with {status}"), server.log_tail()));
            }
            if answered && server.log_tail().contains("Ready to accept connections") {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    });
    match answered.await {
        Ok(result) => result,
        Err(_) => Err(not_ready("no answer in time", server.log_tail())),
    }
}

async fn ping(port: u16) -> bool {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(&answer == b"+PONG\r\n")
    };
    matches!(tokio::time::timeout(REDIS_CONNECT_TIMEOUT, exchange).await, Ok(Ok(true)))
}

fn address_in_use(error: &LocalError) -> bool {
    matches!(error, LocalError::NotReady { log, .. } if log.contains("Address already in use"))
}

fn not_ready(reason: &str, log: String) -> LocalError {
    LocalError::NotReady { backend: "Redis", reason: reason.to_owned(), log }
}
