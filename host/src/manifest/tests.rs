//! Good manifests, and every kind of fault with the words that a user reads.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::limits;

/// A folder with the files that the manifests below name.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(dir.path().join("migrations")).expect("a folder in it");
    for file in ["users.wasm", "cert.pem", "key.pem", "sample.sql"] {
        std::fs::write(dir.path().join(file), "").expect("a file in it");
    }
    dir
}

fn env(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("9443".into()),
        "SECRET" => Some("hunter2".into()),
        "SECRET_URL" => Some("postgres://owner:hunter2@db:port/shop".into()),
        "EMPTY" => Some(String::new()),
        "OFF" => Some("false".into()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Manifest, ManifestErrors> {
    let dir = folder();
    Manifest::parse(text, &dir.path().join("wasmyard.toml"), &env).map_err(|mut errors| {
        "wasmyard.toml".clone_into(&mut errors.path);
        for fault in &mut errors.faults {
            if let Some(help) = &mut fault.help {
                *help = help.replace(&format!("{}/", dir.path().display()), "");
            }
        }
        errors
    })
}

fn parsed(text: &str) -> Manifest {
    parse(text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn an_empty_manifest_has_every_default() {
    let manifest = parsed("");
    assert_eq!(manifest.server, Server::default());
    assert_eq!(manifest.server.bind.to_string(), "127.0.0.1");
    assert_eq!(manifest.server.https_port, limits::HTTPS_PORT);
    assert_eq!(manifest.admin.port, limits::ADMIN_PORT);
    assert_eq!(manifest.postgres, Postgres { url: None, migrations: None, sample_data: None });
    assert_eq!(manifest.pages, None);
    assert_eq!(manifest.redis.url, None);
    assert_eq!(manifest.telemetry, Telemetry::default());
    assert_eq!(manifest.telemetry.endpoint, None);
    assert!(manifest.services.is_empty());
}

#[test]
fn a_full_manifest_is_read_to_the_last_key() {
    let manifest = parsed(
        r#"
        [server]
        bind = "::"
        https_port = "${PORT}"
        http_port = "${OFF}"
        health_path = "/health"
        tls = { cert = "cert.pem", key = "key.pem" }
        limits = { connections_max = 5, header_timeout_ms = "${NONE:-70}" }
        trusted_proxies = ["10.0.0.0/8", "192.0.2.7", "${EMPTY}"]
        proxy_field = "Forwarded"
        [admin]
        port = 0
        [postgres]
        url = "postgres://owner:pw@127.0.0.1/shop"
        migrations = "migrations"
        sample_data = "sample.sql"
        [redis]
        url = "${EMPTY}"
        [pages]
        folder = "migrations"
        [telemetry]
        endpoint = "https://collector.internal:4318"
        protocol = "http/protobuf"
        sample_ratio = "${NONE:-0.25}"
        trust_clients = false
        headers = { authorization = "Bearer ${SECRET}" }
        metrics_port = "${PORT}"
        [services.users]
        component = "made/later.wasm"
        build = ["make", "users"]
        routes = [{ path = "/users/{id}", methods = ["GET", "DELETE"], rate_limit = { requests = "7", per = "15m", burst = 3, strict = true, methods = ["DELETE"] } }]
        rate_limit = { requests = 7000, per = "1s" }
        isolation = "request"
        background = { every = "2m" }
        direct = { port = 5000, routes = [{ path = "/health", methods = ["GET"] }] }
        internal = [{ path = "/internal/users/{id}", methods = ["DELETE"] }]
        settings = { page = 100, debug = false, greeting = "hi ${SECRET}", none = "${NONE:-}" }
        [services.users.grants]
        log = "true"
        stats = true
        postgres = { role = "users_service", pool_max = 3 }
        cache = { keys = ["users:*"], private = ["users:session:*"] }
        services = ["users"]
        [services.users.limits]
        memory_mib = 8
        request_timeout_ms = 1000
        "#,
    );
    assert_eq!(manifest.server.bind.to_string(), "::");
    assert_eq!(manifest.server.https_port, 9443);
    assert_eq!(manifest.server.http_port, None);
    assert_eq!(manifest.server.tls.as_ref().map(|tls| tls.key.clone()), Some(manifest.dir.join("key.pem")));
    assert_eq!(manifest.server.limits.connections_max, 5);
    assert_eq!(manifest.server.limits.header_timeout, Duration::from_millis(70));
    assert_eq!(manifest.server.limits.body_timeout, limits::BODY_TIMEOUT);
    let networks: Vec<_> = manifest.server.proxies.networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.7/32"]);
    assert_eq!(manifest.server.proxies.field, ProxyField::Forwarded);
    assert_eq!(manifest.admin.port, 0);
    assert_eq!(manifest.postgres.migrations, Some(manifest.dir.join("migrations")));
    assert_eq!(manifest.pages, Some(manifest.dir.join("migrations")));
    assert_eq!(manifest.redis.url, None);
    let telemetry = &manifest.telemetry;
    assert_eq!(telemetry.endpoint.as_deref(), Some("https://collector.internal:4318"));
    assert_eq!((telemetry.protocol, telemetry.sample_ratio), (OtlpProtocol::HttpProtobuf, 0.25));
    assert!(!telemetry.trust_clients && Telemetry::default().trust_clients);
    assert_eq!(telemetry.headers["authorization"], "Bearer hunter2");
    assert_eq!(telemetry.metrics_port, Some(9443));
    let users = &manifest.services["users"];
    assert_eq!(users.component, manifest.dir.join("made/later.wasm"));
    assert_eq!(users.build, Some(vec!["make".into(), "users".into()]));
    assert_eq!(users.routes[0].methods, ["GET", "DELETE"]);
    let limit = |requests, per_s, burst| RateLimit {
        requests,
        per: Duration::from_secs(per_s),
        burst,
        strict: false,
        methods: Vec::new(),
    };
    assert_eq!(users.rate_limit, Some(limit(7_000, 1, 7_000)));
    // 142.86 microseconds, rounded up.
    assert_eq!(users.rate_limit.as_ref().map(RateLimit::interval_us), Some(143));
    let of_route = RateLimit { strict: true, methods: vec!["DELETE".to_owned()], ..limit(7, 900, 3) };
    assert_eq!(users.routes[0].rate_limit, Some(of_route));
    assert_eq!(users.isolation, Isolation::Request);
    assert_eq!(users.background, Some(Background { every: Duration::from_secs(120) }));
    assert_eq!(users.direct.as_ref().map(|direct| direct.port), Some(5000));
    assert_eq!(users.internal[0].path, "/internal/users/{id}");
    assert!(users.grants.log && users.grants.stats && !users.grants.config);
    assert_eq!(users.grants.services, ["users"]);
    assert_eq!(users.grants.redis, None);
    let private = vec!["users:session:*".to_owned()];
    let cache = CacheGrant { private, ..CacheGrant::new(vec!["users:*".to_owned()]) };
    assert_eq!(users.grants.cache.as_ref(), Some(&cache));
    assert_eq!(cache.near_kib, limits::NEAR_KIB);
    let settings: Vec<_> =
        users.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(settings, [("debug", "false"), ("greeting", "hi hunter2"), ("page", "100")]);
    let postgres = users.grants.postgres.as_ref().expect("a grant");
    assert_eq!((postgres.pool_max, postgres.statement_timeout), (3, Duration::from_millis(900)));
    assert_eq!((users.limits.memory_mib, users.limits.instance_memory_mark_mib), (8, 8));
}

#[test]
fn no_service_takes_more_requests_at_once_than_there_are_instances() {
    let few = r#"
        [runtime]
        instances_max = 8
        [services.users]
        component = "users.wasm"
        routes = [{ path = "/users", methods = ["GET"] }]
        "#;
    let manifest = parsed(few);
    assert_eq!(manifest.runtime.instances_max, 8);
    assert_eq!(manifest.services["users"].limits.concurrency_max, 8);
    assert_eq!(parsed("").runtime.instances_max, limits::INSTANCES_MAX);

    let errors = parse(&format!("{few}limits = {{ concurrency_max = 9 }}")).expect_err("9 of 8");
    let shown = errors.to_string();
    assert!(shown.contains("`services.users.limits.concurrency_max` is out of range: 9"), "{shown}");
    assert!(shown.contains("a whole number from 1 to 8"), "{shown}");
}

#[test]
fn the_shops_own_manifest_is_good() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wasmyard.toml");
    let manifest = Manifest::load(&path, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
    let names: Vec<&str> = manifest.services.keys().map(String::as_str).collect();
    assert_eq!(names, ["orders", "products", "users"]);
    assert_eq!(manifest.services["orders"].grants.services, ["users", "products"]);
    assert_eq!(manifest.server.tls, None);
}

#[test]
fn a_route_says_who_may_ask_by_method_or_for_all() {
    let manifest = parsed(
        r#"
        [auth]
        key = "0123456789abcdef0123456789abcdef"
        issuer = "https://shop.example"
        [services.things]
        component = "users.wasm"
        routes = [
            { path = "/a", methods = ["GET", "POST"], auth = "required", role = "admin", local_auth = "optional" },
            { path = "/b", methods = ["GET", "POST"], auth = { GET = "none", POST = "optional" } },
            { path = "/c", methods = ["GET"] },
        ]
        "#,
    );
    assert_eq!(
        (manifest.auth.issuer.as_str(), manifest.auth.audience.as_str()),
        ("https://shop.example", "wasmyard")
    );
    assert!(manifest.needs_auth() && !parsed("").needs_auth());
    let [a, b, c] = &manifest.services["things"].routes[..] else { panic!("three routes") };
    let levels = |route: &Route, local| ["GET", "POST"].map(|method| route.auth.level(method, local));
    assert_eq!(levels(a, false), [AuthLevel::Required; 2]);
    assert_eq!(levels(a, true), [AuthLevel::Optional; 2]);
    assert_eq!(a.auth.role.as_deref(), Some("admin"));
    assert_eq!(levels(b, true), [AuthLevel::None, AuthLevel::Optional]);
    assert_eq!(c.auth, RouteAuth::default());
}

#[test]
fn a_file_that_is_not_there_is_an_error_without_a_place() {
    let errors = Manifest::load(&PathBuf::from("/nowhere/wasmyard.toml"), &env).expect_err("no file");
    let expected = "\
error: the manifest cannot be read: No such file or directory (os error 2)
  --> /nowhere/wasmyard.toml

/nowhere/wasmyard.toml: 1 error";
    assert_eq!(errors.to_string(), expected);
}

/// The cases stand in a file of their own, as a user would see them: the manifest,
/// a line `----`, the errors, a line `====`. To write them anew after a deliberate
/// change: `WASMYARD_BLESS=1 cargo test -p wasmyard manifest`.
#[test]
fn every_fault_is_told_with_its_place_and_what_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manifest/faults.txt");
    let cases = std::fs::read_to_string(&path).expect("the cases");
    let mut blessed = String::new();
    let mut wrong = Vec::new();
    for case in cases.split_terminator("====\n") {
        let (manifest, expected) = case.split_once("----\n").unwrap_or((case, ""));
        let found = match parse(manifest) {
            Ok(_) => "no fault\n".to_owned(),
            Err(errors) => format!("{errors}\n"),
        };
        assert!(!found.contains("hunter2"), "a secret is shown:\n{found}");
        if found != expected {
            wrong.push(format!("{manifest}---- expected\n{expected}---- found\n{found}"));
        }
        blessed.push_str(&format!("{manifest}----\n{found}====\n"));
    }
    if std::env::var_os("WASMYARD_BLESS").is_some() {
        std::fs::write(&path, blessed).expect("the cases can be written");
        return;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
