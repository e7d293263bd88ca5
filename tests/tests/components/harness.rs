//! The harness itself: a component runs in it as it does in the host.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use wasmyard::capability::log::Level;
use wasmyard::manifest::Isolation;
use wasmyard::runtime::Failure;
use wasmyard::runtime::Refusal;
use wasmyard::telemetry::trace::TraceContext;
use wasmyard::testing::{
    FakeAuth, FakeRedis, Harness, HarnessBuilder, ScriptedAnswer, ScriptedPostgres, reply,
};
use wasmyard_tests::components;

use crate::{service, start};

fn component(path: &str) -> HarnessBuilder {
    Harness::component(path).routes(["/work"])
}

async fn started(builder: HarnessBuilder) -> Harness {
    builder.start().await.expect("the component is granted what it imports")
}

async fn refusal(builder: HarnessBuilder) -> Refusal {
    let error = builder.start().await.err().expect("the component is refused");
    error.downcast().expect("a refusal")
}

#[tokio::test]
async fn an_import_that_is_not_granted_is_refused_by_its_name() {
    let refused = refusal(component(components::WANTS_EVERYTHING)).await;
    let Refusal::NotGranted { service, missing } = &refused else { panic!("{refused}") };
    assert_eq!(service, "wants_everything");
    let mut names: Vec<_> = missing.iter().map(|(import, _)| import.as_str()).collect();
    names.sort_unstable();
    let lacking = ["auth", "cache", "postgres", "redis", "services"];
    assert_eq!(names, lacking.map(|name| format!("wasmyard:platform/{name}@1.0.0")));
    assert!(
        refused.to_string().contains(r#"add `postgres = { role = "wants_everything_service" }`"#),
        "{refused}"
    );

    let granted = component(components::WANTS_EVERYTHING)
        .named("greedy")
        .postgres(ScriptedPostgres::new().expect("SELECT 1", ScriptedAnswer::Affected(0)))
        .redis(FakeRedis::new())
        .auth(FakeAuth::default())
        .peer("users", |_| reply(200, "{}"))
        .setting("setting", "7");
    let granted = started(granted).await;
    let answer = granted.get("/work").await.expect("an answer");
    let said = answer.json().as_str().map(str::to_owned).expect("text");
    assert!(said.starts_with(r#"Some("7") true true true true "#), "{said}");
    let (said, traceparent) = said.rsplit_once(' ').expect("a trace");
    assert!(said.ends_with(" 1:admin"), "{said}");
    assert!(TraceContext::parse(traceparent).is_some(), "{traceparent}");
    assert_eq!(granted.called()[0].1.path, "/health");
    let logged = granted.logged();
    assert_eq!((logged[0].level, logged[0].message.as_str()), (Level::Info, "all of it"));
}

#[tokio::test]
async fn a_file_that_is_no_component_is_refused() {
    let refused = refusal(Harness::component(env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml")).await;
    assert!(matches!(refused, Refusal::NotAComponent(_)), "{refused}");
    let missing = Harness::component("no/such/component.wasm").start().await.err().expect("an error");
    assert!(missing.to_string().contains("no/such/component.wasm"), "{missing:#}");
}

#[tokio::test]
async fn a_component_that_never_answers_is_ended_at_its_deadline() {
    for path in [components::COMPUTES_FOR_EVER, components::WAITS_FOR_EVER] {
        let limited = component(path).limits(|limits| limits.request_timeout = Duration::from_millis(50));
        let hostile = started(limited).await;
        let failure = hostile.get("/work").await.expect_err("no answer");
        assert!(matches!(failure, Failure::Timeout { limit_ms: 50 }), "{failure}");
        assert_eq!(hostile.instances().retired.load(Relaxed), 1);
        assert_eq!(hostile.instances().warm.load(Relaxed), 0);
    }
}

#[tokio::test]
async fn a_component_that_takes_all_memory_traps_and_the_next_request_is_answered() {
    let greedy =
        started(component(components::TAKES_ALL_MEMORY).limits(|limits| limits.memory_mib = 8)).await;
    let failure = greedy.get("/work").await.expect_err("no answer");
    assert!(matches!(failure, Failure::Trap(_)), "{failure}");
    let well = greedy.get("/health").await.expect("a fresh instance answers");
    assert_eq!(well.status, 200);
    assert_eq!(greedy.instances().retired.load(Relaxed), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_failure() {
    let nonsense = started(component(components::ANSWERS_NONSENSE)).await;
    for query in ["status", "header", "body"] {
        let failure = nonsense.get(&format!("/work?{query}")).await.expect_err("no answer");
        assert!(matches!(failure, Failure::InvalidResponse(_)), "{query}: {failure}");
    }
    let framed = nonsense.get("/work?framing").await.expect("an answer");
    assert_eq!((framed.header("content-length"), framed.header("connection")), (None, None));
}

#[tokio::test]
async fn a_panic_is_a_trap_with_its_message_in_the_log() {
    let panics = started(component(components::PANICS)).await;
    let failure = panics.get("/work").await.expect_err("no answer");
    assert!(matches!(failure, Failure::Trap(_)), "{failure}");
    let logged = panics.logged();
    let [line] = logged.as_slice() else { panic!("{logged:?}") };
    assert_eq!(line.level, Level::Error);
    assert!(line.message.contains("panics.rs") && line.message.contains("made of cheese"), "{line:?}");
}

#[tokio::test]
async fn instances_are_reused_unless_each_request_is_to_have_its_own() {
    let warm = started(component(components::ECHOES)).await;
    let fresh = started(component(components::ECHOES).isolation(Isolation::Request)).await;
    for harness in [&warm, &fresh] {
        for _ in 0..3 {
            assert_eq!(harness.get("/work").await.expect("an answer").status, 200);
        }
    }
    let counts = |harness: &Harness| {
        let instances = harness.instances();
        [&instances.warm, &instances.busy, &instances.retired].map(|count| count.load(Relaxed))
    };
    assert_eq!(counts(&warm), [1, 0, 0]);
    assert_eq!(counts(&fresh), [0, 0, 3]);
}

#[tokio::test]
async fn an_instance_retires_after_its_requests_and_when_it_has_grown() {
    let retired = |harness: &Harness| harness.instances().retired.load(Relaxed);
    let counted =
        started(component(components::ECHOES).limits(|limits| limits.instance_requests_max = 2)).await;
    for requests in 1..=5 {
        counted.get("/work").await.expect("an answer");
        assert_eq!(retired(&counted), requests / 2, "after {requests} requests");
    }

    let marked =
        started(component(components::ECHOES).limits(|limits| limits.instance_memory_mark_mib = 4)).await;
    let text = |bytes: usize| serde_json::json!("x".repeat(bytes));
    for _ in 0..3 {
        marked.post("/work", &text(1)).await.expect("an answer");
    }
    assert_eq!(retired(&marked), 0, "a small request leaves it small");
    // The guest holds the body twice: as it came, and as it goes.
    marked.post("/work", &text(3 << 20)).await.expect("an answer");
    assert_eq!(retired(&marked), 1, "memory that has grown never shrinks");
    marked.post("/work", &text(1)).await.expect("an answer");
    assert_eq!(retired(&marked), 1, "the next one is small again");
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent() {
    let echoes = started(Harness::component(components::ECHOES).routes(["/work/{name}"])).await;
    let call = echoes.post("/work/a%2Fb", r#"{"a":1}"#).header("x-tag", "one").header("x-tag", "two");
    let answer = call.await.expect("an answer");
    assert_eq!(answer.json()["a"], 1);
    assert_eq!(answer.header("echo-path"), Some("/work/a%2Fb"));
    assert_eq!(answer.header("echo-content-type"), Some("application/json"));
    let tags: Vec<_> = answer.headers.get_all("echo-x-tag").iter().collect();
    assert_eq!(tags, ["one", "two"]);
}

#[tokio::test]
#[should_panic(expected = "no route of the harness matches /elsewhere")]
async fn a_path_that_the_host_would_not_let_in_is_the_tests_mistake() {
    let echoes = started(component(components::ECHOES)).await;
    let _ = echoes.get("/elsewhere").await;
}

#[tokio::test]
#[should_panic(expected = "the scripted database expects \"INSERT\" next, but was asked\n  SELECT id")]
async fn a_statement_that_was_not_expected_fails_the_test() {
    let postgres = ScriptedPostgres::new().expect("INSERT", ScriptedAnswer::Affected(1));
    let users = start("users", &postgres, &FakeRedis::new()).await;
    let _ = users.get("/api/v1/users/1").await;
}

#[tokio::test]
#[should_panic(expected = "never asked \"INSERT\"")]
async fn a_statement_that_was_never_sent_fails_the_test() {
    let postgres = ScriptedPostgres::new().expect("INSERT", ScriptedAnswer::Affected(1));
    let users = start("users", &postgres, &FakeRedis::new()).await;
    let _ = users.get("/api/v1/users/abc").await;
}

#[tokio::test]
#[should_panic(expected = "calls the service users, which the test does not play")]
async fn a_call_that_nobody_plays_fails_the_test() {
    let orders = started(Harness::service(&service("orders"))).await;
    let _ = orders.post("/api/v1/orders", r#"{"user_id": 1, "product_id": 1, "quantity": 1}"#).await;
}

#[tokio::test]
async fn a_key_that_the_manifest_does_not_grant_is_not_looked_up() {
    let mut users = service("users");
    users.grants.cache.as_mut().expect("users has a cache").keys = vec!["products:*".to_owned()];
    let postgres = ScriptedPostgres::new().expect("WHERE id = $1", ScriptedAnswer::Affected(0));
    let redis = FakeRedis::new();
    redis.put("users:1", "{}", None);
    let users = started(Harness::service(&users).postgres(postgres).redis(redis)).await;
    let absent = users.get("/api/v1/users/1").await.expect("an answer");
    assert_eq!(absent.status, 404, "the database was asked, and the cache was not");
    assert!(users.logged()[0].message.contains("cannot be looked up"), "{:?}", users.logged());
}

#[tokio::test]
async fn code_is_compiled_once_and_kept_beside_the_component() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("echoes.wasm");
    let kept = || {
        let files =
            std::fs::read_dir(folder.path().join(".wasmyard/echoes/compiled")).expect("the folder of code");
        let files = files.map(|file| file.expect("a file"));
        let times =
            files.map(|file| (file.file_name(), file.metadata().and_then(|data| data.modified()).ok()));
        times.collect::<Vec<_>>()
    };
    std::fs::copy(components::ECHOES, &path).expect("a copy");
    drop(started(Harness::component(&path)).await);
    let first = kept();
    assert_eq!(first.len(), 1);
    drop(started(Harness::component(&path)).await);
    assert_eq!(kept(), first, "the second start found the code");

    std::fs::copy(components::PANICS, &path).expect("another version");
    drop(started(Harness::component(&path)).await);
    let second = kept();
    assert_eq!(second.len(), 1, "code of the version before is of no use");
    assert_ne!(second, first);
}
