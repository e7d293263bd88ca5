//! Routes that the manifest declares as cached: the host answers what is stored without
//! entering the service, and nobody can tell by the answer.

use std::sync::atomic::Ordering;

use http::Method;
use serde_json::json;
use wasmyard::manifest::Isolation;
use wasmyard_tests::component::rebuilt;
use wasmyard_tests::{Answer, Shop, components, eventually, until};

/// A shop in which every entry of a service is seen: each one uses up an instance.
async fn shop() -> Shop {
    let builder = Shop::builder().change(|manifest| {
        for service in manifest.services.values_mut() {
            service.isolation = Isolation::Request;
        }
    });
    builder.start().await
}

fn entries(shop: &Shop, service: &str) -> u64 {
    shop.service(service).instances().retired.load(Ordering::Relaxed)
}

/// Asks until the answer comes without an entry into the service, and gives it.
async fn stored(shop: &Shop, service: &str, path: &str) -> Answer {
    eventually("an answer comes from what is stored", async || {
        let before = entries(shop, service);
        let answer = shop.get(path).await;
        (entries(shop, service) == before).then_some(answer)
    })
    .await
}

/// The fields of an answer that do not name this one request or moment.
fn lasting(answer: &Answer) -> Vec<(String, String)> {
    let limit = ["ratelimit", "x-ratelimit-remaining", "x-ratelimit-reset"];
    let passing = [&["x-request-id", "date", "cache-status"], &limit[..]].concat();
    let mut fields: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| !passing.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
        .collect();
    fields.sort();
    fields
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_answer_is_the_services_own_to_the_byte() {
    let shop = shop().await;
    // Longer than a page, so that the list has a `Link`.
    shop.sql("INSERT INTO users (username, email) SELECT 'u' || n, 'u' || n || '@example.com' FROM generate_series(1, 200) n")
        .await;
    for (service, path) in [
        ("users", "/api/v1/users"),
        ("users", "/api/v1/users/1"),
        ("products", "/api/v1/products"),
        ("products", "/api/v1/products/2"),
        ("orders", "/api/v1/orders"),
        ("orders", "/api/v1/orders/1"),
    ] {
        let first = shop.get(path).await;
        assert_eq!(first.header("cache-status"), Some("wasmyard; fwd=miss; stored"), "{path}");
        let second = stored(&shop, service, path).await;
        assert_eq!(second.status, 200);
        assert_eq!(first.body, second.body, "{path}");
        assert_eq!(lasting(&first), lasting(&second), "{path}");
        assert_ne!(first.request_id(), second.request_id(), "{path}");
        assert!(
            second.header("cache-status").is_some_and(|status| status.starts_with("wasmyard; hit; ttl="))
        );

        // HEAD and conditional requests are answered from it too.
        let before = entries(&shop, service);
        let tag = second.header("etag").expect("a tag").to_owned();
        let unchanged = shop.send(Method::GET, path, &[("if-none-match", &tag)], b"").await;
        assert_eq!((unchanged.status.as_u16(), unchanged.body.len()), (304, 0), "{path}");
        let head = shop.send(Method::HEAD, path, &[], b"").await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("etag"), Some(&*tag), "{path}");
        assert_eq!(entries(&shop, service), before, "{path}");
    }
    assert!(shop.get("/api/v1/users").await.header("link").is_some_and(|link| link.contains("rel=\"next\"")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_door_has_answered_the_other_answers_too() {
    let shop = shop().await;
    let path = "/api/v1/users/1";
    let (client, direct) = (shop.new_client(), format!("http://{}{path}", shop.direct("users")));
    eventually("neither door enters the service, in turn", async || {
        let before = entries(&shop, "users");
        for _ in 0..2 {
            assert_eq!(shop.get(path).await.status, 200);
            assert_eq!(Answer::to(client.get(&direct)).await.status, 200);
        }
        (entries(&shop, "users") == before).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_near_cache_stored_answers_come_from_redis_and_no_write_is_missed() {
    let builder = Shop::builder().change(|manifest| {
        for service in manifest.services.values_mut() {
            service.isolation = Isolation::Request;
            service.grants.cache.as_mut().expect("a grant").near_kib = 0;
        }
    });
    let shop = builder.start().await;
    let path = "/api/v1/products/1";
    let first = shop.get(path).await;
    let second = stored(&shop, "products", path).await;
    assert_eq!((&first.body, lasting(&first)), (&second.body, lasting(&second)));
    for stock in 1..=20 {
        assert_eq!(shop.patch("/api/v1/products/1/stock", &json!({ "stock": stock })).await.status, 200);
        let answer = shop.get(path).await;
        assert_eq!(answer.json()["stock"], stock);
        assert_eq!(answer.header("cache-status"), Some("wasmyard; fwd=miss; stored"));
        assert_eq!(stored(&shop, "products", path).await.json()["stock"], stock);
    }
    // Redis is asked each time, so what it has counts at once.
    shop.redis_cli(&["SET", "products:1", "{\"by\":\"hand\"}"]);
    assert_eq!(shop.get(path).await.text(), "{\"by\":\"hand\"}");
    shop.redis_cli(&["DEL", "products:1"]);
    assert_eq!(shop.get(path).await.json()["stock"], 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_or_deleted_is_not_answered_from_what_was_stored() {
    let shop = shop().await;
    shop.get("/api/v1/products/1").await;
    stored(&shop, "products", "/api/v1/products/1").await;
    for stock in 1..=20 {
        let path = "/api/v1/products/1/stock";
        let changed = shop.patch(path, &json!({ "stock": stock })).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        assert_eq!(shop.get("/api/v1/products/1").await.json()["stock"], stock);
        assert_eq!(stored(&shop, "products", "/api/v1/products/1").await.json()["stock"], stock);
    }

    shop.sql("UPDATE products SET stock = 77 WHERE id = 1").await;
    assert_eq!(shop.redis_cli(&["DEL", "products:1"]), "1");
    until("the deletion is seen", async || shop.get("/api/v1/products/1").await.json()["stock"] == 77).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_plain_address_is_answered_from_what_is_stored() {
    let shop = shop().await;
    for path in ["/api/v1/users", "/api/v1/users/1"] {
        shop.get(path).await;
        stored(&shop, "users", path).await;
    }
    // A parameter that makes another route's key is no way to that route's answer.
    for _ in 0..3 {
        shop.get("/api/v1/users/all").await.problem(404);
    }
    let entered = async |path: &str, headers: &[(&str, &str)]| {
        let before = entries(&shop, "users");
        let answer = shop.send(Method::GET, path, headers, b"").await;
        assert_eq!(entries(&shop, "users"), before + 1, "{path} {headers:?}");
        answer
    };
    assert_eq!(entered("/api/v1/users?limit=1", &[]).await.json().as_array().map(Vec::len), Some(1));
    entered("/api/v1/users?limit=0", &[]).await.problem(400);
    assert_eq!(entered("/api/v1/users/1", &[("authorization", "Bearer x")]).await.status, 200);
    let fresh = entered("/api/v1/users/1", &[("cache-control", "no-cache")]).await;
    assert_eq!(fresh.header("cache-status"), Some("wasmyard; fwd=request"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_speaks_for_itself_from_its_first_answer() {
    let shop = shop().await;
    let path = "/api/v1/users/1";
    shop.get(path).await;
    let old = stored(&shop, "users", path).await.version().to_owned();
    for build in 1..=3 {
        shop.operator().deployed("users", rebuilt(components::USERS, build)).await;
        let new = shop.get(path).await;
        assert_ne!(new.version(), old, "build {build}");
        assert_eq!(stored(&shop, "users", path).await.version(), new.version());
        let back = shop.operator().rollback("users").await;
        assert_eq!(back.status, 200, "{back:?}");
        assert_eq!(shop.get(path).await.version(), old);
        assert_eq!(stored(&shop, "users", path).await.version(), old);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_answers_count_as_hits() {
    let shop = shop().await;
    let path = "/api/v1/users/1";
    shop.get(path).await;
    stored(&shop, "users", path).await;
    let hits =
        async || shop.get("/api/v1/users/stats").await.json()["cache"]["hits"].as_u64().expect("a count");
    let before = hits().await;
    for _ in 0..10 {
        shop.get(path).await;
    }
    assert_eq!(hits().await, before + 10);
}
