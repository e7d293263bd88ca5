//! Health and statistics.

use serde_json::{Value, json};
use wasmyard::testing::servers::TestPostgres;
use wasmyard_tests::{Answer, Shop, until};

const SERVICES: [&str; 3] = ["orders", "products", "users"];

#[tokio::test]
async fn health_is_told_for_each_service_and_for_all_together() {
    let shop = Shop::start().await;
    let all = shop.get("/api/health").await;
    assert_eq!((all.status.as_u16(), &all.json()["status"]), (200, &json!("ok")), "{all:?}");
    assert_eq!(all.header("cache-control"), Some("no-store"));
    let services = all.json()["services"].as_object().expect("an object").clone();
    assert_eq!(services.keys().collect::<Vec<_>>(), SERVICES);
    for (name, told) in services {
        let version = shop.host.platform().services()[&*name].version();
        let own = shop.get(&format!("/api/v1/{name}/health")).await;
        assert_eq!((own.status.as_u16(), &own.json()["service"]), (200, &json!(name)));
        for health in [told, own.json()] {
            assert_eq!(
                (&health["status"], &health["version"]),
                (&json!("ok"), &json!(&*version)),
                "{health}"
            );
            for backend in ["database", "redis"] {
                assert_eq!(health[backend]["status"], "up", "{health}");
                assert!(health[backend]["latency_ms"].as_f64().is_some_and(|ms| ms >= 0.0), "{health}");
            }
        }
    }

    let admin =
        |path: &str| Answer::to(shop.client().get(format!("http://{}{path}", shop.host.addresses().admin)));
    for path in ["/livez", "/readyz"] {
        assert_eq!(admin(path).await.status, 200, "{path}");
    }
    let metrics = admin("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("service=\"users\""), "{}", metrics.text());
}

#[tokio::test]
async fn without_redis_the_shop_serves_degraded() {
    let shop = Shop::start().await;
    let redis = shop.redis.as_ref().expect("its own");
    redis.kill();
    let health = async || shop.get("/api/health").await;
    until("its loss is noticed", async || health().await.json()["status"] == "degraded").await;
    let told = health().await;
    assert_eq!(told.status, 200);
    for service in SERVICES {
        let service = &told.json()["services"][service];
        assert_eq!(
            (&service["status"], &service["redis"]["status"]),
            (&json!("degraded"), &json!("down")),
            "{told:?}"
        );
        assert_eq!(service["database"]["status"], "up");
    }
    let list = shop.get("/api/v1/users").await;
    assert_eq!((list.status.as_u16(), list.json().as_array().map(Vec::len)), (200, Some(4)));
    assert_eq!(list.header("cache-status"), Some("wasmyard; fwd=bypass; detail=redis-unavailable"));

    redis.resume();
    until("it is used again", async || health().await.json()["status"] == "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_the_shop_is_down_until_it_is_back() {
    let postgres = TestPostgres::start();
    let shop = Shop::builder().postgres(postgres.database()).start().await;
    assert_eq!(shop.get("/api/health").await.status, 200);
    postgres.stop();
    until("its loss is noticed", async || shop.get("/api/health").await.status == 503).await;
    let told = shop.get("/api/health").await.json();
    assert_eq!(told["status"], "down");
    for service in SERVICES {
        let service = &told["services"][service];
        assert_eq!((&service["status"], &service["database"]["status"]), (&json!("down"), &json!("down")));
        assert_eq!(service["redis"]["status"], "up");
    }
    let answer = shop.get("/api/v1/users/1").await;
    answer.problem(503);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    // Its numbers are there without it.
    let stats = shop.get("/api/v1/users/stats").await;
    assert_eq!((stats.status.as_u16(), &stats.json()["rows"]), (200, &Value::Null));

    postgres.resume();
    until("it is used again", async || shop.get("/api/health").await.status == 200).await;
    assert_eq!(shop.get("/api/v1/users/1").await.status, 200);
}

#[tokio::test]
async fn statistics_count_what_was_answered() {
    let shop = Shop::start().await;
    for service in SERVICES {
        let path = format!("/api/v1/{service}");
        let stats = async || shop.get(&format!("{path}/stats")).await.json();
        let start = stats().await;
        // One miss and two hits; then a 404, a 405, a 422.
        for _ in 0..3 {
            shop.get(&format!("{path}/2")).await;
        }
        shop.get(&format!("{path}/9999")).await.problem(404);
        shop.send(http::Method::PUT, &path, &[], b"").await.problem(405);
        shop.post(&path, &json!({})).await.problem(422);
        let end = stats().await;

        let grown = |pointer: &str| {
            let number = |stats: &Value| stats.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
            number(&end) - number(&start)
        };
        assert_eq!(end["service"], service);
        assert_eq!(end["version"], *shop.host.platform().services()[service].version());
        assert!(
            end["since"].as_str().is_some_and(|since| since.starts_with("20") && since.ends_with('Z')),
            "{end}"
        );
        assert_eq!(end["rows"].to_string(), shop.sql(&format!("SELECT count(*) FROM {service}")).await);
        // The earlier look at the statistics is one of them.
        assert_eq!(grown("/requests/total"), 7, "{start} {end}");
        for (status, count) in [("200", 4), ("404", 1), ("405", 1), ("422", 1)] {
            assert_eq!(grown(&format!("/requests/by_status/{status}")), count, "{status}: {start} {end}");
        }
        // The item that is not there was looked for, too.
        assert_eq!((grown("/cache/hits"), grown("/cache/misses")), (2, 2), "{start} {end}");
        assert_eq!(end["requests"]["in_flight"], 1);
        let latency =
            ["p50", "p90", "p99", "p999"].map(|name| end["latency_ms"][name].as_f64().expect("a time"));
        assert!(latency[0] > 0.0 && latency.is_sorted(), "{end}");
    }
}
