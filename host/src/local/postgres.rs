//! The host's own Postgres.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio_postgres::{Client, NoTls};

use super::account::{Home, random_secret, write_secret};
use super::child::{Keeper, Running};
use super::orphan;
use super::port::Ports;
use super::{LocalError, Progress};
use crate::limits::{
    LOCAL_INITDB_WAIT, LOCAL_KILL_WAIT, LOCAL_POSTGRES_READY_WAIT, LOCAL_STOP_WAIT, POSTGRES_CONNECT_TIMEOUT,
};

/// The owner of the database, and the database, as the lab names them.
const OWNER: &str = "labuser";
const DATABASE: &str = "labdb";
const STANDARD_PORT: u16 = 5432;
/// A Unix socket's path, terminator excluded (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A running Postgres.
pub(super) struct Postgres {
    server: Running,
    url: String,
    port: u16,
    pgpass: PathBuf,
}

impl Postgres {
    /// Starts the cluster, which is made on first start, and waits until the
    /// database answers.
    pub(super) async fn start(
        home: &Home,
        keeper: &Keeper,
        progress: &Progress<'_>,
    ) -> Result<Self, LocalError> {
        let data = home.data_dir.join("postgres");
        let programs = Programs::find(&data)?;
        // SIGINT is Postgres' fast shutdown: sessions end, data are safe.
        if orphan::stop(&data, Signal::SIGINT).await? > 0 {
            progress("stopped a Postgres that an earlier host had left running");
        }
        let password = password(home, &programs, &data, progress).await?;
        remove_stale_locks(home, &data);
        let mut ports = Ports::load(&home.state_dir);
        let mut candidates = ports.candidates("postgres", STANDARD_PORT);
        let (server, port) = loop {
            let port =
                candidates.next().ok_or_else(|| not_ready("no free port from 5432 on", String::new()))?;
            progress(&format!("starting Postgres on port {port}"));
            let mut server = keeper.spawn(
                serve(home, &programs, &data, port),
                &home.state_dir.join("postgres.log"),
                Signal::SIGINT,
            )?;
            match ready(&mut server, &data, port, &password).await {
                Ok(()) => break (server, port),
                Err(error) => {
                    server.stop(STOP).await;
                    if !address_in_use(&error) {
                        return Err(error);
                    }
                }
            }
        };
        ports.remember("postgres", port)?;
        let pgpass = home.state_dir.join("pgpass");
        write_secret(&pgpass, &format!("127.0.0.1:{port}:*:{OWNER}:{password}\n"))?;
        let url = format!("postgres://{OWNER}:{password}@127.0.0.1:{port}/{DATABASE}");
        Ok(Self { server, url, port, pgpass })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn psql(&self) -> String {
        let pgpass = self.pgpass.display();
        format!("PGPASSFILE={pgpass} psql -h 127.0.0.1 -p {} -U {OWNER} -d {DATABASE}", self.port)
    }

    #[cfg(test)]
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(super) async fn stop(mut self, progress: &Progress<'_>) {
        progress("stopping Postgres");
        if self.server.stop(STOP).await != Signal::SIGINT {
            progress("Postgres did not stop in time and was ended; it recovers on its next start");
        }
    }
}

/// Fast shutdown, then immediate: the next start recovers from the log.
const STOP: &[(Signal, Duration)] = &[(Signal::SIGINT, LOCAL_STOP_WAIT), (Signal::SIGQUIT, LOCAL_KILL_WAIT)];

/// Postgres' programs, which Debian keeps outside the `PATH`.
struct Programs {
    bin: PathBuf,
}

impl Programs {
    /// Those of the version that made the cluster, or the newest.
    fn find(data: &Path) -> Result<Self, LocalError> {
        let made_by: Option<u32> = std::fs::read_to_string(data.join("PG_VERSION"))
            .ok()
            .and_then(|version| version.trim().parse().ok());
        let mut found: Vec<(u32, PathBuf)> = Vec::new();
        for dir in Self::folders() {
            if dir.join("initdb").is_file()
                && let Some(version) = version(&dir.join("postgres"))
            {
                found.push((version, dir));
            }
        }
        // A stable sort: of two of one version, the one in the PATH.
        found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        let missing = LocalError::MissingProgram { program: "postgres".into(), package: "postgresql" };
        let newest = found.first().ok_or(missing)?.0;
        let wanted = made_by.unwrap_or(newest);
        let fits = found.into_iter().find(|(version, _)| *version == wanted);
        fits.map(|(_, bin)| Self { bin }).ok_or_else(|| {
            LocalError::State(format!(
                "the data in {} are Postgres {wanted}'s, and {newest} is installed: install {wanted}, \
                 or remove that folder to start with an empty database",
                data.display()
            ))
        })
    }

    fn folders() -> Vec<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        for parent in ["/usr/lib/postgresql", "/usr/local/lib/postgresql"] {
            let versions = std::fs::read_dir(parent).into_iter().flatten().flatten();
            folders.extend(versions.map(|version| version.path().join("bin")));
        }
        folders
    }
}

fn version(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let number =
        text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    number.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// The owner's password: the kept one, or a new one with a new cluster.
async fn password(
    home: &Home,
    programs: &Programs,
    data: &Path,
    progress: &Progress<'_>,
) -> Result<String, LocalError> {
    let path = home.state_dir.join("postgres-password");
    let kept = std::fs::read_to_string(&path).ok().filter(|password| !password.is_empty());
    match (data.join("PG_VERSION").exists(), kept) {
        (true, Some(password)) => Ok(password),
        (true, None) => {
            let password = random_secret()?;
            progress("setting a new password: the old one is no longer in the state folder");
            set_password(home, programs, data, &password)?;
            write_secret(&path, &password)?;
            Ok(password)
        }
        (false, kept) => {
            let password = kept.map_or_else(random_secret, Ok)?;
            write_secret(&path, &password)?;
            progress("making a Postgres cluster");
            make_cluster(home, programs, data, &password).await?;
            Ok(password)
        }
    }
}

async fn make_cluster(
    home: &Home,
    programs: &Programs,
    data: &Path,
    password: &str,
) -> Result<(), LocalError> {
    // Made beside its place and moved there: a cluster that was not finished is
    // never taken for one.
    let new = home.data_dir.join("postgres.new");
    if new.exists() {
        std::fs::remove_dir_all(&new).map_err(LocalError::io("removing", &new))?;
    }
    let password_file = home.data_dir.join("initdb-password");
    write_secret(&password_file, password)?;
    if let Some(account) = home.account {
        account.own(&password_file)?;
    }
    let mut command = home.command(&programs.bin.join("initdb"));
    command.arg("--pgdata").arg(&new).arg("--pwfile").arg(&password_file);
    command.args(["--username", OWNER, "--auth", "scram-sha-256", "--encoding", "UTF8"]);
    // Texts in the order of their bytes, as with plain C, yet with upper and lower case in
    // every script: plain C knows that of ASCII alone.
    command.args(["--locale", "C.UTF-8", "--no-instructions"]);
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    let output = tokio::time::timeout(LOCAL_INITDB_WAIT, command.output()).await;
    let _ = std::fs::remove_file(&password_file);
    let output = output
        .map_err(|_| not_ready("initdb did not finish in time", String::new()))?
        .map_err(LocalError::io("running", &programs.bin.join("initdb")))?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(not_ready("initdb failed", log));
    }
    std::fs::rename(&new, data).map_err(LocalError::io("moving into place", &new))
}

/// Sets the owner's password without knowing the old one: in single-user mode, which
/// asks for none.
fn set_password(home: &Home, programs: &Programs, data: &Path, password: &str) -> Result<(), LocalError> {
    use std::io::Write;
    let program = programs.bin.join("postgres");
    let mut command = home.command(&program);
    command.arg("--single").arg("-D").arg(data).arg("postgres");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = || {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            writeln!(stdin, "ALTER USER {OWNER} PASSWORD '{password}'")?;
        }
        child.wait()
    };
    let status = run().map_err(LocalError::io("running", &program))?;
    if status.success() { Ok(()) } else { Err(not_ready("the password could not be set", String::new())) }
}

fn serve(home: &Home, programs: &Programs, data: &Path, port: u16) -> Command {
    let mut command = home.command(&programs.bin.join("postgres"));
    command.arg("-D").arg(data);
    let mut set = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
        let mut setting = OsString::from(format!("{name}="));
        setting.push(value);
        command.arg("-c").arg(setting);
    };
    set("listen_addresses", &"127.0.0.1");
    set("port", &port.to_string());
    set("unix_socket_directories", &socket_dir(home, port));
    set("password_encryption", &"scram-sha-256");
    set("timezone", &"UTC");
    set("log_timezone", &"UTC");
    // A pool for each service and a few psql sessions.
    set("max_connections", &"100");
    command
}

/// The folder of the Unix socket, or an empty path, which means none, when the
/// socket's path would be too long.
fn socket_dir(home: &Home, port: u16) -> PathBuf {
    let Ok(dir) = home.make_dir("run") else { return PathBuf::new() };
    let socket = dir.join(format!(".s.PGSQL.{port}"));
    // A comma separates folders in that setting.
    let text = socket.as_os_str().as_encoded_bytes();
    if text.len() > SOCKET_PATH_BYTES_MAX || text.contains(&b',') { PathBuf::new() } else { dir }
}

/// Waits until the database answers, and makes it when it is not there.
async fn ready(server: &mut Running, data: &Path, port: u16, password: &str) -> Result<(), LocalError> {
    let connected = tokio::time::timeout(LOCAL_POSTGRES_READY_WAIT, async {
        loop {
            if let Some(status) = server.ended() {
                return Err(not_ready(&format!("it ended with {status}"), server.log_tail()));
            }
            if !says_ready(data, server.pid()) {
                tokio::time::sleep(Duration::from_millis(25)).await;
                continue;
            }
            match connect(port, password).await {
                Ok(client) => return Ok(client),
                // What it says against the password does not change by waiting.
                Err(error) if is_refused_login(&error) => {
                    return Err(not_ready("the kept password is not the cluster's", String::new()));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
    });
    let client = match connected.await {
        Ok(client) => client?,
        Err(_) => return Err(not_ready("no answer in time", server.log_tail())),
    };
    let make = async {
        let exists = "SELECT 1 FROM pg_database WHERE datname = $1";
        if client.query_opt(exists, &[&DATABASE]).await?.is_none() {
            client.batch_execute(&format!("CREATE DATABASE {DATABASE} OWNER {OWNER}")).await?;
        }
        Ok::<_, tokio_postgres::Error>(())
    };
    match tokio::time::timeout(LOCAL_POSTGRES_READY_WAIT, make).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(not_ready(&format!("the database cannot be made: {error}"), String::new())),
        Err(_) => Err(not_ready("the database could not be made in time", server.log_tail())),
    }
}

/// Whether this very server has written "ready" into its pid file, as `pg_ctl` looks
/// for it: the process id in the first line, the state in the eighth. Who answers on
/// the port before that may be another server.
fn says_ready(data: &Path, pid: u32) -> bool {
    let file = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = file.lines();
    lines.next().is_some_and(|line| line.trim() == pid.to_string())
        && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}

async fn connect(port: u16, password: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user(OWNER).password(password).dbname("postgres");
    config.connect_timeout(POSTGRES_CONNECT_TIMEOUT);
    let (client, connection) = config.connect(NoTls).await?;
    // Ends with the client; its errors come out of the client's calls.
    tokio::spawn(connection);
    Ok(client)
}

fn is_refused_login(error: &tokio_postgres::Error) -> bool {
    use tokio_postgres::error::SqlState;
    let code = error.code();
    code == Some(&SqlState::INVALID_PASSWORD) || code == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

/// After a kill, Postgres finds its old lock files and refuses to start if another
/// process has the number by now. Nothing works in the folder, as was just made
/// sure, so the files mean nothing.
fn remove_stale_locks(home: &Home, data: &Path) {
    if !orphan::any_in(data) {
        let _ = std::fs::remove_file(data.join("postmaster.pid"));
        let _ = std::fs::remove_dir_all(home.data_dir.join("run"));
    }
}

fn address_in_use(error: &LocalError) -> bool {
    matches!(error, LocalError::NotReady { log, .. } if log.contains("Address already in use"))
}

fn not_ready(reason: &str, log: String) -> LocalError {
    LocalError::NotReady { backend: "Postgres", reason: reason.to_owned(), log }
}
