//! Guests that misbehave: each costs its own request, and nothing else.
//!
//! Every test component has the test of its name here, or this file does not compile.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::Method;
use wasmyard::host::check;
use wasmyard::limits::LOG_LINES_MAX;
use wasmyard::manifest::{CacheGrant, KeysGrant, PostgresGrant, Service};
use wasmyard::telemetry::trace::TraceContext;
use wasmyard_tests::component::{bytes, hostile};
use wasmyard_tests::{Answer, Line, Load, Logs, Shop, components, eventually, within};

/// Asked all the while, and always to be answered.
const BYSTANDERS: [&str; 2] = ["/api/v1/users", "/api/v1/products/2"];

/// A shop with a service that misbehaves, under a steady load on the others.
struct Stage {
    shop: Shop,
    load: Load,
}

impl Stage {
    async fn with(service: Service) -> Self {
        // Before the host starts: what is logged later is found.
        Logs::capture();
        let shop = Shop::builder().service(service).start().await;
        let load = Load::start(&shop, &BYSTANDERS);
        Self { shop, load }
    }

    async fn of(component: &str) -> Self {
        Self::with(hostile(component)).await
    }

    async fn work(&self, query: &str) -> Answer {
        within("a request to the hostile service", self.shop.get(&format!("/work?{query}"))).await
    }

    /// A request that must fail with this status: its instance is gone, and the next
    /// request is answered by another one.
    async fn costs_one_request(&self, query: &str, status: u16) -> Answer {
        let service = self.shop.service("hostile");
        let retired = service.instances().retired.load(Relaxed);
        let answer = self.work(query).await;
        answer.problem(status);
        eventually("the instance is gone", async || {
            let instances = service.instances();
            let gone = instances.busy.load(Relaxed) == 0 && instances.retired.load(Relaxed) > retired;
            gone.then_some(())
        })
        .await;
        assert_eq!(self.shop.get("/health").await.status, 200, "the next request is answered");
        answer
    }

    /// The others never noticed.
    async fn end(self) {
        self.load.stop_unharmed().await;
        self.shop.stop().await;
    }

    fn failures(&self, kind: &str) -> u64 {
        let service = self.shop.service("hostile");
        service.stats().failures().find(|(known, _)| *known == kind).expect("a kind of failure").1
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panics() {
    let stage = Stage::of(components::PANICS).await;
    let answer = stage.costs_one_request("", 500).await;
    assert!(!answer.text().contains("cheese"), "what went wrong inside is for the log alone");

    let said: Vec<Line> = Logs::capture().of_guest(answer.request_id());
    let [line] = said.as_slice() else { panic!("a panic is one line: {said:#?}") };
    assert!(line.message.contains("the disk is made of cheese"), "{line:?}");
    assert!(line.message.contains("src/bin/panics.rs:"), "the place is named: {line:?}");
    assert_eq!(line.fields["service"], "hostile");
    assert_eq!(line.fields["version"], *stage.shop.service("hostile").version());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exits() {
    let stage = Stage::of(components::EXITS).await;
    stage.costs_one_request("", 500).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn computes_for_ever() {
    let stage = Stage::of(components::COMPUTES_FOR_EVER).await;
    stage.costs_one_request("", 504).await;
    stage.end().await;
}

/// Twice as many endless loops as there are threads to run them: the others still have
/// their turn while every loop runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_endless_loops_than_threads_leave_the_others_their_turn() {
    let mut service = hostile(components::COMPUTES_FOR_EVER);
    service.limits.request_timeout = Duration::from_secs(60);
    let stage = Stage::with(service).await;
    let loops: Vec<_> = (0..4)
        .map(|_| {
            let client = stage.shop.new_client();
            let url = format!("https://localhost:{}/work", stage.shop.https().port());
            tokio::spawn(async move { client.get(url).send().await })
        })
        .collect();
    let service = stage.shop.service("hostile");
    eventually("every loop runs", async || (service.instances().busy.load(Relaxed) == 4).then_some(())).await;

    for _ in 0..10 {
        assert_eq!(within("another service's answer", stage.shop.get("/api/v1/users/1")).await.status, 200);
    }
    assert_eq!(service.instances().busy.load(Relaxed), 4, "the loops ran all the while");
    // Their clients hang up, and the loops end.
    loops.iter().for_each(tokio::task::JoinHandle::abort);
    eventually("every loop has ended", async || (service.instances().busy.load(Relaxed) == 0).then_some(()))
        .await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_for_ever() {
    let stage = Stage::of(components::WAITS_FOR_EVER).await;
    stage.costs_one_request("", 504).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recurses_for_ever() {
    let stage = Stage::of(components::RECURSES_FOR_EVER).await;
    stage.costs_one_request("", 500).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_all_memory() {
    for memory_mib in [8, 48] {
        let mut service = hostile(components::TAKES_ALL_MEMORY);
        service.limits.memory_mib = memory_mib;
        service.limits.request_timeout = Duration::from_secs(60);
        let stage = Stage::with(service).await;
        let answer = stage.costs_one_request("", 500).await;

        let held = Logs::capture().of_guest(answer.request_id());
        let most =
            held.iter().filter_map(|line| line.message.parse::<u32>().ok()).max().expect("a MiB at least");
        let (least, limit) = (memory_mib / 2, memory_mib);
        assert!((least..limit).contains(&most), "{most} MiB of {limit} were had");
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_the_log() {
    ends_at_the_log_limit(components::FLOODS_THE_LOG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prints_without_end() {
    ends_at_the_log_limit(components::PRINTS_WITHOUT_END).await;
}

async fn ends_at_the_log_limit(component: &str) {
    let mut service = hostile(component);
    // It is the limit that ends it, not the deadline.
    service.limits.request_timeout = Duration::from_secs(60);
    let stage = Stage::with(service).await;
    let answer = stage.costs_one_request("", 500).await;
    let said = Logs::capture().of_guest(answer.request_id());
    assert_eq!(said.len(), LOG_LINES_MAX);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_itself() {
    let mut service = hostile(components::CALLS_ITSELF);
    service.grants.services = vec!["hostile".to_owned()];
    let stage = Stage::with(service).await;
    // The innermost is told, and says so; the others pass its answer on.
    let answer = stage.work("").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().contains("TooDeep"), "{}", answer.text());
    assert_eq!(stage.failures("too_deep"), 1);
    assert_eq!(stage.failures("trap"), 0);
    assert_eq!(stage.shop.service("hostile").instances().busy.load(Relaxed), 0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_nonsense() {
    let stage = Stage::of(components::ANSWERS_NONSENSE).await;
    for query in ["status", "header", "body"] {
        stage.work(query).await.problem(500);
        assert_eq!(stage.shop.get("/health").await.status, 200, "after {query}");
    }
    assert_eq!(stage.failures("invalid_response"), 3);
    // Framing is the host's own: what a guest says of it is left out.
    let answer = stage.work("framing").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "\"nonsense\""));
    assert_eq!(answer.header("upgrade"), None);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echoes() {
    let stage = Stage::of(components::ECHOES).await;
    let sent = [
        ("x-mine", "1"),
        ("x-request-id", "not-yours-to-say"),
        ("connection", "x-hop"),
        ("x-hop", "2"),
        ("authorization", "Bearer of-the-caller"),
    ];
    let answer = stage.shop.send(Method::POST, "/work", &sent, b"{\"a\":1}").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "{\"a\":1}"));
    assert_eq!(answer.header("echo-x-mine"), Some("1"));
    assert_eq!(answer.header("echo-path"), Some("/work"));
    assert_eq!(answer.header("echo-request-id"), answer.header("x-request-id"));
    for hidden in ["echo-x-request-id", "echo-connection", "echo-authorization"] {
        assert_eq!(answer.header(hidden), None, "{hidden} is not for guests");
    }
    stage.end().await;
}

/// A service that says of itself that it cannot serve is not served: the host names the
/// step, and does not start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_unwell() {
    let refused = Shop::builder().service(hostile(components::IS_UNWELL)).try_start().await;
    let error = format!("{:#}", refused.err().expect("an unwell service is refused"));
    for part in ["service hostile", "health", "503", "not today"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// A component that imports what it has not been granted is refused when it is loaded,
/// with each interface and the line to add.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wants_everything() {
    let grants = [
        ("config", "config = true"),
        ("stats", "stats = true"),
        ("postgres", "postgres = {"),
        ("redis", "redis = {"),
        ("cache", "cache = {"),
        ("auth", "auth = true"),
        ("services", "services = ["),
    ];
    let names_all = |text: &str| {
        for (interface, line) in grants {
            let interface = format!("wasmyard:platform/{interface}@1.0.0");
            assert!(text.contains(&interface) && text.contains(line), "{interface}, {line}: {text}");
        }
        assert!(text.contains("[services.hostile.grants]"), "{text}");
        assert!(!text.contains("wasmyard:platform/log@"), "log is granted: {text}");
    };
    let refused = Shop::builder().service(hostile(components::WANTS_EVERYTHING)).try_start().await;
    names_all(&format!("{:#}", refused.err().expect("too much is wanted")));

    // The same before anything serves.
    let stage = Stage::of(components::ECHOES).await;
    let mut manifest = stage.shop.manifest.clone();
    manifest.dir = stage.shop.dir().to_owned();
    manifest.services.retain(|name, _| name == "hostile");
    manifest.services.insert("hostile".to_owned(), hostile(components::WANTS_EVERYTHING));
    let report = check(&manifest).await.expect("the check itself works");
    names_all(&report.services[0].problems.join("\n"));

    // And by a deploy, which leaves the old version serving.
    let answer = stage.shop.operator().deploy("hostile", bytes(components::WANTS_EVERYTHING)).await;
    let problem = answer.problem(422);
    assert_eq!(problem["step"], "grants");
    names_all(problem["reason"].as_str().expect("a reason"));
    assert_eq!(stage.work("").await.status, 200);
    stage.end().await;

    // With all of it granted, it is served.
    let mut service = hostile(components::WANTS_EVERYTHING);
    let keys = vec!["hostile:*".to_owned()];
    (service.grants.config, service.grants.stats, service.grants.auth) = (true, true, true);
    service.grants.redis = Some(KeysGrant { keys: keys.clone() });
    service.grants.cache = Some(CacheGrant::new(keys));
    service.grants.postgres = Some(own_role());
    service.grants.services = vec!["users".to_owned()];
    service.settings.insert("setting".to_owned(), "value".to_owned());
    let stage = Stage::with(service).await;
    let answer = stage.work("").await;
    let expected = format!("Some(\"value\") true true true true {} ", answer.version());
    let said = answer.json();
    let rest = said.as_str().and_then(|said| said.strip_prefix(&expected));
    let (token, traceparent) = rest.and_then(|rest| rest.split_once(' ')).expect("a token and a trace");
    assert_eq!(token.split('.').count(), 3, "{said}");
    assert!(TraceContext::parse(traceparent).is_some(), "{said}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaks_a_transaction() {
    let mut service = hostile(components::LEAKS_A_TRANSACTION);
    service.limits.request_timeout = Duration::from_secs(2);
    // One connection: the next borrower gets what the last one left.
    service.grants.postgres = Some(PostgresGrant { pool_max: 1, ..own_role() });
    let stage = Stage::with(service).await;
    let owner = connect(&stage.shop.database).await;
    owner
        .batch_execute("CREATE TABLE leaks (id SERIAL PRIMARY KEY); GRANT SELECT, INSERT ON leaks TO hostile_service; GRANT USAGE ON SEQUENCE leaks_id_seq TO hostile_service")
        .await
        .expect("a table to leak into");

    let ways = [("drop", 200), ("forget", 200), ("panic", 500), ("loop", 504), ("wait", 504), ("", 200)];
    for (way, status) in ways {
        let answer = stage.work(way).await;
        assert_eq!(answer.status, status, "{way}: {answer:?}");
        eventually("no transaction is open", async || {
            let row = owner
                .query_one(
                    "SELECT count(*) FROM pg_stat_activity WHERE usename = 'hostile_service' \
                     AND datname = current_database() AND (state <> 'idle' OR backend_xid IS NOT NULL)",
                    &[],
                )
                .await
                .expect("the activity");
            (row.get::<_, i64>(0) == 0).then_some(())
        })
        .await;
        let rows: i64 = owner.query_one("SELECT count(*) FROM leaks", &[]).await.expect("a count").get(0);
        assert_eq!(rows, 0, "after {way}");
        // The only connection there is can be had, and begins anew.
        assert_eq!(stage.work("drop").await.status, 200, "the next borrower after {way}");
    }
    stage.end().await;
}

/// The role of the hostile service.
fn own_role() -> PostgresGrant {
    PostgresGrant {
        role: "hostile_service".to_owned(),
        pool_max: 2,
        statement_timeout: wasmyard::limits::POSTGRES_STATEMENT_TIMEOUT,
    }
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) =
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// A test component without a test of its name does not compile.
macro_rules! assert_tested {
    ($name:ident) => {
        const _: fn() = $name;
    };
}
wasmyard_tests::foreach_test_component!(assert_tested);
