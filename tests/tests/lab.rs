//! The lab's exercises, and a host's whole life, with the real `wasmyard`: started,
//! stopped, killed and started again in a folder of its own.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use wasmyard_tests::components;

/// Generous: a first start makes a Postgres cluster and compiles three components.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn the_exercises_give_what_the_lab_says_and_the_data_survive_every_end() {
    let project = Project::new();
    let shop = project.up();
    shop.run_the_lab();

    // As the lab's `docker-compose ps` and `logs` would show.
    let status = project.run(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).expect("JSON");
    let services = status["services"].as_array().expect("services");
    assert_eq!(services.len(), 3, "{status}");
    assert!(services.iter().all(|service| service["state"] == "serving"), "{status}");
    let rotated = project.run(&["keys", "rotate", "--json"]);
    let listed = project.run(&["keys", "list", "--json"]);
    assert_eq!((rotated.status.code(), &rotated.stdout), (Some(0), &listed.stdout), "{rotated:?}");
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let public: Value = serde_json::from_str(&shop.curl("/.well-known/jwks.json")).expect("JSON");
    for (place, state) in ["current", "previous"].into_iter().enumerate() {
        assert_eq!(listed["keys"][place]["state"], state, "{listed}");
        assert_eq!(listed["keys"][place]["kid"], public["keys"][place]["kid"]);
    }
    let log = project.log();
    for service in ["users", "products", "orders"] {
        assert!(log.contains(&format!("\"service\":\"{service}\"")), "no line about {service}:\n{log}");
    }

    // Ctrl-C.
    let (postgres, redis) = (shop.postgres(), shop.redis());
    assert_eq!(shop.end("INT").code(), Some(0), "{}", project.log());
    assert!(is_free(postgres) && is_free(redis), "the backends have outlived the host");
    assert_eq!(project.run(&["status"]).status.code(), Some(69), "nobody is there to ask");

    // The same data again. A port of a service that another program has is a warning.
    let users_port = project.ports[0];
    let other = TcpListener::bind(("127.0.0.1", users_port)).expect("the port is free now");
    let shop = project.up();
    assert!(shop.curl("/api/v1/users").contains("george"), "{}", project.log());
    let warning = format!("users has no port of its own: 127.0.0.1:{users_port}");
    let warnings = shop.ready["warnings"].to_string();
    assert!(warnings.contains(&warning), "{warnings}");
    assert_eq!(
        (&shop.ready["services"][2]["name"], &shop.ready["services"][2]["direct_port"]),
        (&"users".into(), &Value::Null)
    );
    drop(other);

    // A crash of the host, with a write that was answered a moment ago.
    assert_eq!(shop.post("/api/v1/users", r#"{"username": "helen", "email": "helen@example.com"}"#), "201");
    shop.end("KILL");
    let shop = project.up();
    assert_eq!(shop.ready["warnings"], serde_json::json!([]));
    assert!(shop.curl("/api/v1/users").contains("helen"), "{}", project.log());
    assert_eq!(shop.post("/api/v1/users", r#"{"username": "ivan", "email": "ivan@example.com"}"#), "201");

    // A crash of the host and of its database with it.
    shop.crash_postgres();
    shop.end("KILL");
    let shop = project.up();
    let users = shop.curl("/api/v1/users");
    assert!(users.contains("helen") && users.contains("ivan"), "{users}");
    assert_eq!(shop.end("TERM").code(), Some(0), "{}", project.log());
}

#[test]
fn the_table_tells_a_person_where_everything_is() {
    let project = Project::new();
    let mut child = project.command(&["up", "--local"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let stdout = child.stdout.take().expect("a pipe");
    let _end = Shop { child, ready: Value::Null, project: &project };
    let table = within_patience(&project, move || {
        let mut table = String::new();
        for line in std::io::BufRead::lines(std::io::BufReader::new(stdout)) {
            let line = line.expect("text");
            let last = line.contains("Ctrl-C");
            writeln!(table, "{line}").expect("a string takes it");
            if last {
                break;
            }
        }
        table
    });
    let line = |start: &str| {
        let line = table.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no {start} in {table}\n{}", project.log())).to_owned()
    };
    for service in ["users", "products", "orders"] {
        assert!(line(service).contains(&format!("/api/v1/{service}")), "{table}");
    }
    assert!(line("users").contains(&format!("http://localhost:{}", project.ports[0])), "{table}");
    assert!(line("Admin").contains("http://127.0.0.1:"), "{table}");

    // What the table offers for pasting works when it is pasted.
    let paste = |name: &str, more: &str| {
        let line = line(name);
        let command = line.strip_prefix(name).expect("it begins so").trim().to_owned() + more;
        let ran = Command::new("bash").args(["-c", &command]).output().expect("bash");
        assert!(ran.status.success(), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    assert!(paste("Try", " -s").starts_with('['));
    assert_eq!(paste("Postgres", " -A -t -c 'SELECT count(*) FROM products'").trim(), "10");
    assert_eq!(paste("Redis", " PING").trim(), "PONG");
}

#[test]
fn what_would_be_open_to_others_is_not_served() {
    let project = Project::new();
    let open = project.run_with(&["up", "--local"], &[("WASMYARD_BIND", "0.0.0.0")]);
    let told = String::from_utf8_lossy(&open.stderr).into_owned();
    assert_eq!(open.status.code(), Some(1), "{told}");
    assert!(told.contains("POST /api/v1/orders") && told.contains("0.0.0.0"), "{told}");
    assert!(!project.dir.path().join(".wasmyard/data").exists(), "nothing was made ready for it");

    // Outside the local form nobody makes a key up.
    let keyless = project.run(&["up"]);
    let told = String::from_utf8_lossy(&keyless.stderr).into_owned();
    assert_eq!(keyless.status.code(), Some(1), "{told}");
    assert!(told.contains("auth.key is empty"), "{told}");
}

#[test]
fn a_manifest_that_is_wrong_ends_with_64_and_says_where() {
    let project = Project::new();
    let path = project.dir.path().join("wasmyard.toml");
    let manifest = fs::read_to_string(&path).expect("the manifest");
    for (right, wrong, told) in [
        ("isolation = \"instance\"", "isolaton = \"instance\"", "isolation"),
        ("\nhttps_port = ", "\nhttps_prot = ", "https_port"),
        ("[services.orders.grants]", "[services.orders.grant]", "grants"),
    ] {
        let before = manifest.split_once(right).expect("it is there").0;
        let line = before.lines().count() + 1;
        fs::write(&path, manifest.replacen(right, wrong, 1)).expect("the manifest is written");
        for verb in [&["up", "--local"][..], &["check"]] {
            let ran = project.run(verb);
            let said = String::from_utf8_lossy(&ran.stderr);
            assert_eq!(ran.status.code(), Some(64), "{said}");
            assert!(said.contains(told) && said.contains(&format!("wasmyard.toml:{line}")), "{said}");
        }
    }
    assert!(!project.dir.path().join(".wasmyard/data").exists(), "nothing is started for a wrong manifest");
}

/// A folder with the repository's manifest, its components already built.
struct Project {
    dir: TempDir,
    /// The own ports of users, products and orders.
    ports: [u16; 3],
}

/// A running `wasmyard up --local`; gone when it is dropped.
struct Shop<'a> {
    child: Child,
    /// What it said when it was ready.
    ready: Value,
    project: &'a Project,
}

impl Project {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        // The user that the database runs as must be able to enter it.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))
            .expect("the folder is this user's");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let ports = [free_port(), free_port(), free_port()];
        let manifest = fs::read_to_string(root.join("wasmyard.toml")).expect("the manifest");
        let manifest = adapted(&manifest, &root, ports);
        fs::write(dir.path().join("wasmyard.toml"), manifest).expect("the manifest is written");
        Self { dir, ports }
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
        command
    }

    /// Runs it to its end.
    fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[])
    }

    /// Runs it to its end, with these variables.
    fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
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

    /// Starts it, and waits until it is ready.
    fn up(&self) -> Shop<'_> {
        let mut child =
            self.command(&["up", "--local", "--json"]).stdout(Stdio::piped()).spawn().expect("it starts");
        let stdout = child.stdout.take().expect("a pipe");
        let mut shop = Shop { child, ready: Value::Null, project: self };
        let ready = within_patience(self, move || {
            serde_json::Deserializer::from_reader(stdout).into_iter::<Value>().next()
        });
        shop.ready = match ready {
            Some(Ok(ready)) if ready["https"].is_string() => ready,
            other => panic!("not ready: {other:?}\n{}", self.log()),
        };
        shop
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Shop<'_> {
    fn run_the_lab(&self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab.sh");
        let [users, products, orders] = self.project.ports;
        let ran = Command::new("bash")
            .arg(script)
            .env("HTTPS_PORT", self.https().to_string())
            .env("USERS_PORT", users.to_string())
            .env("PRODUCTS_PORT", products.to_string())
            .env("ORDERS_PORT", orders.to_string())
            .env("PGPORT", self.postgres().to_string())
            .env("PGPASSFILE", self.project.dir.path().join(".wasmyard/pgpass"))
            .env("REDIS_PORT", self.redis().to_string())
            .output()
            .expect("bash");
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        println!("{out}{err}");
        assert!(ran.status.success(), "{out}{err}\n{}", self.project.log());
        assert!(out.ends_with("All exercises give what the lab says.\n"), "{out}");
    }

    fn https(&self) -> u16 {
        let address = self.ready["https"].as_str().expect("an address");
        address.parse::<std::net::SocketAddr>().expect("an address").port()
    }

    /// The port in the line that opens the database.
    fn postgres(&self) -> u16 {
        port_option(&self.ready["psql"])
    }

    fn redis(&self) -> u16 {
        port_option(&self.ready["redis_cli"])
    }

    fn curl(&self, path: &str) -> String {
        let url = format!("https://localhost:{}{path}", self.https());
        let ran = Command::new("curl").args(["-sSk", &url]).output().expect("curl");
        String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr)
    }

    /// The status of the answer to a POST.
    fn post(&self, path: &str, body: &str) -> String {
        let url = format!("https://localhost:{}{path}", self.https());
        let json = "content-type: application/json";
        let arguments = ["-sSk", "-o", "/dev/null", "-w", "%{http_code}", "-H", json, "-d", body, &url];
        let ran = Command::new("curl").args(arguments).output().expect("curl");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// Ends the database without giving it a chance to write anything more.
    fn crash_postgres(&self) {
        let out = Command::new("bash")
            .args(["-c", "kill -KILL $(head -n 1 .wasmyard/data/postgres/postmaster.pid)"])
            .current_dir(self.project.dir.path())
            .output()
            .expect("bash");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    /// Sends a signal, and waits for the end.
    fn end(mut self, signal: &str) -> ExitStatus {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "the signal is sent");
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < give_up, "it does not end:\n{}", self.project.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Shop<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
            _ if line.starts_with("migrations = ") || line.starts_with("sample_data = ") => {
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

/// Beside the folder of this test's own program.
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("this program's path");
    let binary = test.ancestors().nth(2).expect("it is in deps/").join("wasmyard");
    assert!(binary.is_file(), "{} is missing: run `cargo build --package wasmyard` first", binary.display());
    binary
}

fn within_patience<T: Send + 'static>(project: &Project, wait: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || send.send(wait()));
    receive.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nothing came\n{}", project.log()))
}

fn port_option(line: &Value) -> u16 {
    let mut words = line.as_str().expect("a line to paste").split_whitespace();
    words.find(|word| *word == "-p");
    words.next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port in {line}"))
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
