//! A Postgres for tests.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, chown, geteuid};

use super::reaper::Reaper;
use super::{free_port, wait_for};

const OWNER: &str = "owner";
const OWNER_PASSWORD: &str = "owner-password";

/// A Postgres server with a superuser of its own, asking every role for its password.
/// It does not survive a power cut: nothing is synced.
pub struct TestPostgres {
    port: u16,
    folder: PathBuf,
    server: Mutex<Option<Child>>,
    databases: AtomicU32,
    _reaper: Reaper,
}

impl TestPostgres {
    /// Starts a server; a few seconds.
    pub fn start() -> Self {
        let folder =
            tempfile::Builder::new().prefix("wasmyard-postgres-").tempdir().expect("a folder").keep();
        if let Some(user) = unprivileged() {
            chown(&folder, Some(user.uid), Some(user.gid)).expect("root may give a folder away");
        }
        let data = folder.join("data");
        let reaper = Reaper::new(&data.join("postmaster.pid"), &folder);
        let password = folder.join("password");
        std::fs::write(&password, OWNER_PASSWORD).expect("a file");
        if let Some(user) = unprivileged() {
            chown(&password, Some(user.uid), Some(user.gid)).expect("root may give a file away");
        }
        let mut initdb = program("initdb");
        initdb.arg("-D").arg(&data).arg("--pwfile").arg(&password).args(["-U", OWNER]);
        initdb.args(["-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        let made = initdb.stdout(Stdio::null()).output().expect("initdb");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));

        let port = free_port();
        let postgres =
            Self { port, folder, server: Mutex::default(), databases: AtomicU32::new(0), _reaper: reaper };
        postgres.resume();
        postgres
    }

    /// The server that the tests of this process share; each takes a
    /// [`database`](Self::database) of its own. Tests that stop the server start one
    /// for themselves.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<TestPostgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Creates an empty database, and returns its owner's connection string.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The owner's connection string for a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{OWNER}:{OWNER_PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port of the server.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL as the owner, and returns what `psql` prints, unaligned and without
    /// headers.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let ran = program("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .arg(self.url(database))
            .output()
            .expect("psql");
        assert!(ran.status.success(), "{sql}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }

    /// Stops the server as an operator would, ending all sessions.
    pub fn stop(&self) {
        self.end(Signal::SIGINT);
    }

    /// Stops the server at once, as a crash would.
    pub fn kill(&self) {
        self.end(Signal::SIGQUIT);
    }

    /// Starts the server again, with the same data on the same port.
    pub fn resume(&self) {
        let mut command = program("postgres");
        command.arg("-D").arg(self.folder.join("data"));
        let port = format!("port={}", self.port);
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=200",
            &port,
        ];
        for setting in settings {
            command.args(["-c", setting]);
        }
        let log = std::fs::File::create(self.folder.join("log")).expect("a log file");
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("postgres");
        *self.lock() = Some(child);
        wait_for("Postgres", || {
            let ready =
                program("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]).status();
            ready.is_ok_and(|status| status.success())
        });
    }

    fn end(&self, signal: Signal) {
        let Some(mut child) = self.lock().take() else { return };
        let pid = i32::try_from(child.id()).expect("a process id");
        let _ = kill(Pid::from_raw(pid), signal);
        wait_for("Postgres to end", || matches!(child.try_wait(), Ok(Some(_)) | Err(_)));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TestPostgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program of Postgres, run as the user `postgres` where this process is root's:
/// the server refuses to run as root.
fn program(name: &str) -> Command {
    let mut command = Command::new(folder_of_programs().join(name));
    if let Some(user) = unprivileged() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    // It may not be able to read the folder that the test was started in.
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn unprivileged() -> Option<User> {
    let root = geteuid().is_root();
    root.then(|| User::from_name("postgres").ok().flatten().expect("the user postgres, since this is root"))
}

/// Debian keeps the programs of each version in a folder outside of `PATH`.
fn folder_of_programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .map(|version| Path::new("/usr/lib/postgresql").join(version.to_string()).join("bin"));
    newest.unwrap_or_default()
}
