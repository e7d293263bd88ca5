//! With real servers: started, stopped, killed, started again.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_postgres::NoTls;

use super::port::Ports;
use super::*;
use crate::testing::servers::free_port;

fn state_folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    // As a checkout is, whatever the mask of this process.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
    dir
}

/// Ports that stay free while the backends are stopped: the standard ones are taken by those
/// of other tests as they come and go.
fn give_ports(state_dir: &Path) {
    let mut ports = Ports::load(state_dir);
    for backend in ["postgres", "redis"] {
        ports.remember(backend, free_port()).expect("it is written");
    }
}

async fn start(state_dir: &Path) -> Backends {
    let options = LocalOptions { state_dir: state_dir.to_owned(), need_postgres: true, need_redis: true };
    Backends::start(&options, &|_| {}).await.expect("the backends start")
}

async fn sql(backends: &Backends, statement: &str) -> Option<String> {
    let url = backends.postgres_url().expect("a Postgres");
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    let messages = client.simple_query(statement).await.expect("the statement");
    messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

async fn redis_command(backends: &Backends, command: &[&str]) -> Option<String> {
    let client = ::redis::Client::open(backends.redis_url().expect("a Redis")).expect("its address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let mut built = ::redis::cmd(command[0]);
    built.arg(&command[1..]);
    built.query_async(&mut connection).await.expect("the command")
}

fn kill_now(pid: Option<u32>) {
    let pid = pid.and_then(|pid| i32::try_from(pid).ok()).expect("a process id");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the process is there");
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "it never came to this: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_survive_a_stop_and_a_kill_of_both() {
    let dir = state_folder();
    let state = dir.path().join(".wasmyard");
    std::fs::create_dir(&state).expect("the state folder");
    give_ports(&state);

    let backends = start(&state).await;
    sql(&backends, "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('yes')").await;
    redis_command(&backends, &["SET", "kept", "yes"]).await;
    assert_eq!(sql(&backends, "SELECT lower('КНИГИ É')").await.as_deref(), Some("книги é"));
    let urls = (backends.postgres_url().map(str::to_owned), backends.redis_url().map(str::to_owned));
    backends.stop(&|_| {}).await;

    let backends = start(&state).await;
    assert_eq!(urls.0.as_deref(), backends.postgres_url(), "the same port and password as before");
    assert_eq!(urls.1.as_deref(), backends.redis_url());
    assert_eq!(sql(&backends, "SELECT word FROM kept").await.as_deref(), Some("yes"));
    assert_eq!(redis_command(&backends, &["GET", "kept"]).await.as_deref(), Some("yes"));
    let (postgres, redis) = backends.pids();
    kill_now(postgres);
    kill_now(redis);
    drop(backends);

    let backends = start(&state).await;
    assert_eq!(sql(&backends, "SELECT word FROM kept").await.as_deref(), Some("yes"));
    assert_eq!(redis_command(&backends, &["GET", "kept"]).await.as_deref(), Some("yes"));
    backends.stop(&|_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_is_refused_and_told_who_is_first() {
    let dir = state_folder();
    let first = StateLock::acquire(dir.path()).expect("nobody else has it");
    let options = LocalOptions { state_dir: dir.path().to_owned(), need_postgres: true, need_redis: true };
    let Err(error) = Backends::start(&options, &|_| {}).await else { panic!("a second host started") };
    let expected = format!("{} is in use by another host (pid {})", dir.path().display(), std::process::id());
    assert_eq!(error.to_string(), expected);
    drop(first);
    StateLock::acquire(dir.path()).expect("it is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_without_a_stop_ends_by_itself() {
    let dir = state_folder();
    let backends = start(dir.path()).await;
    let data = Home::prepare(dir.path(), &|_| {}).expect("the folders").data_dir;
    assert!(orphan::any_in(&data), "both work in their folders");
    drop(backends);
    until("both have ended", || !orphan::any_in(&data)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_host_left_running_is_stopped_first() {
    let dir = state_folder();
    start(dir.path()).await.stop(&|_| {}).await;

    // An earlier host's servers, from which the kernel took nothing away.
    let home = Home::prepare(dir.path(), &|_| {}).expect("the folders");
    let left = left_running(&home);
    let data = home.data_dir.join("redis");
    until("it is running", || orphan::any_in(&data)).await;

    let told = Mutex::new(Vec::new());
    let options = LocalOptions { state_dir: dir.path().to_owned(), need_postgres: false, need_redis: true };
    let backends = Backends::start(&options, &|step| told.lock().expect("the steps").push(step.to_owned()))
        .await
        .expect("the backends start");
    let told = told.into_inner().expect("the steps");
    assert!(told.iter().any(|step| step.contains("had left running")), "{told:?}");
    assert_eq!(left.join().expect("the waiting thread").code(), Some(0), "it was asked to stop, not killed");
    backends.stop(&|_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_password_is_set_anew_and_a_taken_port_is_passed_over() {
    let dir = state_folder();
    give_ports(dir.path());
    let options = LocalOptions { state_dir: dir.path().to_owned(), need_postgres: true, need_redis: false };
    let backends = Backends::start(&options, &|_| {}).await.expect("the first start");
    let before = backends.postgres_url().map(str::to_owned);
    let port = backends.postgres.as_ref().map(postgres::Postgres::port).expect("a port");
    sql(&backends, "CREATE TABLE kept ()").await;
    backends.stop(&|_| {}).await;

    std::fs::remove_file(dir.path().join("postgres-password")).expect("there is one");
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free now");
    let backends = Backends::start(&options, &|_| {}).await.expect("the second start");
    assert_ne!(backends.postgres_url().map(str::to_owned), before);
    assert_ne!(backends.postgres.as_ref().map(postgres::Postgres::port), Some(port));
    sql(&backends, "SELECT * FROM kept").await;
    drop(taken);

    let mode = |name: &str| dir.path().join(name).metadata().expect(name).permissions().mode() & 0o777;
    assert_eq!((mode("postgres-password"), mode("pgpass")), (0o600, 0o600));
    backends.stop(&|_| {}).await;
}

/// Run by root alone: another user is never in this situation.
#[tokio::test(flavor = "multi_thread")]
async fn under_a_folder_that_is_closed_to_others_data_are_kept_elsewhere() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).expect("its mode");
    let state = dir.path().join(".wasmyard");
    let backends = start(&state).await;
    sql(&backends, "CREATE TABLE kept ()").await;
    backends.stop(&|_| {}).await;
    let first = Home::prepare(&state, &|_| {}).expect("the folders").data_dir;
    assert!(first.starts_with("/var/lib/wasmyard"), "{}", first.display());

    let backends = start(&state).await;
    sql(&backends, "SELECT * FROM kept").await;
    backends.stop(&|_| {}).await;

    // A removed state folder is a new beginning, and leaves nothing behind.
    std::fs::remove_dir_all(&state).expect("it can be removed");
    drop(StateLock::acquire(&state).expect("nobody else has it"));
    let second = Home::prepare(&state, &|_| {}).expect("the folders").data_dir;
    assert_ne!(first, second);
    assert!(!first.exists(), "the old data are gone");
    std::fs::remove_dir_all(&second).expect("the test's own folder");
}

/// A Redis in the backends' folder that no keeper watches.
fn left_running(home: &Home) -> std::thread::JoinHandle<std::process::ExitStatus> {
    let data = home.data_dir.join("redis");
    let mut command = home.command(Path::new("redis-server"));
    command.args(["--bind", "127.0.0.1", "--port", "0", "--save", ""]);
    command.arg("--dir").arg(&data).arg("--unixsocket").arg(data.join("socket"));
    command.stdout(std::process::Stdio::null());
    let mut child = command.spawn().expect("redis-server is installed");
    // Waited for by a thread: an ended child that nobody waits for still has an id.
    std::thread::spawn(move || child.wait().expect("it can be waited for"))
}
