//! Components alone, with the capabilities that a test scripts: each test takes
//! milliseconds, once the component's code is on disk.

mod accounts;
mod harness;
mod orders;
mod products;
mod users;

use std::path::Path;
use std::time::Duration;

use wasmyard::capability::log::Level;
use wasmyard::capability::postgres::{DatabaseError, Error, Value};
use wasmyard::manifest::{Manifest, Service};
use wasmyard::telemetry::trace::TraceContext;
use wasmyard::testing::{Answer, Asked, FakeRedis, Harness, ScriptedAnswer, ScriptedPostgres};
use wasmyard_tests::components;

/// A service of the repository's own manifest, with the component that the tests built.
fn service(name: &str) -> Service {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wasmyard.toml");
    let mut manifest = Manifest::load(&path, &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
    let mut service = manifest.services.remove(name).expect("the manifest has the service");
    service.component = match name {
        "users" => components::USERS,
        "products" => components::PRODUCTS,
        _ => components::ORDERS,
    }
    .into();
    service
}

/// That service with these behind it; the test keeps clones of both.
async fn start(name: &str, postgres: &ScriptedPostgres, redis: &FakeRedis) -> Harness {
    let builder = Harness::service(&service(name)).postgres(postgres.clone()).redis(redis.clone());
    builder.start().await.expect("the component keeps to its manifest")
}

/// `Value` of a `numeric` column.
fn numeric(digits: &str) -> Value {
    Value::Numeric(digits.to_owned())
}

/// The database cannot be reached.
fn away() -> Error {
    Error::Unavailable("the password is swordfish".to_owned())
}

/// A refusal of the database's.
fn refused(code: &str) -> ScriptedAnswer {
    let (code, message) = (code.to_owned(), "refused by a test".to_owned());
    Error::Database(DatabaseError {
        code,
        message,
        detail: None,
        constraint: None,
        table: None,
        column: None,
    })
    .into()
}

/// The parameters of each statement so far; a trace context, which is another one each time,
/// stands there as `Trace`.
fn params(postgres: &ScriptedPostgres) -> Vec<String> {
    let shown = |param: &Value| match param {
        Value::Text(text) if TraceContext::parse(text).is_some() => "Trace".to_owned(),
        param => format!("{param:?}").replace("Value::", ""),
    };
    let statement = |asked| match asked {
        Asked::Statement { params, .. } => {
            Some(format!("[{}]", params.iter().map(shown).collect::<Vec<_>>().join(", ")))
        }
        _ => None,
    };
    postgres.asked().into_iter().filter_map(statement).collect()
}

/// Checks that an answer is a problem, and gives its members.
fn problem(answer: &Answer, status: u16) -> serde_json::Value {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let members = answer.json();
    assert_eq!(members["status"], status);
    assert!(!answer.body.windows(9).any(|text| text == b"swordfish"), "the cause is for the log alone");
    members
}

/// The pointers of a problem's faults, in order.
fn pointers(problem: &serde_json::Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().expect("the problem names its faults");
    errors.iter().map(|fault| fault["pointer"].as_str().expect("a pointer")).collect()
}

/// Checks that the component logged one error, whose cause says this.
fn logged_cause(service: &Harness, cause: &str) {
    let logged = service.logged();
    let [line] = logged.as_slice() else { panic!("one line was expected: {logged:?}") };
    assert_eq!(line.level, Level::Error);
    assert!(line.fields.iter().any(|(name, value)| name == "cause" && value.contains(cause)), "{line:?}");
}

/// Checks that a key holds exactly this, for exactly so many seconds.
fn held_for(redis: &FakeRedis, key: &str, value: &[u8], seconds: u64) {
    redis.advance(Duration::from_millis(seconds * 1_000 - 1));
    assert_eq!(redis.value(key).as_deref(), Some(value), "{key} until its time is over");
    redis.advance(Duration::from_millis(1));
    assert_eq!(redis.value(key), None, "{key} after {seconds} s");
}

/// A cache with something under each of these keys.
fn holding(keys: &[&str]) -> FakeRedis {
    let redis = FakeRedis::new();
    for key in keys {
        redis.put(key, "\"old\"", Some(Duration::from_secs(60)));
    }
    redis
}

/// Which of these keys still hold something.
fn left<'a>(redis: &FakeRedis, keys: &[&'a str]) -> Vec<&'a str> {
    keys.iter().copied().filter(|key| redis.value(key).is_some()).collect()
}
