//! Two hosts behind nginx, as `compose.yaml` has them: the real programs on one database
//! and one Redis, and the configuration of `deploy/nginx/` in a real nginx.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use wasmyard::testing::servers::{TestPostgres, TestRedis, free_port};
use wasmyard_tests::component::rebuilt;
use wasmyard_tests::{
    Answer, Dialer, EventSource, Load, Program, Project, Session, at_once, client, components, eventually,
    repository, until,
};

#[test]
fn swaps_on_both_hosts_and_the_death_of_one_go_unnoticed() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let database = TestPostgres::shared().database();
    let redis = TestRedis::start();
    let hosts = [(); 2].map(|()| host(&database, &redis.url()));
    let ([first, second], nginx) = start(&hosts);
    let visitor = nginx.client();
    runtime.block_on(nginx.fill(&visitor));

    let paths = ["/api/v1/users", "/api/v1/users/1", "/api/v1/products", "/api/v1/users/stats"];
    let load = runtime.block_on(async { Load::at(&nginx.origin(), || nginx.client(), &paths) });
    for host in &hosts {
        runtime.block_on(until("each host has its share", async || requests(host) > 0));
    }

    let file = hosts[0].dir().join("new.wasm");
    fs::write(&file, rebuilt(components::USERS, 2)).expect("a component");
    let before = version(&hosts[0]);
    for host in &hosts {
        let ran = host.run(&["deploy", "users", file.to_str().expect("a path")]);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    let after = [&hosts[0], &hosts[1]].map(version);
    assert!(after[0] == after[1] && after[0] != before, "both hosts have the new version: {after:?}");
    let answer = runtime.block_on(nginx.get(&visitor, "/api/v1/users"));
    assert_eq!(answer.version(), after[0]);

    first.end("KILL");
    runtime.block_on(async {
        // On connections of their own, so that nginx chooses a host for each.
        for _ in 0..20 {
            assert_eq!(nginx.get(&nginx.client(), "/api/v1/products").await.status, StatusCode::OK);
        }
        let user = json!({ "username": "ida", "email": "ida@example.com" });
        assert_eq!(nginx.post(&visitor, "/api/v1/users", &user).await.status, StatusCode::CREATED);
    });

    // The load has met the dead host, and nginx has asked the other one for it.
    runtime.block_on(until("nginx has asked again", async || nginx.log().contains("GET 200 502, 200")));

    let again = hosts[0].up(&[]);
    runtime.block_on(until("the host that is back serves again", async || requests(&hosts[0]) > 0));
    runtime.block_on(load.stop_unharmed());
    for program in [again, second] {
        assert_eq!(program.end("TERM").code(), Some(0));
    }
}

#[test]
fn events_and_limits_are_one_over_both_hosts() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let database = TestPostgres::shared().database();
    let redis = TestRedis::start();
    let hosts = [(); 2].map(|()| {
        let mut host = host(&database, &redis.url());
        host.set_env("WASMYARD_LOGINS_AT_ONCE", "12");
        // A busy machine answers late, and two hosts that decide by themselves let pass more.
        host.set_env("WASMYARD_RATE_LIMIT_WAIT_MS", "10000");
        // No token comes back within the test: one an hour.
        host.set_env("WASMYARD_LOGINS_PER_MINUTE", "1");
        let path = host.dir().join("wasmyard.toml");
        let manifest = fs::read_to_string(&path).expect("the manifest");
        let (minute, hour) = (r#"-30}", per = "1m""#, r#"-30}", per = "1h""#);
        assert!(manifest.contains(minute), "the limit of logins is another one");
        fs::write(&path, manifest.replace(minute, hour)).expect("written");
        host
    });
    let ([first, second], nginx) = start(&hosts);
    let visitor = nginx.client();
    runtime.block_on(nginx.fill(&visitor));
    runtime.block_on(async {
        let (owner, connection) =
            tokio_postgres::connect(&database, tokio_postgres::NoTls).await.expect("the database");
        tokio::spawn(connection);
        let product = "INSERT INTO products (name, price, stock) VALUES ('Pen', 1, 1000)";
        owner.batch_execute(product).await.expect("a product");
        let ida = json!({ "username": "ida", "email": "ida@example.com", "password": "ida-password" });
        assert_eq!(nginx.post(&visitor, "/api/v1/users", &ida).await.status, StatusCode::CREATED);
        let login = json!({ "username": "ida", "password": "ida-password" });
        let session = Session::of(&nginx.post(&visitor, "/api/v1/auth/login", &login).await);
        let bearer = format!("Bearer {}", session.access);

        // nginx sends each of the two to the host that has fewer connections.
        let dialer = Dialer::new(nginx.port, &nginx.certificate);
        let mut sockets = [
            dialer.open_as(&session, "/api/v1/orders/ws").await,
            dialer.open_as(&session, "/api/v1/orders/ws").await,
        ];
        for socket in &mut sockets {
            socket.ready().await;
        }
        for host in [&first, &second] {
            let line = r#"wasmyard_event_subscribers{topic="orders",form="websocket"} 1"#;
            assert!(metrics(host).await.contains(line), "each host has one of them");
        }
        let read = nginx.client().get(nginx.origin() + "/api/v1/orders/events");
        let mut source = EventSource::of(read.header("authorization", &bearer)).await;
        assert_eq!(source.next().await.expect("at once, not gathered by nginx").kind, "ready");
        for _ in 0..10 {
            let order = visitor.post(nginx.origin() + "/api/v1/orders").header("authorization", &bearer);
            let made = Answer::to(order.json(&json!({ "product_id": 1, "quantity": 1 }))).await;
            assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
            let event = sockets[0].message().await;
            assert_eq!(event["order_id"], made.json()["id"]);
            assert_eq!(sockets[1].message().await, event, "the same over the other host");
            assert_eq!(source.next().await.expect("an event").data, event);
        }

        // One login has been counted, wherever it was.
        let before = [&hosts[0], &hosts[1]].map(requests);
        let wrong = json!({ "username": "ida", "password": "not-hers" });
        let guess = |client: reqwest::Client| {
            let request = client.post(nginx.origin() + "/api/v1/auth/login").json(&wrong);
            async move { Answer::to(request).await.status.as_u16() }
        };
        let guesses = (0..60).map(|_| guess(nginx.client())).collect::<Vec<_>>();
        let statuses = at_once(guesses).join_all().await;
        let count = |status| statuses.iter().filter(|known| **known == status).count();
        assert_eq!((count(401), count(429)), (11, 49), "{statuses:?}");
        for (host, before) in hosts.iter().zip(before) {
            assert!(requests(host) > before, "both hosts were asked");
        }
        // A client with another address has a limit of its own, as nginx tells.
        let elsewhere = client(&nginx.certificate, |builder| {
            builder.timeout(Duration::from_secs(30)).local_address(IpAddr::from([127, 0, 0, 2]))
        });
        assert_eq!(guess(elsewhere).await, 401);
        assert_eq!(guess(nginx.client()).await, 429);
    });
    for program in [first, second] {
        assert_eq!(program.end("TERM").code(), Some(0));
    }
}

#[test]
fn a_service_that_answers_503_takes_no_host_away_from_the_others() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let database = TestPostgres::shared().database();
    let redis = TestRedis::start();
    let hosts = [(); 2].map(|()| host(&database, &redis.url()));
    let ([first, second], nginx) = start(&hosts);
    let visitor = nginx.client();
    runtime.block_on(nginx.fill(&visitor));
    runtime.block_on(async {
        // The role of one service is shut out of the database, on both hosts.
        let (owner, connection) =
            tokio_postgres::connect(&database, tokio_postgres::NoTls).await.expect("the database");
        tokio::spawn(connection);
        let shut_out = "DO $$ BEGIN
            EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database());
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO products_service, orders_service',
                current_database());
            PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND usename = 'users_service';
        END $$";
        owner.batch_execute(shut_out).await.expect("the owner may");
        let direct = nginx.client();
        for host in [&first, &second] {
            until("the service answers 503", async || {
                let url = format!("https://localhost:{}/api/v1/users/404", host.https());
                Answer::to(direct.get(url)).await.status == StatusCode::SERVICE_UNAVAILABLE
            })
            .await;
        }
        for id in 1_000..1_020 {
            let path = format!("/api/v1/users/{id}");
            nginx.get(&visitor, &path).await.problem(503);
            // nginx gives a new connection to the host that has fewer, and may take either.
            let (client, path) = (nginx.client(), format!("/api/v1/products/{id}"));
            nginx.get(&client, &path).await.problem(404);
            assert_eq!(nginx.get(&client, "/api/v1/products").await.status, StatusCode::OK);
        }
    });
    for program in [first, second] {
        assert_eq!(program.end("TERM").code(), Some(0));
    }
}

/// What a host counts.
async fn metrics(host: &Program<'_>) -> String {
    let admin = host.ready()["admin"].as_str().expect("an address");
    let answer = Answer::to(reqwest::Client::new().get(format!("http://{admin}/metrics"))).await;
    answer.text().to_owned()
}

/// A host as in production, on a port that it keeps.
fn host(database: &str, redis: &str) -> Project {
    let mut host = Project::new();
    host.set_env("DATABASE_URL", database);
    host.set_env("REDIS_URL", redis);
    host.set_env("WASMYARD_SECRET", "0123456789abcdef");
    host.set_env("WASMYARD_AUTH_KEY", "0123456789abcdef".repeat(4));
    host.set_env("WASMYARD_HTTPS_PORT", free_port().to_string());
    host.set_env("WASMYARD_HTTP_PORT", "false");
    host.set_env("WASMYARD_TRUSTED_PROXIES", "127.0.0.1");
    host.set_env("WASMYARD_HOSTS", "2");
    host
}

/// Starts both hosts, and nginx in front of them.
fn start(hosts: &[Project; 2]) -> ([Program<'_>; 2], Nginx) {
    // The first one makes the tables, and the certificate that both of them have.
    let first = hosts[0].up(&[]);
    share_certificate(hosts);
    let second = hosts[1].up(&[]);
    let nginx = Nginx::start(&hosts[0].dir().join(".wasmyard/tls"), [first.https(), second.https()]);
    ([first, second], nginx)
}

/// What the volume does that both hosts have.
fn share_certificate([from, to]: &[Project; 2]) {
    let tls = to.dir().join(".wasmyard/tls");
    fs::create_dir_all(&tls).expect("a folder");
    for name in ["self-signed.pem", "self-signed.key"] {
        fs::copy(from.dir().join(".wasmyard/tls").join(name), tls.join(name)).expect("it was made");
    }
}

/// Requests that a host's services have answered since it started.
fn requests(host: &Project) -> u64 {
    services(host).iter().filter_map(|service| service["requests"].as_u64()).sum()
}

/// The version of the users that a host serves.
fn version(host: &Project) -> String {
    let services = services(host);
    let users = services.iter().find(|service| service["name"] == "users").expect("the service");
    users["version"].as_str().expect("a version").to_owned()
}

fn services(host: &Project) -> Vec<Value> {
    let ran = host.run(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    status["services"].as_array().expect("services").clone()
}

/// A running nginx; told to end when it is dropped.
struct Nginx {
    child: Child,
    port: u16,
    certificate: Vec<u8>,
    dir: TempDir,
}

impl Nginx {
    /// Starts it in front of two ports, after it has found its configuration good. It is as
    /// `compose.yaml` has it, but that what is `/tmp` there is a folder of its own, that it logs
    /// what it asked the hosts, and that addresses take the place of names.
    fn start(tls: &Path, hosts: [u16; 2]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let (pem, key) = (tls.join("self-signed.pem"), tls.join("self-signed.key"));
        let temporary = dir.path().display().to_string();
        let output = Path::new(&rendered_into().replacen("/tmp", &temporary, 1)).to_owned();
        let mut template = deployed("wasmyard.conf.template");
        for (name, value) in [
            ("NGINX_LOCAL_RESOLVERS", "127.0.0.1".to_owned()),
            ("NGINX_LISTEN", format!("127.0.0.1:{port}")),
            ("NGINX_TLS_CERT", pem.display().to_string()),
            ("NGINX_TLS_KEY", key.display().to_string()),
            ("WASMYARD_CERT", pem.display().to_string()),
            ("WASMYARD_HOST_1", format!("127.0.0.1:{}", hosts[0])),
            ("WASMYARD_HOST_2", format!("127.0.0.1:{}", hosts[1])),
        ] {
            let name = format!("${{{name}}}");
            assert!(template.contains(&name), "the template has no {name}");
            template = template.replace(&name, &value);
        }
        assert!(!template.contains("${NGINX") && !template.contains("${WASMYARD"), "{template}");
        // The image makes no folder for it: a file that cannot be written is none.
        fs::write(output.join("wasmyard.conf"), template).expect("written");

        // A master that is root would give its workers to another user, who may not enter
        // the folder.
        let mut conf = deployed("nginx.conf").replace("/tmp/", &format!("{temporary}/"));
        let asked = "log_format asked '$request_method $status $upstream_status';";
        let log = format!("{asked} access_log {temporary}/access.log asked;");
        assert!(conf.contains("access_log off;"), "{conf}");
        conf = conf.replace("access_log off;", &log);
        if nix::unistd::geteuid().is_root() {
            conf.insert_str(0, "user root;\n");
        }
        let conf_path = dir.path().join("nginx.conf");
        fs::write(&conf_path, conf).expect("written");
        let nginx = || {
            let mut command = Command::new(program());
            command.arg("-p").arg(dir.path()).arg("-c").arg(&conf_path);
            command
        };
        let checked = nginx().arg("-t").output().expect("nginx runs");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let child = nginx().args(["-g", "daemon off;"]).stdin(Stdio::null()).spawn().expect("nginx starts");
        let certificate = fs::read(pem).expect("the certificate was made");
        Self { child, port, certificate, dir }
    }

    fn origin(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// A line for each request: its method, its status, and what the hosts said that were
    /// asked for it.
    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default()
    }

    fn client(&self) -> reqwest::Client {
        client(&self.certificate, |builder| builder.timeout(Duration::from_secs(30)))
    }

    async fn get(&self, client: &reqwest::Client, path: &str) -> Answer {
        Answer::to(client.get(self.origin() + path)).await
    }

    async fn post(&self, client: &reqwest::Client, path: &str, body: &Value) -> Answer {
        Answer::to(client.post(self.origin() + path).json(body)).await
    }

    /// Waits until it listens, and makes the first user.
    async fn fill(&self, client: &reqwest::Client) {
        eventually("nginx listens", async || client.get(self.origin() + "/api/health").send().await.ok())
            .await;
        let user = json!({ "username": "hedy", "email": "hedy@example.com" });
        assert_eq!(self.post(client, "/api/v1/users", &user).await.status, StatusCode::CREATED);
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it only when it is told so, and not when it is killed.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// Where the image of nginx writes its configuration, which has to be a folder that is there
/// and can be written to when the image looks.
fn rendered_into() -> String {
    let service = compose("nginx");
    let key = "NGINX_ENVSUBST_OUTPUT_DIR: ";
    let folder = service.lines().find_map(|line| line.trim().strip_prefix(key)).expect(key).to_owned();
    let writable = service.lines().find(|line| line.trim().starts_with("tmpfs:")).expect("a tmpfs");
    assert!(writable.contains(&format!("\"{folder}:mode=1777\"")), "{folder} is none of {writable}");
    // All that the template asks for is set, or is what the image finds out by itself.
    for name in
        deployed("wasmyard.conf.template").split("${").skip(1).filter_map(|rest| rest.split('}').next())
    {
        let known = service.contains(&format!("\n      {name}: ")) || name == "NGINX_LOCAL_RESOLVERS";
        assert!(known || name.is_empty(), "compose.yaml sets no {name}");
    }
    folder
}

/// What `compose.yaml` says of a service.
fn compose(service: &str) -> String {
    let text = fs::read_to_string(repository().join("compose.yaml")).expect("a file of the repository");
    let (_, rest) = text.split_once(&format!("\n  {service}:\n")).expect("the service");
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    lines.fold(String::from("\n"), |text, line| text + line + "\n")
}

#[test]
fn only_https_is_published() {
    let text = fs::read_to_string(repository().join("compose.yaml")).expect("a file of the repository");
    assert_eq!(text.matches("ports:").count(), 1);
    assert!(compose("nginx").contains("    ports:\n      - \"443:8443\"\n"));
}

/// A file of the deployment.
fn deployed(name: &str) -> String {
    fs::read_to_string(repository().join("deploy/nginx").join(name)).expect("a file of the repository")
}

/// Debian has it where only root's PATH looks.
fn program() -> PathBuf {
    let debian = Path::new("/usr/sbin/nginx");
    if debian.is_file() { debian.to_owned() } else { "nginx".into() }
}
