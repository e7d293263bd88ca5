//! The real `wasmyard`, as a program in a folder of its own.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use wasmyard::testing::servers::free_port;

use crate::components;
use crate::shop::repository;

/// Generous: a first start makes a Postgres cluster and compiles three components.
const PATIENCE: Duration = Duration::from_secs(180);
/// The pause between two looks at whether a program has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// A folder with the repository's manifest, its components already built.
pub struct Project {
    dir: TempDir,
    ports: [u16; 3],
    /// Variables of the environment, for each program that is run in it.
    env: Vec<(String, String)>,
}

/// A running `wasmyard up`; killed when it is dropped.
pub struct Program<'a> {
    child: Child,
    ready: Value,
    project: &'a Project,
}

impl Project {
    /// A new one, with ports for the services and the backends that nobody has.
    ///
    /// # Panics
    /// When the folder cannot be made.
    #[expect(clippy::new_without_default, reason = "a folder on disk is no default value")]
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        // The user that the database runs as must be able to enter it.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))
            .expect("the folder is this user's");
        let root = repository();
        let ports = [free_port(), free_port(), free_port()];
        let manifest = fs::read_to_string(root.join("wasmyard.toml")).expect("the manifest");
        let manifest = adapted(&manifest, &root, ports);
        fs::write(dir.path().join("wasmyard.toml"), manifest).expect("the manifest is written");
        // The standard ports of its backends come and go with those of other tests.
        let state = dir.path().join(".wasmyard");
        fs::create_dir(&state).expect("the state folder");
        let backends = json!({ "postgres": free_port(), "redis": free_port() });
        fs::write(state.join("ports.json"), backends.to_string()).expect("the ports are written");
        Self { dir, ports, env: Vec::new() }
    }

    /// Sets a variable of the environment for what is run from now on.
    pub fn set_env(&mut self, name: &str, value: impl Into<String>) {
        self.env.push((name.to_owned(), value.into()));
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The own ports of users, products and orders.
    pub fn ports(&self) -> [u16; 3] {
        self.ports
    }

    /// What the programs have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[])
    }

    /// The same with more variables of the environment.
    ///
    /// # Panics
    /// When it does not end.
    pub fn run_with(&self, arguments: &[&str], env: &[(&str, &str)]) -> Output {
        let mut command = self.command(arguments);
        command.envs(env.iter().copied());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let pid = child.id();
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || send.send(child.wait_with_output()));
        let Ok(output) = receive.recv_timeout(PATIENCE) else {
            let _ = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
            panic!("{arguments:?} does not end");
        };
        output.expect("it runs")
    }

    /// Starts `wasmyard up`, and waits until it is ready.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn up(&self, arguments: &[&str]) -> Program<'_> {
        let (child, stdout) = self.spawn(&[&["up", "--json"], arguments].concat());
        let mut program = Program { child, ready: Value::Null, project: self };
        let ready = self.within_patience(move || {
            serde_json::Deserializer::from_reader(stdout).into_iter::<Value>().next()
        });
        program.ready = match ready {
            Some(Ok(ready)) if ready["https"].is_string() => ready,
            other => panic!("not ready: {other:?}\n{}", self.log()),
        };
        program
    }

    /// The same without `--json`: with what it prints when it is ready.
    pub fn up_for_people(&self, arguments: &[&str]) -> (Program<'_>, String) {
        let (child, stdout) = self.spawn(&[&["up"], arguments].concat());
        let program = Program { child, ready: Value::Null, project: self };
        let table = self.within_patience(move || {
            let mut table = String::new();
            for line in BufReader::new(stdout).lines() {
                let line = line.expect("text");
                let last = line.contains("Ctrl-C");
                writeln!(table, "{line}").expect("a string takes it");
                if last {
                    break;
                }
            }
            table
        });
        (program, table)
    }

    fn spawn(&self, arguments: &[&str]) -> (Child, ChildStdout) {
        let mut child = self.command(arguments).stdout(Stdio::piped()).spawn().expect("it starts");
        let stdout = child.stdout.take().expect("a pipe");
        (child, stdout)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let log = fs::File::options().create(true).append(true).open(self.log_path()).expect("a log");
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.dir.path()).stdin(Stdio::null()).stderr(log);
        for ours in [
            "DATABASE_URL",
            "REDIS_URL",
            "WASMYARD_LOG",
            "WASMYARD_MANIFEST",
            "WASMYARD_BIND",
            "WASMYARD_AUTH_KEY",
        ] {
            command.env_remove(ours);
        }
        for port in ["WASMYARD_HTTPS_PORT", "WASMYARD_HTTP_PORT", "WASMYARD_ADMIN_PORT"] {
            command.env(port, "0");
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn within_patience<T: Send + 'static>(&self, wait: impl FnOnce() -> T + Send + 'static) -> T {
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || send.send(wait()));
        receive.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nothing came\n{}", self.log()))
    }
}

impl Program<'_> {
    /// The project that it runs in.
    pub fn project(&self) -> &Project {
        self.project
    }

    /// What it said when it was ready.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// The port of HTTPS.
    ///
    /// # Panics
    /// When it has not said it.
    pub fn https(&self) -> u16 {
        let address = self.ready["https"].as_str().expect("an address");
        address.parse::<std::net::SocketAddr>().expect("an address").port()
    }

    /// Sends a signal, and waits for the end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn end(mut self, signal: &str) -> ExitStatus {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "the signal is sent");
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < give_up, "it does not end:\n{}", self.project.log());
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Beside the folder of this test's own program.
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("this program's path");
    let binary = test.ancestors().nth(2).expect("it is in deps/").join("wasmyard");
    assert!(binary.is_file(), "{} is missing: run `cargo build --package wasmyard` first", binary.display());
    binary
}

/// The manifest for another folder: components where the tests have built them, and
/// ports that are free.
fn adapted(manifest: &str, root: &Path, ports: [u16; 3]) -> String {
    let mut adapted = String::new();
    for line in manifest.lines() {
        if line.starts_with("build = ") {
            continue;
        }
        let component = [
            ("users", components::USERS),
            ("products", components::PRODUCTS),
            ("orders", components::ORDERS),
        ]
        .into_iter()
        .find(|(name, _)| line.starts_with("component = ") && line.ends_with(&format!("/{name}.wasm\"")));
        let port = [5000, 3000, 8080].iter().position(|port| line == format!("port = {port}"));
        let line = match (component, port) {
            (Some((_, path)), _) => format!("component = {path:?}"),
            (_, Some(index)) => format!("port = {}", ports[index]),
            _ if ["migrations = ", "sample_data = ", "folder = "].iter().any(|key| line.starts_with(key)) => {
                line.replacen('"', &format!("\"{}/", root.display()), 1)
            }
            _ => line.to_owned(),
        };
        writeln!(adapted, "{line}").expect("a string takes it");
    }
    assert_eq!(adapted.matches("guests/wasm32-wasip2").count(), 3, "{adapted}");
    assert!(ports.iter().all(|port| adapted.contains(&format!("port = {port}\n"))), "{adapted}");
    adapted
}
