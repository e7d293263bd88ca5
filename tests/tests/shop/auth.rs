//! Logging in, and what it takes a token for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wasmyard_tests::{Answer, Session, Shop, at_once, hashed};

const INVALID: &str = r#"Bearer error="invalid_token""#;

/// A problem without what differs from one request to the next.
fn told(answer: &Answer, status: u16) -> Value {
    let mut problem = answer.problem(status);
    problem.as_object_mut().expect("an object").remove("request_id");
    problem
}

/// Checks that there is a challenge, and that it is this one.
fn challenged(answer: &Answer, status: u16, challenge: &str) {
    answer.problem(status);
    assert_eq!(answer.header("www-authenticate"), Some(challenge), "{answer:?}");
}

/// A token's header and claims.
fn decoded(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| serde_json::from_slice(&base64(part)).unwrap_or_default());
    (parts.next().expect("a header"), parts.next().expect("claims"))
}

fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes() {
        let value = LETTERS.iter().position(|known| *known == letter).expect("base64url");
        bits = bits << 6 | u32::try_from(value).expect("six bits");
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held).to_le_bytes()[0]);
        }
    }
    bytes
}

#[tokio::test]
async fn a_login_gives_a_token_that_says_who_one_is() {
    let shop = Shop::start().await;
    let answer = hashed(async || shop.try_login("alice", "alice-password").await).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let granted = answer.json();
    assert_eq!((&granted["token_type"], &granted["expires_in"]), (&json!("Bearer"), &json!(900)));

    let alice = Session::of(&answer);
    let me = alice.get(&shop, "/api/v1/auth/me").await;
    assert_eq!((me.status.as_u16(), me.header("cache-control")), (200, Some("no-store")));
    let expected = json!({ "id": 1, "username": "alice", "email": "alice@example.com", "role": "customer" });
    assert_eq!(me.json(), expected);
    let diana = shop.login("diana").await;
    assert_eq!(diana.get(&shop, "/api/v1/auth/me").await.json()["role"], "admin");

    let (header, claims) = decoded(&alice.access);
    let jwks = shop.get("/.well-known/jwks.json").await;
    assert_eq!(jwks.header("content-type"), Some("application/jwk-set+json"));
    let key = &jwks.json()["keys"][0];
    assert_eq!(header, json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": key["kid"] }));
    assert_eq!((&key["kty"], &key["crv"], &key["d"]), (&json!("OKP"), &json!("Ed25519"), &Value::Null));
    for (claim, value) in [("iss", "wasmyard"), ("aud", "wasmyard"), ("sub", "1"), ("role", "customer")] {
        assert_eq!(claims[claim], value);
    }
    assert_eq!(claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(exp, iat)| exp - iat), Some(900));
    assert!(claims["jti"].as_str().is_some_and(|jti| jti.len() == 36));
}

#[tokio::test]
async fn nobody_learns_whether_a_name_is_taken_by_logging_in() {
    let shop = Shop::start().await;
    shop.post("/api/v1/users", &json!({ "username": "eddie", "email": "eddie@example.com" })).await;
    let wrong = told(&hashed(async || shop.try_login("alice", "alice-passwore").await).await, 401);
    for (username, password) in
        [("alice", "a"), ("nobody", "alice-password"), ("eddie", "alice-password"), ("' OR 1=1 --", "x")]
    {
        let refused = hashed(async || shop.try_login(username, password).await).await;
        assert_eq!(told(&refused, 401), wrong, "{username}");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    }
    for (body, faults) in [
        (json!({}), &["/password", "/username"][..]),
        (json!({ "username": "alice" }), &["/password"]),
        (json!({ "username": "alice", "password": "" }), &["/password"]),
        (json!({ "username": "alice", "password": "x".repeat(129) }), &["/password"]),
        (json!({ "username": "alice", "password": 1 }), &["/password"]),
        (json!({ "username": ["alice"], "password": "alice-password" }), &["/username"]),
    ] {
        let mut named = shop.post("/api/v1/auth/login", &body).await.faults(422);
        named.sort();
        assert_eq!(named, faults, "{body}");
    }
}

#[tokio::test]
async fn a_user_made_with_a_password_logs_in_with_it() {
    let shop = Shop::start().await;
    let made = async |username: &str, password: Value| {
        let email = format!("{username}@example.com");
        let user = json!({ "username": username, "email": email, "password": password });
        hashed(async || shop.post("/api/v1/users", &user).await).await
    };
    for (username, password) in [
        ("short", "8 chars!".to_owned()),
        ("long", "é😀".repeat(64)),
        ("odd", "\0\n\t\u{200b}\\\"'x".to_owned()),
    ] {
        let user = made(username, json!(password)).await;
        assert_eq!(user.status, 201, "{user:?}");
        assert!(!user.text().contains("password") && !user.text().contains("argon2"), "{user:?}");
        assert_eq!(shop.get(user.header("location").expect("a location")).await.body, user.body);
        let session = shop.login_with(username, &password).await;
        let me = session.get(&shop, "/api/v1/auth/me").await.json();
        assert_eq!((&me["username"], &me["role"]), (&json!(username), &json!("customer")));
    }
    for password in [json!("7 chars"), json!("x".repeat(129)), json!(12_345_678), json!(["password"])] {
        let refused = made("refused", password).await;
        assert_eq!(refused.faults(422), ["/password"]);
        assert!(!refused.text().contains("7 chars"), "a password is never repeated: {refused:?}");
    }
    assert_eq!(made("nobody", Value::Null).await.status, 201);
    assert_eq!(made("alice", json!("another one")).await.faults(409), ["/username"]);
    shop.login("alice").await;
    assert_eq!(
        shop.sql(
            "SELECT count(*) FROM accounts WHERE password_hash NOT LIKE '$argon2id$v=19$m=19456,t=2,p=1$%'"
        )
        .await,
        "0"
    );
    assert_eq!(shop.sql("SELECT count(*) FROM accounts").await, "7", "four, and three more");
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_one_used_twice_ends_its_session() {
    let shop = Shop::start().await;
    let first = shop.login("alice").await;
    let elsewhere = shop.login("alice").await;
    let second = Session::of(&shop.refresh(&first.refresh).await);
    assert_ne!((&second.access, &second.refresh), (&first.access, &first.refresh));
    let third = Session::of(&shop.refresh(&second.refresh).await);
    assert_eq!(third.get(&shop, "/api/v1/auth/me").await.json()["id"], 1);

    // Whoever comes with the first one again ends what came of it, and nothing else.
    let reused = told(&shop.refresh(&first.refresh).await, 401);
    assert_eq!(told(&shop.refresh(&third.refresh).await, 401), reused);
    assert_eq!(told(&shop.refresh("made-up").await, 401), reused);
    let elsewhere = Session::of(&shop.refresh(&elsewhere.refresh).await);

    shop.sql("UPDATE refresh_tokens SET expires_at = now() - interval '1 second'").await;
    assert_eq!(told(&shop.refresh(&elsewhere.refresh).await, 401), reused);
    // One row for each session, however often its client came: used ones are known by their
    // family, which the session remembers.
    assert_eq!(shop.sql("SELECT count(*) FROM refresh_tokens").await, "2");
    // What is stored is of no use to whoever reads it.
    let stored = shop.sql("SELECT encode(digest, 'escape') FROM refresh_tokens").await;
    for token in [&first, &second, &third, &elsewhere] {
        assert!(!stored.contains(&token.refresh));
    }
}

#[tokio::test]
async fn a_token_used_long_ago_still_ends_its_session_and_nothing_is_kept_for_it() {
    let shop = Shop::start().await;
    let first = shop.login("bob").await;
    let mut last = first.clone();
    for _ in 0..120 {
        last = Session::of(&shop.refresh(&last.refresh).await);
    }
    assert_eq!(shop.sql("SELECT count(*) FROM refresh_tokens").await, "1");
    // Another session's rest with this one's family is not a good token, and was had by
    // somebody who has had one of this session's.
    shop.refresh(&first.refresh).await.problem(401);
    shop.refresh(&last.refresh).await.problem(401);
    let other = shop.login("bob").await;
    let mixed = format!("{}.{}", other.refresh.split_once('.').expect("a family").0, "x");
    shop.refresh(&mixed).await.problem(401);
    shop.refresh(&other.refresh).await.problem(401);
}

#[tokio::test]
async fn a_session_from_before_families_goes_on_and_a_used_token_of_it_ends_it() {
    let shop = Shop::start().await;
    for reused in [false, true] {
        let session = "WITH session AS (
                INSERT INTO sessions (user_id, expires_at) VALUES (2, now() + interval '1 day') RETURNING id, expires_at
            )
            INSERT INTO refresh_tokens (digest, session_id, expires_at) SELECT sha256($$old$$), id, expires_at FROM session";
        shop.sql("DELETE FROM sessions").await;
        shop.sql(session).await;
        let next = Session::of(&shop.refresh("old").await);
        if reused {
            shop.refresh("old").await.problem(401);
            shop.refresh(&next.refresh).await.problem(401);
        } else {
            let last = Session::of(&shop.refresh(&next.refresh).await);
            shop.refresh(&next.refresh).await.problem(401);
            shop.refresh(&last.refresh).await.problem(401);
        }
    }
}

#[tokio::test]
async fn a_login_sweeps_up_after_those_who_never_came_back() {
    let shop = Shop::start().await;
    shop.sql("INSERT INTO sessions (user_id, expires_at) SELECT 3, now() - interval '1 day' FROM generate_series(1, 25)").await;
    for left in [15, 5, 0] {
        let alice = shop.login("alice").await;
        assert_eq!(shop.sql("SELECT count(*) FROM sessions WHERE user_id = 3").await, left.to_string());
        Session::of(&shop.refresh(&alice.refresh).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_uses_of_a_refresh_token_at_the_same_moment_one_is_the_first() {
    let shop = Arc::new(Shop::start().await);
    let session = shop.login("bob").await;
    let uses = (0..8).map(|_| {
        let (shop, token) = (shop.clone(), session.refresh.clone());
        async move { shop.refresh(&token).await }
    });
    let answers = at_once(uses).join_all().await;
    let (taken, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((taken.len(), refused.len()), (1, 7), "{answers:?}");
    refused.iter().for_each(|answer| assert_eq!(answer.status, 401, "{answer:?}"));
    // It was used twice, so what came of it is over too.
    shop.refresh(&Session::of(taken[0]).refresh).await.problem(401);
}

#[tokio::test]
async fn after_a_logout_the_session_is_over() {
    let shop = Shop::start().await;
    let (session, other) = (shop.login("charlie").await, shop.login("charlie").await);
    let next = Session::of(&shop.refresh(&session.refresh).await);
    let out = shop.post("/api/v1/auth/logout", &json!({ "refresh_token": next.refresh })).await;
    assert_eq!((out.status.as_u16(), out.body.len()), (204, 0), "{out:?}");
    shop.refresh(&next.refresh).await.problem(401);
    Session::of(&shop.refresh(&other.refresh).await);
    // A second time, or with what never was one, nothing is left to do.
    for token in [next.refresh.as_str(), "made-up"] {
        let again = shop.post("/api/v1/auth/logout", &json!({ "refresh_token": token })).await;
        assert_eq!(again.status, 204, "{again:?}");
    }
    assert_eq!(shop.post("/api/v1/auth/logout", &json!({})).await.faults(422), ["/refresh_token"]);
}

#[tokio::test]
async fn an_account_has_so_many_sessions_and_the_oldest_makes_room() {
    let shop = Shop::start().await;
    let first = shop.login("charlie").await;
    shop.sql("INSERT INTO sessions (user_id, expires_at) SELECT 3, now() + interval '1 day' FROM generate_series(1, 48)").await;
    let fiftieth = shop.login("charlie").await;
    let first = Session::of(&shop.refresh(&first.refresh).await);
    let other = shop.login("alice").await;
    shop.login("charlie").await;
    shop.refresh(&first.refresh).await.problem(401);
    Session::of(&shop.refresh(&fiftieth.refresh).await);
    Session::of(&shop.refresh(&other.refresh).await);
    assert_eq!(shop.sql("SELECT count(*) FROM sessions WHERE user_id = 3").await, "50");
}

#[tokio::test]
async fn where_tokens_are_required_each_route_has_its_own_circle() {
    let shop = Shop::builder().tokens_required().start().await;
    let (bob, diana) = (shop.login("bob").await, shop.login("diana").await);
    let (order, product) = (json!({ "product_id": 2, "quantity": 1 }), json!({ "name": "x", "price": 1 }));
    for (method, path, body, everybody, customer, admin) in [
        ("GET", "/api/v1/users", Value::Null, 200, 200, 200),
        ("GET", "/api/v1/auth/me", Value::Null, 401, 200, 200),
        ("GET", "/api/v1/products", Value::Null, 200, 200, 200),
        ("GET", "/api/v1/products/1", Value::Null, 200, 200, 200),
        ("POST", "/api/v1/products", product, 401, 403, 201),
        ("PATCH", "/api/v1/products/1/stock", json!({ "stock": 7 }), 401, 403, 200),
        ("GET", "/api/v1/orders", Value::Null, 401, 200, 200),
        ("POST", "/api/v1/orders", order, 401, 201, 201),
        ("GET", "/api/v1/orders/3", Value::Null, 401, 200, 200),
        ("PATCH", "/api/v1/orders/4/status", json!({ "status": "processing" }), 401, 403, 200),
        ("GET", "/api/v1/orders/stats", Value::Null, 200, 200, 200),
        ("GET", "/api/health", Value::Null, 200, 200, 200),
    ] {
        let method: Method = method.parse().expect("a method");
        let nobody = match &body {
            Value::Null => shop.send(method.clone(), path, &[], b"").await,
            body => {
                let json = [("content-type", "application/json")];
                shop.send(method.clone(), path, &json, body.to_string().as_bytes()).await
            }
        };
        assert_eq!(nobody.status, everybody, "{method} {path}: {nobody:?}");
        if everybody == 401 {
            challenged(&nobody, 401, "Bearer");
        }
        let as_bob = bob.send(&shop, method.clone(), path, &body).await;
        assert_eq!(as_bob.status, customer, "{method} {path}: {as_bob:?}");
        if customer == 403 {
            challenged(&as_bob, 403, r#"Bearer error="insufficient_scope""#);
        }
        let as_diana = diana.send(&shop, method.clone(), path, &body).await;
        assert_eq!(as_diana.status, admin, "{method} {path}: {as_diana:?}");
    }
    // A HEAD is a GET, and an OPTIONS tells nothing but the methods.
    let head = shop.send(Method::HEAD, "/api/v1/orders/3", &[], b"").await;
    assert_eq!((head.status.as_u16(), head.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(shop.send(Method::OPTIONS, "/api/v1/orders/3", &[], b"").await.status, 204);
}

#[tokio::test]
async fn in_the_local_form_the_labs_lines_need_no_token_and_a_token_counts() {
    let shop = Shop::start().await;
    let bob = shop.login("bob").await;
    let stock = json!({ "stock": 45 });
    assert_eq!(shop.patch("/api/v1/products/1/stock", &stock).await.status, 200);
    let as_bob = bob.send(&shop, Method::PATCH, "/api/v1/products/1/stock", &stock).await;
    challenged(&as_bob, 403, r#"Bearer error="insufficient_scope""#);
    let order = json!({ "user_id": 1, "product_id": 2, "quantity": 1 });
    assert_eq!(shop.post("/api/v1/orders", &order).await.status, 201);
    for field in ["Bearer nonsense", "Bearer ", "Basic Ym9iOng=", ""] {
        let refused = shop.send(Method::GET, "/api/v1/orders", &[("authorization", field)], b"").await;
        challenged(&refused, 401, INVALID);
    }
    // Where nobody is asked, nobody's token is looked at.
    let answer =
        shop.send(Method::GET, "/api/v1/products", &[("authorization", "Bearer nonsense")], b"").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn an_order_is_for_the_caller_and_an_admin_orders_for_anyone() {
    let shop = Shop::builder().tokens_required().start().await;
    let (bob, diana) = (shop.login("bob").await, shop.login("diana").await);
    let order = async |session: &Session, user: Value| {
        let body = json!({ "user_id": user, "product_id": 2, "quantity": 1 });
        session.send(&shop, Method::POST, "/api/v1/orders", &body).await
    };
    for user in [Value::Null, json!(2)] {
        let made = order(&bob, user).await;
        assert_eq!((made.status.as_u16(), &made.json()["user_id"]), (201, &json!(2)), "{made:?}");
    }
    let refused = order(&bob, json!(1)).await;
    assert_eq!(refused.faults(403), ["/user_id"]);
    assert_eq!(order(&bob, json!("2")).await.faults(422), ["/user_id"]);
    for (user, whose) in [(json!(1), 1), (Value::Null, 4)] {
        let made = order(&diana, user).await;
        assert_eq!((made.status.as_u16(), &made.json()["user_id"]), (201, &json!(whose)), "{made:?}");
    }
    assert_eq!(order(&diana, json!(9999)).await.faults(422), ["/user_id"]);

    // A token outlives its user by minutes; an order does not come of it.
    let eddie = json!({ "username": "eddie", "email": "eddie@example.com", "password": "eddie-password" });
    hashed(async || shop.post("/api/v1/users", &eddie).await).await;
    let eddie = shop.login("eddie").await;
    shop.sql("DELETE FROM users WHERE username = 'eddie'").await;
    assert_eq!(order(&eddie, Value::Null).await.faults(422), ["/user_id"]);
    eddie.get(&shop, "/api/v1/auth/me").await.problem(401);
    shop.refresh(&eddie.refresh).await.problem(401);
}

#[tokio::test]
async fn somebody_elses_order_is_one_that_is_not_there() {
    for shop in [Shop::start().await, Shop::builder().tokens_required().start().await] {
        let (alice, bob, diana) =
            (shop.login("alice").await, shop.login("bob").await, shop.login("diana").await);
        // The admin's look, and in the local form anybody's, leaves the order in every cache.
        for _ in 0..3 {
            shop.get("/api/v1/orders/1").await;
            shop.get("/api/v1/orders").await;
            assert_eq!(diana.get(&shop, "/api/v1/orders/1").await.json()["user_id"], 1);
        }
        let told =
            |answer: &Answer| told(answer, 404)["detail"].as_str().expect("a detail").replace('1', "N");
        let (others, nobodys) =
            (bob.get(&shop, "/api/v1/orders/1").await, bob.get(&shop, "/api/v1/orders/1111").await);
        assert_eq!(told(&others), told(&nobodys).replace("NNNN", "N"));
        assert_eq!(alice.get(&shop, "/api/v1/orders/1").await.json()["user_id"], 1);
        bob.get(&shop, "/api/v1/orders/1").await.problem(404);
        bob.get(&shop, "/api/v1/orders/1/history").await.problem(404);
        assert_eq!(alice.get(&shop, "/api/v1/orders/1/history").await.status, 200);
        assert_eq!(diana.get(&shop, "/api/v1/orders/1/history").await.status, 200);
        // What bob was told is told to nobody else.
        assert_eq!(diana.get(&shop, "/api/v1/orders/1").await.status, 200);

        let ids = |list: &Answer| -> Vec<i64> {
            let list = list.json();
            let ids = list.as_array().expect("a list").iter().map(|order| order["id"].as_i64());
            ids.map(|id| id.expect("an id")).collect()
        };
        for (session, expected) in [(&alice, vec![1, 2]), (&bob, vec![3, 4]), (&diana, (1..=8).collect())] {
            assert_eq!(ids(&session.get(&shop, "/api/v1/orders").await), expected);
        }
        let page = bob.get(&shop, "/api/v1/orders?limit=1").await;
        let next = page.header("link").and_then(|link| link.split(['<', '>']).nth(1)).expect("a next page");
        assert_eq!((ids(&page), ids(&bob.get(&shop, next).await)), (vec![3], vec![4]));
    }
}

#[tokio::test]
async fn what_is_stored_is_given_to_nobody_who_may_not_ask() {
    let shop = Shop::builder().tokens_required().start().await;
    let diana = shop.login("diana").await;
    for path in ["/api/v1/orders", "/api/v1/orders/1"] {
        for _ in 0..3 {
            assert_eq!(diana.get(&shop, path).await.status, 200);
        }
        challenged(&shop.get(path).await, 401, "Bearer");
        let forged = [("authorization", "Bearer nonsense")];
        challenged(&shop.send(Method::GET, path, &forged, b"").await, 401, INVALID);
        // Nor is it confirmed to them.
        let tag = diana.get(&shop, path).await.header("etag").expect("a tag").to_owned();
        let known = shop.send(Method::GET, path, &[("if-none-match", &tag)], b"").await;
        assert_eq!(known.status, 401, "{known:?}");
    }
}

#[tokio::test]
async fn no_header_from_outside_makes_anybody_of_anyone() {
    let shop = Shop::builder().tokens_required().start().await;
    let (bob, client) = (shop.login("bob").await, shop.http1());
    let bearer = format!("Bearer {}", bob.access);
    for name in [
        "identity",
        "x-identity",
        "x-user",
        "x-user-id",
        "x-forwarded-user",
        "x-remote-user",
        "remote-user",
        "x-auth-subject",
        "x-roles",
        "x-authenticated-userid",
        "x-wasmyard-identity",
        "wasmyard-identity",
        "proxy-authorization",
        "x-authorization",
        "authentication",
    ] {
        for value in ["1", "admin", r#"{"subject":"1","roles":["admin"]}"#, &bearer] {
            challenged(
                &shop.send(Method::GET, "/api/v1/auth/me", &[(name, value)], b"").await,
                401,
                "Bearer",
            );
        }
        // HTTP/1.1, which alone has a `Connection` that says what belongs to it.
        let headers = [("authorization", bearer.as_str()), (name, "1"), ("connection", name)];
        for count in 2..=headers.len() {
            let me = Answer::to(
                headers[..count]
                    .iter()
                    .fold(client.get(shop.url("/api/v1/auth/me")), |request, (name, value)| {
                        request.header(*name, *value)
                    }),
            );
            assert_eq!(me.await.json()["id"], 2, "{name}");
        }
    }
    for query in ["?access_token=", "?token="] {
        let path = format!("/api/v1/auth/me{query}{}", bob.access);
        challenged(&shop.get(&path).await, 401, "Bearer");
    }
    // A proxy of one's own makes nobody of a caller; it does not make them somebody else.
    let gone = client.get(shop.url("/api/v1/auth/me")).header("authorization", &bearer);
    challenged(&Answer::to(gone.header("connection", "authorization")).await, 401, "Bearer");
    let two = [("authorization", bearer.as_str()), ("authorization", bearer.as_str())];
    challenged(&shop.send(Method::GET, "/api/v1/auth/me", &two, b"").await, 401, INVALID);
}

#[tokio::test]
async fn a_rotation_takes_effect_at_once_and_keeps_the_tokens_that_are_out() {
    let shop = Shop::start().await;
    let (operator, alice) = (shop.operator(), shop.login("alice").await);
    let kids = async || -> Vec<Value> {
        let jwks = shop.get("/.well-known/jwks.json").await.json();
        jwks["keys"].as_array().expect("keys").iter().map(|key| key["kid"].clone()).collect()
    };
    let before = kids().await;
    assert_eq!(before.len(), 1);
    assert_eq!(operator.send(Method::POST, "/v1/keys/rotate", &[], Vec::new()).await.status, 401);
    let authorization = operator.authorization();
    let token = [("authorization", authorization.as_str())];
    let rotated = operator.send(Method::POST, "/v1/keys/rotate", &token, Vec::new()).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let after = kids().await;
    assert_eq!((after.len(), &after[1]), (2, &before[0]));
    let listed = operator.get("/v1/keys").await.json();
    assert_eq!(listed, rotated.json());
    assert_eq!((&listed["keys"][0]["kid"], &listed["keys"][0]["state"]), (&after[0], &json!("current")));
    assert_eq!((&listed["keys"][1]["kid"], &listed["keys"][1]["state"]), (&after[1], &json!("previous")));

    assert_eq!(alice.get(&shop, "/api/v1/auth/me").await.status, 200);
    let again = shop.login("alice").await;
    assert_eq!(decoded(&again.access).0["kid"], after[0]);
    assert_eq!(again.get(&shop, "/api/v1/auth/me").await.status, 200);

    // A key whose last token has expired goes when the next one comes.
    let aged = "UPDATE wasmyard.signing_keys SET created_at = created_at - interval '1 hour'";
    shop.sql(aged).await;
    operator.send(Method::POST, "/v1/keys/rotate", &token, Vec::new()).await;
    assert_eq!(shop.sql("SELECT count(*) FROM wasmyard.signing_keys").await, "2");
    assert_eq!(kids().await[1], after[0]);
    challenged(&alice.get(&shop, "/api/v1/auth/me").await, 401, INVALID);
    assert_eq!(again.get(&shop, "/api/v1/auth/me").await.status, 200);

    // After a leak, only what is signed from now on counts; a session goes on.
    let revoked = operator.send(Method::POST, "/v1/keys/revoke", &token, Vec::new()).await;
    assert_eq!((revoked.status.as_u16(), kids().await.len()), (200, 1), "{revoked:?}");
    for session in [&alice, &again] {
        challenged(&session.get(&shop, "/api/v1/auth/me").await, 401, INVALID);
    }
    let alice = Session::of(&shop.refresh(&alice.refresh).await);
    assert_eq!(alice.get(&shop, "/api/v1/auth/me").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_one_database_take_each_others_tokens_and_others_do_not() {
    let one = Shop::start().await;
    let redis = one.redis.as_ref().expect("its own").url();
    let two = Shop::builder().postgres(one.database.clone()).redis(redis).start().await;
    let stranger = Shop::start().await;
    let alice = one.login("alice").await;
    assert_eq!(alice.get(&two, "/api/v1/auth/me").await.json()["id"], 1);
    challenged(&alice.get(&stranger, "/api/v1/auth/me").await, 401, INVALID);

    let (operator, token) = (one.operator(), one.operator().authorization());
    operator.send(Method::POST, "/v1/keys/rotate", &[("authorization", &token)], Vec::new()).await;
    let alice = one.login("alice").await;
    assert_eq!(
        alice.get(&two, "/api/v1/auth/me").await.json()["id"],
        1,
        "the key is looked for when it is met"
    );
}

#[tokio::test]
async fn the_keys_are_the_hosts_alone_and_are_stored_encrypted() {
    let shop = Shop::start().await;
    for role in ["users_service", "products_service", "orders_service"] {
        let may = shop.sql(&format!("SELECT has_schema_privilege('{role}', 'wasmyard', 'USAGE')")).await;
        let read = shop
            .sql(&format!("SELECT has_table_privilege('{role}', 'wasmyard.signing_keys', 'SELECT')"))
            .await;
        assert_eq!((may.as_str(), read.as_str()), ("f", "f"), "{role}");
        let hashes = shop.sql(&format!("SELECT has_table_privilege('{role}', 'accounts', 'SELECT')")).await;
        assert_eq!(hashes, if role == "users_service" { "t" } else { "f" }, "{role}");
    }
    // The algorithm's identifier, 1.3.101.112, stands in every PKCS #8 document of Ed25519.
    let plain = "SELECT count(*), count(*) FILTER (WHERE position('\\x06032b6570'::bytea IN sealed) > 0)
                 FROM wasmyard.signing_keys";
    assert_eq!(shop.sql(plain).await, "1|0");

    // With another secret, the host says so and changes nothing.
    let (database, dir) = (shop.database.clone(), shop.stop().await);
    std::fs::remove_dir_all(dir.path().join("state")).expect("the state folder");
    let other = Shop::builder().postgres(database).change(|manifest| {
        manifest.auth.key = Some("another secret, as long as it should be".to_owned());
    });
    let error = format!("{:#}", other.try_start().await.err().expect("another secret"));
    assert!(error.contains("auth.key"), "{error}");
}

#[tokio::test]
async fn the_local_form_is_not_served_to_others_without_tokens() {
    let open = |builder: wasmyard_tests::ShopBuilder| {
        builder.change(|manifest| manifest.server.bind = "0.0.0.0".parse().expect("an address")).try_start()
    };
    let error = open(Shop::builder()).await.err().expect("a refusal").to_string();
    for named in ["0.0.0.0", "POST /api/v1/orders", "local_auth", "server.bind"] {
        assert!(error.contains(named), "{named}: {error}");
    }
    // What no local relief opens may be served to anybody.
    let shop = open(Shop::builder().tokens_required()).await.expect("nothing is open");
    challenged(&shop.get("/api/v1/orders").await, 401, "Bearer");
    // Whatever a changed manifest says of the address, this listener is where it is.
    let mut changed = shop.manifest.clone();
    changed.server.bind = "127.0.0.1".parse().expect("an address");
    for service in changed.services.values_mut() {
        service.routes.iter_mut().for_each(|route| route.auth.local_optional = route.auth.asks());
    }
    let error = shop.host.platform().apply(changed).await.expect_err("a refusal").to_string();
    assert!(error.contains("0.0.0.0"), "{error}");
    challenged(&shop.get("/api/v1/orders").await, 401, "Bearer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_new_users_with_passwords_keeps_nobody_from_logging_in() {
    const VISITORS: usize = 64;
    let shop = Arc::new(Shop::start().await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut flood = JoinSet::new();
    for visitor in 0..VISITORS {
        let (shop, stop) = (shop.clone(), stop.clone());
        flood.spawn(async move {
            for number in (0..).take_while(|_| !stop.load(Relaxed)) {
                let status = sign_up(&shop, &format!("flood-{visitor}-{number}")).await.status.as_u16();
                assert!([201, 503].contains(&status), "{status}");
            }
        });
    }
    let mut tries = 0;
    wasmyard_tests::until("new users are turned away", async || {
        tries += 1;
        sign_up(&shop, &format!("one-{tries}")).await.status == 503
    })
    .await;
    for _ in 0..5 {
        shop.login("alice").await;
    }
    stop.store(true, Relaxed);
    flood.join_all().await;
}

async fn sign_up(shop: &Shop, name: &str) -> Answer {
    let email = format!("{name}@example.com");
    let user = json!({ "username": name, "email": email, "password": "long enough" });
    shop.post("/api/v1/users", &user).await
}

#[tokio::test]
async fn new_users_of_one_client_are_limited_and_the_list_is_not() {
    let shop = Shop::builder().change(|manifest| {
        let users = manifest.services.get_mut("users").expect("users");
        let route = users.routes.iter_mut().find(|route| route.path == "/api/v1/users").expect("the route");
        let limit = route.rate_limit.as_mut().expect("its limit");
        assert!(limit.strict && limit.methods == ["POST"]);
        (limit.requests, limit.per, limit.burst) = (1, Duration::from_secs(3_600), 3);
        manifest.runtime.rate_limit_wait = Duration::from_secs(60);
    });
    let shop = shop.start().await;
    for number in 0..5 {
        let user = json!({ "username": format!("u{number}"), "email": format!("u{number}@example.com") });
        let status = shop.post("/api/v1/users", &user).await.status;
        assert_eq!(status, if number < 3 { 201 } else { 429 });
        assert_eq!(shop.get("/api/v1/users").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_logins_makes_logins_busy_and_nothing_else() {
    const VISITORS: usize = 64;
    let shop = Arc::new(Shop::builder().tokens_required().start().await);
    let bob = shop.login("bob").await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut flood = JoinSet::new();
    for _ in 0..VISITORS {
        let (shop, stop) = (shop.clone(), stop.clone());
        flood.spawn(async move {
            let mut answers = Vec::new();
            while !stop.load(Relaxed) {
                answers.push(shop.try_login("alice", "not her password").await);
            }
            answers
        });
    }
    // More of them than there may wait, so from here on some are turned away.
    wasmyard_tests::until("the queue is full", async || {
        shop.try_login("bob", "not his either").await.status == 503
    })
    .await;
    for n in 0..50 {
        assert_eq!(shop.get("/api/v1/users/1").await.status, 200);
        assert_eq!(shop.get("/api/v1/products").await.status, 200);
        let order = json!({ "product_id": n % 10 + 1, "quantity": 1 });
        assert_eq!(bob.send(&shop, Method::POST, "/api/v1/orders", &order).await.status, 201);
    }
    stop.store(true, Relaxed);
    let answers: Vec<Answer> = flood.join_all().await.into_iter().flatten().collect();
    let statuses: BTreeSet<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, BTreeSet::from([401, 503]), "some had their turn, some were told to come back");
    for answer in answers.iter().filter(|answer| answer.status == 503) {
        assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
    }
    shop.login("alice").await;
}
