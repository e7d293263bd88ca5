//! The users service.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use wasmyard::capability::postgres::{Error, Value};
use wasmyard::testing::{FakeRedis, Harness, ScriptedAnswer, ScriptedPostgres, rows, violation};

use crate::{
    away, held_for, holding, left, logged_cause, params, pointers, problem, refused, service, start,
};

const LIST: &str = "/api/v1/users";
const COLUMNS: [&str; 4] = ["id", "username", "email", "created_at"];
const ALICE: &str =
    r#"{"id":1,"username":"alice","email":"alice@example.com","created_at":"2025-01-31T12:00:00.25Z"}"#;
const EDDIE: &str = r#"{"username": "eddie", "email": "eddie@example.com"}"#;

fn user(id: i32, name: &str) -> Vec<Value> {
    let email = format!("{name}@example.com");
    vec![id.into(), name.into(), email.as_str().into(), Value::Timestamp(1_738_324_800_250_000)]
}

fn users(ids: impl IntoIterator<Item = i32>) -> ScriptedAnswer {
    rows(COLUMNS, ids.into_iter().map(|id| user(id, &format!("user{id}"))))
}

fn alice() -> ScriptedAnswer {
    rows(COLUMNS, [user(1, "alice")])
}

#[tokio::test]
async fn a_hit_is_answered_as_it_was_stored_and_the_database_is_not_asked() {
    let (postgres, redis) = (ScriptedPostgres::new(), FakeRedis::new());
    let service = start("users", &postgres, &redis).await;
    redis.put("users:1", r#"{"any": "bytes"}"#, Some(Duration::from_millis(42_900)));
    redis.put("users:all", "[{\"id\":7}]\n", None);

    let item = service.get("/api/v1/users/1").await.expect("an answer");
    assert_eq!((item.status.as_u16(), &item.body[..]), (200, &br#"{"any": "bytes"}"#[..]));
    assert_eq!(item.header("content-type"), Some("application/json"));
    assert_eq!(item.header("cache-status"), Some("wasmyard; hit; ttl=42"));

    // The line feed at the end says that there is another page.
    let list = service.get(LIST).await.expect("an answer");
    assert_eq!(&list.body[..], b"[{\"id\":7}]\n");
    assert_eq!(list.header("link"), Some("</api/v1/users?cursor=AQAAAAc>; rel=\"next\""));

    assert!(postgres.asked().is_empty());
    assert_eq!(service.instances().warm.load(Relaxed), 1);
}

#[tokio::test]
async fn a_miss_fills_the_labs_key_with_exactly_what_was_answered() {
    let postgres = ScriptedPostgres::new()
        .expect("FROM users WHERE id = $1", alice())
        .expect("FROM users WHERE id > $1 ORDER BY id LIMIT $2", alice());
    let redis = FakeRedis::new();
    let service = start("users", &postgres, &redis).await;

    let item = service.get("/api/v1/users/1").await.expect("an answer");
    assert_eq!((item.status.as_u16(), &item.body[..]), (200, ALICE.as_bytes()));
    assert_eq!(item.header("cache-status"), Some("wasmyard; fwd=miss; stored"));
    held_for(&redis, "users:1", ALICE.as_bytes(), 300);

    let list = service.get(LIST).await.expect("an answer");
    assert_eq!(&list.body[..], format!("[{ALICE}]").as_bytes());
    assert_eq!(list.header("link"), None);
    held_for(&redis, "users:all", &list.body, 60);

    assert_eq!(params(&postgres), ["[Int32(1)]", "[Int32(0), Int64(101)]"]);
    let counted = redis.counters();
    assert_eq!((counted.misses.load(Relaxed), counted.hits.load(Relaxed)), (2, 0));
}

#[tokio::test]
async fn only_the_plain_list_is_cached_and_every_other_page_links_to_the_next() {
    let postgres = ScriptedPostgres::new()
        .expect("LIMIT $2", users(1..=3))
        .expect("LIMIT $2", users(3..=4))
        .expect("LIMIT $2", users(1..=101));
    let redis = FakeRedis::new();
    let service = start("users", &postgres, &redis).await;

    let first = service.get("/api/v1/users?limit=2").await.expect("an answer");
    assert_eq!(first.json().as_array().map(Vec::len), Some(2));
    let link = "</api/v1/users?limit=2&cursor=AQAAAAI>; rel=\"next\"";
    assert_eq!((first.header("link"), first.header("cache-status")), (Some(link), None));
    let last = service.get("/api/v1/users?limit=2&cursor=AQAAAAI").await.expect("an answer");
    assert_eq!((last.json()[1]["id"].as_i64(), last.header("link")), (Some(4), None));
    assert_eq!(redis.value("users:all"), None);

    // A hit links to the next page as the miss did, without parsing what is stored.
    let miss = service.get(LIST).await.expect("an answer");
    let hit = service.get(LIST).await.expect("an answer");
    assert_eq!(miss.json().as_array().map(Vec::len), Some(100));
    assert_eq!(miss.header("link"), Some("</api/v1/users?cursor=AQAAAGQ>; rel=\"next\""));
    assert_eq!((hit.header("link"), &hit.body), (miss.header("link"), &miss.body));

    assert_eq!(params(&postgres), ["[Int32(0), Int64(3)]", "[Int32(2), Int64(3)]", "[Int32(0), Int64(101)]"]);
}

#[tokio::test]
async fn what_cannot_exist_is_refused_without_asking_anyone() {
    let (postgres, redis) = (ScriptedPostgres::new(), FakeRedis::new());
    redis.set_down(true);
    let service = start("users", &postgres, &redis).await;
    for id in ["abc", "0", "-1", "007", "1.0", "2147483648", "1%20OR%201=1", "%00"] {
        let answer = service.get(&format!("/api/v1/users/{id}")).await.expect("an answer");
        problem(&answer, 404);
    }
    for query in ["limit=0", "limit=1001", "limit=x", "cursor=5", "limit=1&limit=2", "cursor=%ff"] {
        let answer = service.get(&format!("/api/v1/users?{query}")).await.expect("an answer");
        problem(&answer, 400);
    }
    let undeclared = service.call(http::Method::POST, LIST).body(EDDIE).await.expect("an answer");
    problem(&undeclared, 415);
    assert_eq!(undeclared.header("accept"), Some("application/json"));
    let broken = service.post(LIST, "{\"username\":\n oops}").await.expect("an answer");
    let broken = problem(&broken, 400);
    assert_eq!((broken["line"].as_i64(), broken["column"].as_i64()), (Some(2), Some(2)));
    let invalid = service.post(LIST, r#"{"username": "a b", "mail": "x"}"#).await.expect("an answer");
    assert_eq!(pointers(&problem(&invalid, 422)), ["/mail", "/username", "/email"]);
    assert!(postgres.asked().is_empty());
    assert!(service.logged().is_empty(), "a client's error is not the service's");
}

#[tokio::test]
async fn an_absent_user_is_404_and_not_cached() {
    let postgres =
        ScriptedPostgres::new().expect("WHERE id = $1", users([])).expect("WHERE id = $1", alice());
    let redis = FakeRedis::new();
    let service = start("users", &postgres, &redis).await;
    let absent = service.get("/api/v1/users/1").await.expect("an answer");
    assert_eq!(problem(&absent, 404)["detail"], "There is no user with the id 1.");
    let present = service.get("/api/v1/users/1").await.expect("an answer");
    assert_eq!(present.status, 200);
}

#[tokio::test]
async fn without_redis_the_database_answers_and_the_answer_says_so() {
    let postgres = ScriptedPostgres::new()
        .expect("WHERE id = $1", alice())
        .expect("INSERT INTO users", rows(COLUMNS, [user(5, "eddie")]))
        .expect("LIMIT $2", users([5]));
    let redis = holding(&["users:all", "users:1"]);
    let service = start("users", &postgres, &redis).await;

    redis.set_down(true);
    let item = service.get("/api/v1/users/1").await.expect("an answer");
    assert_eq!((item.status.as_u16(), &item.body[..]), (200, ALICE.as_bytes()));
    assert_eq!(item.header("cache-status"), Some("wasmyard; fwd=bypass; detail=redis-unavailable"));
    let created = service.post(LIST, EDDIE).await.expect("an answer");
    assert_eq!(created.status, 201, "a write does not need the cache");

    // What the write could not take out of the cache is taken out before it is read.
    redis.set_down(false);
    let list = service.get(LIST).await.expect("an answer");
    assert_eq!(list.json()[0]["id"], 5, "not the list from before the write");
}

#[tokio::test]
async fn without_the_database_the_answer_is_503_and_the_key_stays_free() {
    let postgres = ScriptedPostgres::new()
        .expect("WHERE id = $1", away())
        .expect("WHERE id = $1", refused("57P03"))
        .expect("WHERE id = $1", refused("40001"))
        .expect("WHERE id = $1", alice());
    let redis = FakeRedis::new();
    let service = start("users", &postgres, &redis).await;
    for _ in 0..3 {
        let failed = service.get("/api/v1/users/1").await.expect("an answer");
        assert_eq!(problem(&failed, 503)["type"], "urn:wasmyard:problem:unavailable");
        assert_eq!(failed.header("retry-after"), Some("1"));
    }
    assert_eq!(service.logged().len(), 3);
    assert_eq!(service.logged()[0].fields[0].1, "the password is swordfish");
    let recovered = service.get("/api/v1/users/1").await.expect("an answer");
    assert_eq!(recovered.header("cache-status"), Some("wasmyard; fwd=miss; stored"));
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_504() {
    for failure in [Error::Timeout.into(), refused("57014")] {
        let postgres = ScriptedPostgres::new().expect("WHERE id = $1", failure);
        let service = start("users", &postgres, &FakeRedis::new()).await;
        let late = service.get("/api/v1/users/1").await.expect("an answer");
        assert_eq!(problem(&late, 504)["detail"], "The database did not answer in time.");
    }
}

#[tokio::test]
async fn rows_of_another_shape_are_500_with_a_line_in_the_log_and_no_trap() {
    let odd = |columns: [&'static str; 4], row: Vec<Value>| rows(columns, [row]);
    let renamed = ["id", "name", "email", "created_at"];
    for (answer, cause) in [
        (odd(renamed, user(1, "alice")), "there is no column username"),
        (odd(COLUMNS, vec!["1".into(), "a".into(), "a".into(), Value::Timestamp(0)]), "column id is text"),
        (
            odd(COLUMNS, vec![1.into(), Value::Null, "a".into(), Value::Timestamp(0)]),
            "column username is NULL",
        ),
        (odd(COLUMNS, vec![1.into(), "a".into(), "a".into(), Value::Timestamp(i64::MAX)]), "created_at"),
        (Error::UnsupportedType(("email".into(), "point".into())).into(), "column email has the type point"),
        (refused("42501"), "SQLSTATE 42501"),
    ] {
        let postgres = ScriptedPostgres::new().expect("WHERE id = $1", answer);
        let redis = FakeRedis::new();
        let service = start("users", &postgres, &redis).await;
        let failed = service.get("/api/v1/users/1").await.expect("no trap");
        let failed = problem(&failed, 500);
        assert_eq!(failed["detail"], "The service failed.");
        assert_eq!(redis.value("users:1"), None);
        logged_cause(&service, cause);
    }
    // A column more is a migration ahead of the code, and nobody's error.
    let [id, username, email, created_at] = COLUMNS;
    let mut row = user(1, "alice");
    row.push("pink".into());
    let wider = rows([id, username, email, created_at, "favourite_colour"], [row]);
    let postgres = ScriptedPostgres::new().expect("WHERE id = $1", wider);
    let service = start("users", &postgres, &FakeRedis::new()).await;
    let item = service.get("/api/v1/users/1").await.expect("an answer");
    assert_eq!(&item.body[..], ALICE.as_bytes());
}

#[tokio::test]
async fn a_new_user_stands_at_its_location_and_takes_the_list_out_of_the_cache() {
    let postgres = ScriptedPostgres::new().expect("INSERT INTO users", rows(COLUMNS, [user(5, "eddie")]));
    let keys = ["users:all", "users:5", "users:1", "users:55"];
    let redis = holding(&keys);
    let service = start("users", &postgres, &redis).await;
    let created = service.post(LIST, EDDIE).await.expect("an answer");
    assert_eq!((created.status.as_u16(), created.header("location")), (201, Some("/api/v1/users/5")));
    assert_eq!(created.json()["username"], "eddie");
    assert_eq!(left(&redis, &keys), ["users:1", "users:55"]);
    assert_eq!(params(&postgres), [r#"[Text("eddie"), Text("eddie@example.com")]"#]);
}

#[tokio::test]
async fn a_name_that_is_taken_is_409_and_the_cache_stays() {
    for (constraint, pointer) in [("users_username_key", "/username"), ("users_email_key", "/email")] {
        let postgres = ScriptedPostgres::new().expect("INSERT INTO users", violation("23505", constraint));
        let redis = holding(&["users:all"]);
        let service = start("users", &postgres, &redis).await;
        let refused = service.post(LIST, EDDIE).await.expect("an answer");
        assert_eq!(pointers(&problem(&refused, 409)), [pointer]);
        assert_eq!(left(&redis, &["users:all"]), ["users:all"]);
        assert!(service.logged().is_empty());
    }
}

#[tokio::test]
async fn a_write_of_unknown_outcome_still_takes_the_list_out_of_the_cache() {
    for failure in [away().into(), Error::Timeout.into(), refused("08006"), refused("57P01")] {
        let postgres = ScriptedPostgres::new().expect("INSERT INTO users", failure);
        let redis = holding(&["users:all"]);
        let service = start("users", &postgres, &redis).await;
        let failed = service.post(LIST, EDDIE).await.expect("an answer");
        assert!([503, 504].contains(&failed.status.as_u16()), "{failed:?}");
        assert!(left(&redis, &["users:all"]).is_empty(), "{failed:?}");
    }
}

#[tokio::test]
async fn no_cache_reads_the_database_and_leaves_the_cache_alone() {
    let postgres = ScriptedPostgres::new().expect("WHERE id = $1", alice());
    let redis = holding(&["users:1"]);
    let service = start("users", &postgres, &redis).await;
    let fresh = service.get("/api/v1/users/1").header("cache-control", "no-cache").await.expect("an answer");
    assert_eq!(&fresh.body[..], ALICE.as_bytes());
    assert_eq!(fresh.header("cache-status"), Some("wasmyard; fwd=request"));
    assert_eq!(redis.value("users:1").as_deref(), Some(&b"\"old\""[..]));
}

#[tokio::test]
async fn who_is_calling_makes_no_difference_yet() {
    let postgres = ScriptedPostgres::new().expect("WHERE id = $1", alice());
    let service = start("users", &postgres, &FakeRedis::new()).await;
    let known = service.get("/api/v1/users/1").caller("alice", &["admin"]).await.expect("an answer");
    let unknown = service.get("/api/v1/users/1").await.expect("an answer");
    assert_eq!((known.status, known.body), (unknown.status, unknown.body));
}

#[tokio::test]
async fn the_statistics_are_the_hosts_with_the_tables_rows() {
    let count = |count: i64| rows(["count"], [vec![count.into()]]);
    let postgres = ScriptedPostgres::new().expect("count(*)", count(4)).expect("count(*)", away());
    let service = Harness::service(&service("users")).postgres(postgres).stats(|stats| {
        stats.since_ms = 1_738_324_800_000;
        stats.requests = 12;
        stats.by_status = vec![(200, 10), (404, 2)];
        stats.cache_hits = 3;
        stats.cache_misses = 1;
        stats.latency_p50_us = 420;
    });
    let service = service.start().await.expect("the component keeps to its manifest");

    let stats = service.get("/api/v1/users/stats").await.expect("an answer").json();
    assert_eq!((&stats["service"], &stats["rows"]), (&"users".into(), &4.into()));
    assert_eq!(stats["since"], "2025-01-31T12:00:00Z");
    assert_eq!(stats["requests"]["by_status"]["404"], 2);
    assert_eq!(stats["cache"]["hit_ratio"], 0.75);
    assert_eq!(stats["latency_ms"]["p50"], 0.42);
    assert_eq!(stats["version"].as_str().map(str::len), Some(12));

    // The same on the service's own port, and without a database.
    let stats = service.get("/api/v1/stats").await.expect("an answer");
    assert_eq!((stats.status.as_u16(), &stats.json()["rows"]), (200, &serde_json::Value::Null));
    assert_eq!(stats.json()["requests"]["total"], 12);
    assert_eq!(service.logged()[0].fields[0].1, "the password is swordfish");
}

#[tokio::test]
async fn a_service_is_degraded_without_redis_and_down_without_its_database() {
    let one = || rows(["?column?"], [vec![1.into()]]);
    let postgres = ScriptedPostgres::new()
        .expect("SELECT 1", one())
        .expect("SELECT 1", one())
        .expect("SELECT 1", away());
    let redis = FakeRedis::new();
    let service = start("users", &postgres, &redis).await;

    let well = service.get("/health").await.expect("an answer");
    assert_eq!((well.status.as_u16(), &well.json()["status"]), (200, &"ok".into()));
    redis.set_down(true);
    let degraded = service.get("/api/v1/users/health").await.expect("an answer");
    assert_eq!((degraded.status.as_u16(), &degraded.json()["status"]), (200, &"degraded".into()));
    assert_eq!(
        (&degraded.json()["database"]["status"], &degraded.json()["redis"]["status"]),
        (&"up".into(), &"down".into())
    );
    redis.set_down(false);
    let down = service.get("/health").await.expect("an answer");
    assert_eq!((down.status.as_u16(), &down.json()["status"]), (503, &"down".into()));
}
