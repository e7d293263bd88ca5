//! The lab's exercises, and a host's whole life, with the real `wasmyard`: started,
//! stopped, killed and started again in a folder of its own.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use wasmyard_tests::{Program, Project};

#[test]
fn the_exercises_give_what_the_lab_says_and_the_data_survive_every_end() {
    let project = Project::new();
    let shop = project.up(&["--local"]);
    shop.run_the_lab();

    // Nothing in it is beyond ASCII, and that depends on how the cluster was made.
    assert_eq!(shop.ready()["warnings"], serde_json::json!([]));
    let product = r#"{"name": "Préface", "price": 9, "category": "КНИГИ Élite"}"#;
    assert_eq!(shop.post("/api/v1/products", product), "201");
    let category = "%D0%BA%D0%BD%D0%B8%D0%B3%D0%B8%20%C3%A9lite";
    for path in [
        format!("/api/v1/products?category={category}"),
        format!("/api/v1/products/search?q=PR%C3%89FACE&category={category}"),
    ] {
        let found = shop.curl(&path);
        assert!(found.contains("Préface") && !found.contains("similarity"), "{path}: {found}");
    }

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
    let users_port = project.ports()[0];
    let other = TcpListener::bind(("127.0.0.1", users_port)).expect("the port is free now");
    let shop = project.up(&["--local"]);
    assert!(shop.curl("/api/v1/users").contains("george"), "{}", project.log());
    let warning = format!("users has no port of its own: 127.0.0.1:{users_port}");
    let warnings = shop.ready()["warnings"].to_string();
    assert!(warnings.contains(&warning), "{warnings}");
    assert_eq!(
        (&shop.ready()["services"][2]["name"], &shop.ready()["services"][2]["direct_port"]),
        (&"users".into(), &Value::Null)
    );
    drop(other);

    // A crash of the host, with a write that was answered a moment ago.
    assert_eq!(shop.post("/api/v1/users", r#"{"username": "helen", "email": "helen@example.com"}"#), "201");
    shop.end("KILL");
    let shop = project.up(&["--local"]);
    assert_eq!(shop.ready()["warnings"], serde_json::json!([]));
    assert!(shop.curl("/api/v1/users").contains("helen"), "{}", project.log());
    assert_eq!(shop.post("/api/v1/users", r#"{"username": "ivan", "email": "ivan@example.com"}"#), "201");

    // A crash of the host and of its database with it.
    shop.crash_postgres();
    shop.end("KILL");
    let shop = project.up(&["--local"]);
    let users = shop.curl("/api/v1/users");
    assert!(users.contains("helen") && users.contains("ivan"), "{users}");
    assert_eq!(shop.end("TERM").code(), Some(0), "{}", project.log());
}

#[test]
fn the_table_tells_a_person_where_everything_is() {
    let project = Project::new();
    let (_shop, table) = project.up_for_people(&["--local"]);
    let line = |start: &str| {
        let line = table.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no {start} in {table}\n{}", project.log())).to_owned()
    };
    for service in ["users", "products", "orders"] {
        assert!(line(service).contains(&format!("/api/v1/{service}")), "{table}");
    }
    assert!(line("users").contains(&format!("http://localhost:{}", project.ports()[0])), "{table}");
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
    assert!(!project.dir().join(".wasmyard/data").exists(), "nothing was made ready for it");

    // Outside the local form nobody makes a key up.
    let keyless = project.run(&["up"]);
    let told = String::from_utf8_lossy(&keyless.stderr).into_owned();
    assert_eq!(keyless.status.code(), Some(1), "{told}");
    assert!(told.contains("auth.key is empty"), "{told}");
}

#[test]
fn a_manifest_that_is_wrong_ends_with_64_and_says_where() {
    let project = Project::new();
    let path = project.dir().join("wasmyard.toml");
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
    assert!(!project.dir().join(".wasmyard/data").exists(), "nothing is started for a wrong manifest");
}

/// What the lab's users do.
trait Lab {
    /// Runs all of the lab's exercises.
    fn run_the_lab(&self);
    /// The port in the line that opens the database.
    fn postgres(&self) -> u16;
    fn redis(&self) -> u16;
    fn curl(&self, path: &str) -> String;
    /// The status of the answer to a POST.
    fn post(&self, path: &str, body: &str) -> String;
    /// Ends the database without giving it a chance to write anything more.
    fn crash_postgres(&self);
}

impl Lab for Program<'_> {
    fn run_the_lab(&self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab.sh");
        let [users, products, orders] = self.project().ports();
        let ran = Command::new("bash")
            .arg(script)
            .env("HTTPS_PORT", self.https().to_string())
            .env("USERS_PORT", users.to_string())
            .env("PRODUCTS_PORT", products.to_string())
            .env("ORDERS_PORT", orders.to_string())
            .env("PGPORT", self.postgres().to_string())
            .env("PGPASSFILE", self.project().dir().join(".wasmyard/pgpass"))
            .env("REDIS_PORT", self.redis().to_string())
            .output()
            .expect("bash");
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        println!("{out}{err}");
        assert!(ran.status.success(), "{out}{err}\n{}", self.project().log());
        assert!(out.ends_with("All exercises give what the lab says.\n"), "{out}");
    }

    fn postgres(&self) -> u16 {
        port_option(&self.ready()["psql"])
    }

    fn redis(&self) -> u16 {
        port_option(&self.ready()["redis_cli"])
    }

    fn curl(&self, path: &str) -> String {
        let url = format!("https://localhost:{}{path}", self.https());
        let ran = Command::new("curl").args(["-sSk", &url]).output().expect("curl");
        String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr)
    }

    fn post(&self, path: &str, body: &str) -> String {
        let url = format!("https://localhost:{}{path}", self.https());
        let json = "content-type: application/json";
        let arguments = ["-sSk", "-o", "/dev/null", "-w", "%{http_code}", "-H", json, "-d", body, &url];
        let ran = Command::new("curl").args(arguments).output().expect("curl");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    fn crash_postgres(&self) {
        let out = Command::new("bash")
            .args(["-c", "kill -KILL $(head -n 1 .wasmyard/data/postgres/postmaster.pid)"])
            .current_dir(self.project().dir())
            .output()
            .expect("bash");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}

fn port_option(line: &Value) -> u16 {
    let mut words = line.as_str().expect("a line to paste").split_whitespace();
    words.find(|word| *word == "-p");
    words.next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port in {line}"))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
