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
        .expect("expires_at < now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED", nothing())
        .expect("INSERT INTO refresh_tokens", nothing());
    let service = start(&postgres, &FakeAuth::default()).await;
    let answer = service.post(LOGIN, &json!({ "username": "ann", "password": "correct horse" }));
    let answer = answer.await.expect("an answer");
    let granted = answer.json();
    assert_eq!((&granted["access_token"], &granted["expires_in"]), (&json!("7:customer"), &json!(900)));
    let refresh = granted["refresh_token"].as_str().expect("a token");
    let (family, rest) = refresh.split_once('.').expect("a family");
    assert_eq!((family.len(), rest.len()), (43, 43), "256 bits each");
    let stored = params(&postgres).concat();
    assert!(!stored.contains(family) && !stored.contains(rest));
}

#[tokio::test]
async fn every_login_that_fails_does_the_same_work_and_gets_the_same_answer() {
    let mut told = Vec::new();
    for (found, password) in [(account(), "wrong"), (rows(["user_id"], []), "correct horse")] {
        let postgres = ScriptedPostgres::new().expect("FROM accounts JOIN users", found);
        let auth = FakeAuth::default();
        let service = start(&postgres, &auth).await;
        let answer = service.post(LOGIN, &json!({ "username": "ann", "password": password }));
        let mut refused = problem(&answer.await.expect("an answer"), 401);
        refused.as_object_mut().expect("an object").remove("request_id");
        told.push((refused, params(&postgres), auth.verified()));
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].2, 1, "an account that is not there costs as much as a wrong password");
}

#[tokio::test]
async fn a_used_refresh_token_revokes_its_session_durably() {
    // Known by its family; and one from before there were families, which is kept for that.
    for (sent, found, revoke) in [
        ("family.used", nothing(), "UPDATE sessions SET revoked_at = now() WHERE family = $1"),
        ("x", token(true, false), "UPDATE sessions SET revoked_at = now() WHERE id = $1"),
    ] {
        let postgres = ScriptedPostgres::new().expect("FROM refresh_tokens", found).expect(revoke, nothing());
        let service = start(&postgres, &FakeAuth::default()).await;
        let reused = service.post(REFRESH, &json!({ "refresh_token": sent })).await.expect("an answer");
        problem(&reused, 401);
        let asked = postgres.asked();
        assert!(matches!(asked.first(), Some(Asked::Begin(Isolation::ReadCommitted))), "{asked:?}");
        assert!(matches!(asked.last(), Some(Asked::Commit)), "{asked:?}");
    }
}

#[tokio::test]
async fn a_refresh_is_one_transaction_with_the_role_of_this_moment() {
    for (sent, used) in [
        ("family.good", "DELETE FROM refresh_tokens WHERE digest = $1"),
        ("x", "UPDATE refresh_tokens SET used_at = now() WHERE digest = $1"),
    ] {
        let postgres = ScriptedPostgres::new()
            .expect("FOR UPDATE OF refresh_tokens, sessions", token(false, false))
            .expect(used, nothing())
            .expect("DELETE FROM refresh_tokens WHERE session_id = $1 AND expires_at < now()", nothing())
            .expect("INSERT INTO refresh_tokens", nothing());
        let service = start(&postgres, &FakeAuth::default()).await;
        let answer = service.post(REFRESH, &json!({ "refresh_token": sent })).await.expect("an answer");
        assert_eq!(answer.json()["access_token"], "7:admin");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let granted = answer.json();
        let next = granted["refresh_token"].as_str().expect("a token");
        assert_eq!(next.starts_with("family."), sent.starts_with("family."), "{next}");
        assert!(next.contains('.') && next != sent);
    }

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
    let postgres = ScriptedPostgres::new()
        .expect("FROM accounts JOIN users", account())
        .expect("FROM users WHERE username = $1 OR email = $2", rows(["is_name"], []));
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
        .expect("FROM users WHERE username = $1 OR email = $2", rows(["is_name"], []))
        .expect("INSERT INTO accounts", rows(["id", "username", "email", "created_at"], [made]));
    let service = start(&postgres, &auth).await;
    assert_eq!(service.post("/api/v1/users", &eddie).await.expect("an answer").status, 201);
    assert!(params(&postgres)[1].contains(r#"Text("hashed:long enough")"#));
    for password in ["7 chars", &"x".repeat(129)] {
        let mut short = eddie.clone();
        short["password"] = json!(password);
        let refused = service.post("/api/v1/users", &short).await.expect("an answer");
        assert_eq!(pointers(&problem(&refused, 422)), ["/password"]);
    }
}

#[tokio::test]
async fn no_password_is_hashed_for_a_user_who_cannot_be_made() {
    for (is_name, pointer) in [(true, "/username"), (false, "/email")] {
        let auth = FakeAuth::default();
        let postgres = ScriptedPostgres::new().expect(
            "FROM users WHERE username = $1 OR email = $2",
            rows(["is_name"], [vec![is_name.into()]]),
        );
        let service = start(&postgres, &auth).await;
        let taken = json!({ "username": "ann", "email": "ann@example.com", "password": "long enough" });
        let refused = service.post("/api/v1/users", &taken).await.expect("an answer");
        assert_eq!(pointers(&problem(&refused, 409)), [pointer]);
        assert_eq!(auth.hashed(), 0);
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
