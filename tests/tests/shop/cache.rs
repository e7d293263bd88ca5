//! What stands in Redis, when it goes, and who reads the database.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use wasmyard::manifest::Manifest;
use wasmyard::testing::servers::{TestPostgres, TestRedis};
use wasmyard_tests::{Answer, Shop, Turnstile, Visitor, at_once, eventually, on_both, until};

on_both!(a_key_deleted_or_written_by_hand_counts_when_redis_has_told_of_it,);

/// Time enough for a test that keeps readers waiting.
fn patient(manifest: &mut Manifest) {
    for service in manifest.services.values_mut() {
        service.limits.request_timeout = Duration::from_secs(120);
        service.grants.postgres.as_mut().expect("a grant").statement_timeout = Duration::from_secs(100);
    }
}

fn cached(shop: &Shop, key: &str) -> bool {
    shop.redis_cli(&["EXISTS", key]) == "1"
}

/// Values that a service has in the host's memory.
fn near(shop: &Shop, service: &str) -> u64 {
    shop.service(service).stats().near().usage().expect("a near cache").entries
}

/// Asks until the answer comes out of the host's memory.
async fn brought_near(shop: &Shop, service: &str, path: &str) -> Answer {
    let service = shop.service(service);
    let hits = || service.stats().near().hits.load(std::sync::atomic::Ordering::Relaxed);
    eventually("it is near", async || {
        let before = hits();
        let answer = shop.get(path).await;
        (hits() > before).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn what_a_client_got_stands_under_the_labs_keys_for_the_labs_times() {
    let shop = Shop::start().await;
    for (path, key, seconds) in [
        ("/api/v1/users", "users:all", 60),
        ("/api/v1/users/1", "users:1", 300),
        ("/api/v1/products", "products:all", 60),
        ("/api/v1/products?category=Electronics", "products:category:Electronics", 60),
        ("/api/v1/products?category=home+%26+kitchen", "products:category:Home & Kitchen", 60),
        ("/api/v1/products/1", "products:1", 300),
        ("/api/v1/orders", "orders:all", 60),
        ("/api/v1/orders/1", "orders:1", 300),
    ] {
        let now = || -> i64 {
            let time = shop.redis_cli(&["TIME"]);
            time.lines().next().and_then(|seconds| seconds.parse().ok()).expect("a time")
        };
        let (before, answer, after) = (now(), shop.get(path).await, now());
        assert_eq!(answer.header("cache-status"), Some("wasmyard; fwd=miss; stored"), "{path}");
        assert_eq!(shop.redis_cli(&["GET", key]), answer.text(), "{key}");
        let until: i64 = shop.redis_cli(&["EXPIRETIME", key]).parse().expect("a time");
        // A time is rounded to a whole second on its way out.
        assert!(
            (before + seconds..=after + seconds + 1).contains(&until),
            "{key}: {until}, from {before} to {after}"
        );
        assert!(shop.get(path).await.header("cache-status").is_some_and(|status| status.contains("; hit; ")));
    }
    // Another way to write a category is the same key.
    assert!(
        shop.get("/api/v1/products?category=ELECTRONICS")
            .await
            .header("cache-status")
            .is_some_and(|s| s.contains("hit"))
    );

    // What is not there is not kept, and neither are other pages. The right to fill a key
    // is remembered beside it for a while, among the host's own keys.
    let lease = |key: &&str| key.starts_with("wasmyard:lease:");
    let own = |key: &&str| key.starts_with("wasmyard:");
    let keys = || {
        let listed = shop.redis_cli(&["KEYS", "*"]);
        let mut keys: Vec<String> = listed.lines().filter(|key| !own(key)).map(str::to_owned).collect();
        keys.sort();
        keys
    };
    let before = keys();
    assert_eq!(before.len(), 8, "{before:?}");
    shop.get("/api/v1/users/9999").await.problem(404);
    for path in [
        "/api/v1/users?limit=2",
        "/api/v1/products?category=nothing",
        "/api/v1/orders/stats",
        "/api/v1/users/health",
    ] {
        assert_eq!(shop.get(path).await.status, 200);
    }
    assert_eq!(keys(), before);
    for key in shop.redis_cli(&["KEYS", "*"]).lines().filter(lease) {
        let left: i64 = shop.redis_cli(&["TTL", key]).parse().expect("a number");
        assert!(left != -1 && left <= 30, "{key} stays for {left} s");
    }
}

async fn a_key_deleted_or_written_by_hand_counts_when_redis_has_told_of_it(shop: &Visitor) {
    // Asked so often that it is in every memory on the way, whatever the system has.
    let known = async || {
        for _ in 0..8 {
            shop.get("/api/v1/users").await;
        }
        shop.get("/api/v1/users").await
    };
    for round in 0..20 {
        let before = known().await;
        assert!(before.header("cache-status").is_some_and(|status| status.contains("; hit; ttl=")));
        let name = format!("by_hand{round}");
        shop.sql(&format!("INSERT INTO users (username, email) VALUES ('{name}', '{name}@example.com')"))
            .await;
        // Nobody has told the cache.
        assert!(!shop.get("/api/v1/users").await.text().contains(&name));
        assert_eq!(shop.redis_cli(&["DEL", "users:all"]), "1");
        let fresh = eventually("the deletion is seen", async || {
            let answer = shop.get("/api/v1/users").await;
            let seen = answer.text().contains(&name);
            assert!(seen || answer.text() == before.text(), "{answer:?}");
            seen.then_some(answer)
        })
        .await;
        assert_eq!(fresh.header("cache-status"), Some("wasmyard; fwd=miss; stored"));
    }
    known().await;
    shop.redis_cli(&["SET", "users:all", "[]"]);
    until("the value is seen", async || shop.get("/api/v1/users").await.text() == "[]").await;
    known().await;
    shop.redis_cli(&["FLUSHALL"]);
    let users = async || shop.get("/api/v1/users").await.json().as_array().map(Vec::len);
    until("the flush is seen", async || users().await == Some(24)).await;
}

#[tokio::test]
async fn what_one_host_writes_shows_there_at_once_and_on_another_when_redis_has_told_it() {
    let (redis, database) = (TestRedis::start(), TestPostgres::shared().database());
    let host = || Shop::builder().redis(redis.url()).postgres(database.clone());
    let (here, there) = (host().start().await, host().start().await);
    let stock = |answer: &Answer| answer.json()["stock"].clone();
    for round in 1..=20 {
        for shop in [&here, &there] {
            brought_near(shop, "products", "/api/v1/products/1").await;
        }
        let before = stock(&there.get("/api/v1/products/1").await);
        let after = 1_000 + round;
        let written = here.patch("/api/v1/products/1/stock", &json!({ "stock": after })).await;
        assert_eq!(written.status, 200, "{written:?}");
        assert_eq!(stock(&here.get("/api/v1/products/1").await), after, "its own write, in round {round}");
        until("the other host's write is seen", async || {
            let now = stock(&there.get("/api/v1/products/1").await);
            assert!(now == after || now == before, "{now} in round {round}");
            now == after
        })
        .await;
        assert_eq!(stock(&there.get("/api/v1/products/1").await), after, "and not lost again");
    }
}

#[tokio::test]
async fn each_write_takes_out_what_it_has_made_stale_and_nothing_else() {
    let shop = Shop::start().await;
    let paths = [
        ("users:all", "/api/v1/users"),
        ("users:1", "/api/v1/users/1"),
        ("products:all", "/api/v1/products"),
        ("products:category:Electronics", "/api/v1/products?category=Electronics"),
        ("products:category:Sports", "/api/v1/products?category=Sports"),
        ("products:1", "/api/v1/products/1"),
        ("products:2", "/api/v1/products/2"),
        ("orders:all", "/api/v1/orders"),
        ("orders:1", "/api/v1/orders/1"),
        ("orders:2", "/api/v1/orders/2"),
    ];
    let user = json!({ "username": "eddie", "email": "eddie@example.com" });
    let product = json!({ "name": "Watch", "price": 299.99, "category": "electronics" });
    let order = json!({ "user_id": 1, "product_id": 2, "quantity": 2 });
    for (method, path, body, gone) in [
        (Method::POST, "/api/v1/users", &user, &["users:all"][..]),
        (Method::POST, "/api/v1/products", &product, &["products:all", "products:category:Electronics"]),
        (
            Method::PATCH,
            "/api/v1/products/1/stock",
            &json!({ "stock": 7 }),
            &["products:all", "products:category:Electronics", "products:1"],
        ),
        // Its stock is taken from the product.
        (
            Method::POST,
            "/api/v1/orders",
            &order,
            &["orders:all", "products:all", "products:category:Electronics", "products:2"],
        ),
        (
            Method::PATCH,
            "/api/v1/orders/1/status",
            &json!({ "status": "shipped" }),
            &["orders:all", "orders:1"],
        ),
    ] {
        for (_, path) in paths {
            assert_eq!(shop.get(path).await.status, 200);
        }
        let json = [("content-type", "application/json")];
        let written = shop.send(method, path, &json, body.to_string().as_bytes()).await;
        assert!(written.status.is_success(), "{written:?}");
        for (key, _) in paths {
            assert_eq!(cached(&shop, key), !gone.contains(&key), "{key} after {path}");
        }
        let item = shop.get("/api/v1/products/1").await;
        assert_eq!(
            item.json()["stock"].to_string(),
            shop.sql("SELECT stock FROM products WHERE id = 1").await
        );
    }
    // A refused write is none.
    for (_, path) in paths {
        shop.get(path).await;
    }
    shop.post("/api/v1/users", &user).await.problem(409);
    shop.patch("/api/v1/products/1/stock", &json!({ "stock": -1 })).await.problem(422);
    shop.patch("/api/v1/orders/1/status", &json!({ "status": "pending" })).await.problem(409);
    for (key, _) in paths {
        assert!(cached(&shop, key), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_read_before_a_write_is_never_cached_after_it() {
    let shop = Arc::new(Shop::builder().change(patient).start().await);
    let turnstile = Turnstile::before(&shop, "products").await;
    let readings = [
        ("products:1", "/api/v1/products/1"),
        ("products:all", "/api/v1/products"),
        ("products:category:Electronics", "/api/v1/products?category=Electronics"),
    ];
    let stock = |answer: &Answer| -> Value {
        let json = answer.json();
        json.get(0).unwrap_or(&json)["stock"].clone()
    };
    let mut before = 50;
    for round in 1..=25 {
        // Three readers have seen the old stock, and have not stored it yet.
        shop.redis_cli(&["DEL", "products:1", "products:all", "products:category:Electronics"]);
        until("the deletion is seen", async || near(&shop, "products") == 0).await;
        let arrived = turnstile.count().await;
        turnstile.close().await;
        let readers = at_once(readings.map(|(_, path)| {
            let shop = shop.clone();
            async move { shop.get(path).await }
        }));
        turnstile.until_count(arrived + 3).await;

        let after = 1_000 + round;
        let written = shop.patch("/api/v1/products/1/stock", &json!({ "stock": after })).await;
        assert_eq!(written.status, 200, "{written:?}");
        turnstile.open().await;
        for late in readers.join_all().await {
            // They began before the write, so either stock is right; that it is the old
            // one shows that the race took place.
            assert_eq!((late.status.as_u16(), stock(&late)), (200, json!(before)), "round {round}");
            assert_eq!(late.header("cache-status"), Some("wasmyard; fwd=miss; detail=superseded"));
        }
        for (key, path) in readings {
            assert!(!cached(&shop, key), "{key} in round {round}");
            assert_eq!(stock(&shop.get(path).await), after, "{path} in round {round}");
            assert!(shop.redis_cli(&["GET", key]).contains(&format!("\"stock\":{after},")));
        }
        before = after;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_readers_of_a_missing_key_are_one_query() {
    let shop = Arc::new(Shop::builder().change(patient).start().await);
    let turnstile = Turnstile::before(&shop, "users").await;
    let users = shop.host.platform().services()["users"].clone();
    for path in ["/api/v1/users", "/api/v1/users/1"] {
        let earlier = turnstile.count().await;
        turnstile.close().await;
        let readers = at_once((0..200).map(|_| {
            let shop = shop.clone();
            async move { shop.get(path).await }
        }));
        until("all of them are under way", async || users.stats().in_flight() == 200).await;
        turnstile.until_count(earlier + 1).await;
        turnstile.open().await;

        let answers = readers.join_all().await;
        assert_eq!(turnstile.count().await, earlier + 1, "{path}");
        let said = |what: &str| answers.iter().filter(|a| a.header("cache-status") == Some(what)).count();
        assert_eq!(said("wasmyard; fwd=miss; stored"), 1);
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body));
        // The rest waited for that one, but for those who came after it.
        let hits =
            answers.iter().filter(|a| a.header("cache-status").is_some_and(|s| s.contains("; hit"))).count();
        assert_eq!(said("wasmyard; fwd=miss; collapsed") + hits, 199);
    }
}
