//! What a host writes to its log: lines that can be joined to requests and traces, and no
//! secret at any level.

use std::fs;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use wasmyard::testing::servers::{TestPostgres, TestRedis};
use wasmyard_tests::component::hostile;
use wasmyard_tests::{
    Answer, Collector, Logs, Project, Session, Shop, client, components, eventually, until,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const REDIS_PASSWORD: &str = "of-redis-6c3a";
const USER_PASSWORD: &str = "of-ada-91d2";
const WRONG_PASSWORD: &str = "of-nobody-77e0";
const COLLECTOR_KEY: &str = "of-the-collector-20bf";
const ROLE_SECRET: &str = "of-the-roles-5ad8-0123456789";
const AUTH_KEY: &str = "of-the-tokens-8e41-0123456789abcdef";
/// Everything but the compiler, which tells of each instruction; with wishes for the modules
/// that would tell of parameters and fields.
const FILTER: &str = "trace,tokio_postgres::query=trace,h2::codec=trace,hyper_util::client=trace,cranelift_codegen=warn,cranelift_frontend=warn,regalloc2=warn,wasmtime=warn,wasmtime_internal_cranelift=warn,wasmtime_environ=warn";
const QUERY: &str = "of-a-query-3f09";

#[tokio::test(flavor = "multi_thread")]
async fn a_host_logs_json_with_ids_and_no_secret_at_any_level() {
    // A server of its own: the passwords of the roles on it come of this host's secret.
    let (postgres, redis, collector) = (TestPostgres::start(), TestRedis::start(), Collector::grpc().await);
    let database = postgres.database();
    redis.cli(&["CONFIG", "SET", "requirepass", REDIS_PASSWORD]);
    let mut host = Project::new();
    for (name, value) in [
        ("DATABASE_URL", database.clone()),
        ("REDIS_URL", format!("redis://:{REDIS_PASSWORD}@127.0.0.1:{}/0", redis.port())),
        ("WASMYARD_SECRET", ROLE_SECRET.to_owned()),
        ("WASMYARD_AUTH_KEY", AUTH_KEY.to_owned()),
        ("WASMYARD_LOG", FILTER.to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("OTEL_EXPORTER_OTLP_HEADERS", format!("x-api-key={COLLECTOR_KEY}")),
    ] {
        host.set_env(name, value);
    }
    let program = host.up(&["--log-format", "json"]);
    let pem = fs::read(host.dir().join(".wasmyard/tls/self-signed.pem")).expect("it was made");
    let client = client(&pem, |builder| builder);
    let origin = format!("https://localhost:{}", program.https());

    let post =
        async |path: &str, body: &Value| Answer::to(client.post(format!("{origin}{path}")).json(body)).await;
    let ada = json!({ "username": "ada", "email": "ada@example.com", "password": USER_PASSWORD });
    assert_eq!(post("/api/v1/users", &ada).await.status, 201);
    let wrong = json!({ "username": "ada", "password": WRONG_PASSWORD });
    assert_eq!(post("/api/v1/auth/login", &wrong).await.status, 401);
    let right = json!({ "username": "ada", "password": USER_PASSWORD });
    let session = Session::of(&post("/api/v1/auth/login", &right).await);
    let next = Session::of(&post("/api/v1/auth/refresh", &json!({ "refresh_token": session.refresh })).await);
    let me = client
        .get(format!("{origin}/api/v1/auth/me?token={QUERY}"))
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .bearer_auth(&next.access);
    let me = Answer::to(me).await;
    assert_eq!(me.status, 200, "{me:?}");
    let id = me.request_id().to_owned();
    collector.span("the request", |received| received.span.name == "GET /api/v1/auth/me").await;
    assert_eq!(program.end("TERM").code(), Some(0));

    let log = host.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let access = lines.iter().find(|line| line["target"] == "access" && line["request_id"] == *id);
    let access = access.unwrap_or_else(|| panic!("no line of {id}:\n{log}"));
    assert_eq!((&access["trace_id"], &access["status"]), (&json!(TRACE), &json!(200)));
    assert_eq!(access["path"], "/api/v1/auth/me");
    assert!(lines.iter().any(|line| line["level"] == "TRACE" || line["level"] == "DEBUG"), "{log}");

    let keys = collector.headers();
    let key = |headers: &http::HeaderMap| headers.get("x-api-key").is_some_and(|key| key == COLLECTOR_KEY);
    assert!(!keys.is_empty() && keys.iter().all(key), "the collector was not sent its key: {keys:?}");

    let owner = database.split(['/', ':', '@']).nth(4).expect("the owner's password");
    let spans = format!("{:?}", collector.spans());
    for secret in [
        owner,
        REDIS_PASSWORD,
        USER_PASSWORD,
        WRONG_PASSWORD,
        COLLECTOR_KEY,
        ROLE_SECRET,
        AUTH_KEY,
        QUERY,
        &session.access,
        &session.refresh,
        &next.access,
        &next.refresh,
        "$argon2id$",
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} is logged: {line:?}");
        assert!(!spans.contains(secret), "{secret} is in a trace");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_a_request_has_its_trace() {
    let logs = Logs::capture();
    let shop = Shop::builder().service(hostile(components::PANICS)).start().await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-00");
    let answer = shop.send(Method::GET, "/work", &[("traceparent", &parent)], b"").await;
    let id = answer.request_id().to_owned();
    answer.problem(500);
    let lines = logs.of(&id);
    for target in ["guest", "wasmyard::gateway::report", "access"] {
        assert!(lines.iter().any(|line| line.target == target), "no line of {target}: {lines:#?}");
    }
    for line in lines {
        assert_eq!(line.fields.get("trace_id").map(String::as_str), Some(TRACE), "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_its_client_gives_up_has_its_line_and_its_time() {
    let logs = Logs::capture();
    let mut waits = hostile(components::WAITS_FOR_EVER);
    // It is the client that loses its patience.
    waits.limits.request_timeout = Duration::from_secs(600);
    let shop = Shop::builder().service(waits).start().await;
    let service = shop.service("hostile");
    let instances = service.instances();
    let measured = instances.worked.count();
    tokio::select! {
        answer = shop.get("/work") => panic!("an answer: {answer:?}"),
        () = until("the guest works on it", async || instances.busy.load(Relaxed) > 0) => {}
    }
    let line = eventually("its line", async || logs.with("abandoned", "true").pop()).await;
    assert_eq!(line.target, "access");
    assert_eq!(line.fields.get("path").map(String::as_str), Some("/work"));
    assert_eq!(line.fields.get("client").map(String::as_str), Some("127.0.0.1"));
    until("its time counts", async || instances.worked.count() > measured).await;
}
