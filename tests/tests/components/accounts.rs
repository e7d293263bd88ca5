//! The users service's accounts and sessions.

use serde_json::json;
use wasmyard::capability::postgres::{Isolation, Value};
use wasmyard::testing::{Asked, FakeAuth, FakeRedis, Harness, ScriptedAnswer, ScriptedPostgres, rows};

use crate::{away, params, pointers, problem, service};

const LOGIN: &str = "/api/v1/auth/login";
const REFRESH: &str = "/api/v1/auth/refresh";

async fn start(postgres: &ScriptedPostgres, auth: &FakeAuth) -> Harness {
    let builder = Harness::service(&service("users")).postgres(postgres.clone()).auth(auth.clone());
    builder.redis(FakeRedis::new()).start().await.expect("the component keeps to its manifest")
}

fn account() -> ScriptedAnswer {
    let row = vec![7.into(), "customer".into(), "hashed:correct horse".into()];
    rows(["user_id", "role", "password_hash"], [row])
}

fn token(is_used: bool, is_over: bool) -> ScriptedAnswer {
    let columns = ["session", "user_id", "role", "is_used", "is_over"];
    rows(columns, [vec![Value::Int64(5), 7.into(), "admin".into(), is_used.into(), is_over.into()]])
}

fn nothing() -> ScriptedAnswer {
    rows(["session"], [])
}

#[tokio::test]
async fn a_right_password_opens_a_session_and_only_its_digest_is_stored() {
    let postgres = ScriptedPostgres::new()
        .expect("FROM accounts JOIN users", account())
        .expect("DELETE FROM sessions WHERE user_id = $1", nothing())
        .expect("INSERT INTO refresh_tokens", nothing());
    let service = start(&postgres, &FakeAuth::default()).await;
    let answer = service.post(LOGIN, &json!({ "username": "ann", "password": "correct horse" }));
    let answer = answer.await.expect("an answer");
    let granted = answer.json();
    assert_eq!((&granted["access_token"], &granted["expires_in"]), (&json!("7:customer"), &json!(900)));
    let refresh = granted["refresh_token"].as_str().expect("a token");
    assert_eq!(refresh.len(), 43, "256 bits");
    assert!(!params(&postgres).concat().contains(refresh));
}

#[tokio::test]
async fn every_login_that_fails_does_the_same_work_and_gets_the_same_answer() {
    let mut told = Vec::new();
    for (found, password) in [(account(), "wrong"), (rows(["user_id"], []), "correct horse")] {
        let postgres = ScriptedPostgres::new().expect("FROM accounts JOIN users", found);
        let service = start(&postgres, &FakeAuth::default()).await;
        let answer = service.post(LOGIN, &json!({ "username": "ann", "password": password }));
        let mut refused = problem(&answer.await.expect("an answer"), 401);
        refused.as_object_mut().expect("an object").remove("request_id");
        told.push((refused, params(&postgres)));
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn a_used_refresh_token_revokes_its_session_durably() {
    let postgres = ScriptedPostgres::new()
        .expect("FROM refresh_tokens", token(true, false))
        .expect("UPDATE sessions SET revoked_at = now() WHERE id = $1", nothing());
    let service = start(&postgres, &FakeAuth::default()).await;
    let reused = service.post(REFRESH, &json!({ "refresh_token": "x" })).await.expect("an answer");
    problem(&reused, 401);
    let asked = postgres.asked();
    assert!(matches!(asked.first(), Some(Asked::Begin(Isolation::ReadCommitted))), "{asked:?}");
    assert!(matches!(asked.last(), Some(Asked::Commit)), "{asked:?}");
}

#[tokio::test]
async fn a_refresh_is_one_transaction_with_the_role_of_this_moment() {
    let postgres = ScriptedPostgres::new()
        .expect("FOR UPDATE OF refresh_tokens, sessions", token(false, false))
        .expect("UPDATE refresh_tokens SET used_at = now() WHERE digest = $1", nothing())
        .expect("DELETE FROM refresh_tokens WHERE session_id = $1 AND expires_at < now()", nothing())
        .expect("INSERT INTO refresh_tokens", nothing());
    let service = start(&postgres, &FakeAuth::default()).await;
    let answer = service.post(REFRESH, &json!({ "refresh_token": "x" })).await.expect("an answer");
    assert_eq!(answer.json()["access_token"], "7:admin");
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    for (found, ends) in [(token(false, true), "over"), (nothing(), "never was")] {
        let postgres = ScriptedPostgres::new().expect("FROM refresh_tokens", found);
        let service = start(&postgres, &FakeAuth::default()).await;
        let refused = service.post(REFRESH, &json!({ "refresh_token": "x" })).await.expect("an answer");
        problem(&refused, 401);
        assert!(!postgres.asked().iter().any(|asked| matches!(asked, Asked::Commit)), "{ends}");
    }
    let postgres = ScriptedPostgres::new().expect("FROM refresh_tokens", away());
    let service = start(&postgres, &FakeAuth::default()).await;
    problem(&service.post(REFRESH, &json!({ "refresh_token": "x" })).await.expect("an answer"), 503);
}

#[tokio::test]
async fn while_too_many_passwords_are_hashed_the_answer_says_when_to_come_back() {
    let auth = FakeAuth::default();
    auth.busy(true);
    let postgres = ScriptedPostgres::new().expect("FROM accounts JOIN users", account());
    let service = start(&postgres, &auth).await;
    let eddie = json!({ "username": "eddie", "email": "eddie@example.com", "password": "long enough" });
    for (path, body) in
        [(LOGIN, json!({ "username": "ann", "password": "correct horse" })), ("/api/v1/users", eddie.clone())]
    {
        let busy = service.post(path, &body).await.expect("an answer");
        problem(&busy, 503);
        assert_eq!(busy.header("retry-after"), Some("2"), "{path}");
    }
    auth.busy(false);
    let made = vec![9.into(), "eddie".into(), "eddie@example.com".into(), Value::Timestamp(0)];
    let postgres = ScriptedPostgres::new()
        .expect("INSERT INTO accounts", rows(["id", "username", "email", "created_at"], [made]));
    let service = start(&postgres, &auth).await;
    assert_eq!(service.post("/api/v1/users", &eddie).await.expect("an answer").status, 201);
    assert!(params(&postgres)[0].contains(r#"Text("hashed:long enough")"#));
    for password in ["7 chars", &"x".repeat(129)] {
        let mut short = eddie.clone();
        short["password"] = json!(password);
        let refused = service.post("/api/v1/users", &short).await.expect("an answer");
        assert_eq!(pointers(&problem(&refused, 422)), ["/password"]);
    }
}

#[tokio::test]
async fn the_caller_is_told_who_they_are_and_not_what_somebody_else_is() {
    let me = vec![7.into(), "ann".into(), "ann@example.com".into(), "customer".into()];
    let postgres = ScriptedPostgres::new()
        .expect("WHERE users.id = $1", rows(["id", "username", "email", "role"], [me]))
        .expect("WHERE users.id = $1", rows(["id"], []));
    let service = start(&postgres, &FakeAuth::default()).await;
    let me = service.get("/api/v1/auth/me").caller("7", &["customer"]).await.expect("an answer");
    assert_eq!(
        me.json(),
        json!({ "id": 7, "username": "ann", "email": "ann@example.com", "role": "customer" })
    );
    let gone = service.get("/api/v1/auth/me").caller("8", &["customer"]).await.expect("an answer");
    problem(&gone, 401);
    assert_eq!(params(&postgres), ["[Int32(7)]", "[Int32(8)]"]);
}
